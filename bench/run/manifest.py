"""``manifest.json``: the origin of a run's numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from invbench.data import sources
from invbench.plugins.config import MethodChoice
from invbench.run import plan
from invbench.run.session import Session
from invbench.scoring.scorer import Scorer
from invbench.specs import DatasetSpec
from invbench.util import provenance


def of_methods(choices: Sequence[MethodChoice], *, switches: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The methods in a manifest, by ``id:preset``; ``switches`` as :attr:`invbench.run.session.Session.switches`."""
    names = ("title", "family", "paper", "venue", "roles")
    return {
        f"{one.id}.{one.preset}": {
            **{name: getattr(one.spec, name) for name in names},
            "embedder": one.spec.parts[1].id if one.spec.parts else "",
            "options": one.options,
            **(switches or {}),
            **({} if one.foreign is None else {"commands": one.foreign.model_dump(include={"invert", "edit"}, mode="json")}),
        }
        for one in choices
    }


def build(
    session: Session,
    scorer: Scorer,
    *,
    methods: Mapping[str, Mapping[str, Any]],
    roles: Iterable[str],
    datasets: Sequence[DatasetSpec],
    seed: int | None,
    configuration: Mapping[str, str],
    started: str,
    finished: str | None,
    earlier: Mapping[str, Any],
    failures: Mapping[str, Any],
    workers: int = 1,
    elsewhere: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The manifest of a run; it keeps methods, weights, datasets and metrics of ``earlier`` runs in the same folder.

    methods    as :func:`of_methods` has them; ``roles`` are the networks that they use
    seed       None if nothing is random
    configuration  configuration file -> sha256
    failures   metrics that raised in any cell of the folder and have not succeeded since: count and reason by id
    workers    tasks that were worked on at a time
    elsewhere  machines on which methods ran instead of this one
    seconds    seconds of this run by purpose, over all its processes: methods, metrics, data, loading, writing, waiting (for
               workers); ``wall`` and ``overhead`` (:meth:`invbench.util.clock.Ledger.summary`)
    work       what the workers did (:meth:`invbench.util.clock.Ledger.work`) in the last call that had some, if any had
    finished   None while the run goes on, and after it was killed
    machine    the machine on which methods ran last; ``machines`` lists all on which rows of the folder were made. A call
               that only scored measured no time and adds no machine
    runs       calls whose results were merged into the folder earlier (:mod:`invbench.run.merging.manifests`), if any
    """
    suite, networks, seconds = session.suite, session.networks, session.ledger.summary()
    used = sorted({*roles, *scorer.roles})
    here = list(elsewhere) or [provenance.machine(str(session.device))]
    machine, machines = here[-1], list(earlier.get("machines", []))
    if seconds.get("methods", 0.0) > 0:
        machines += [one for one in here if one not in machines]
    work = session.ledger.work() or earlier.get("work")
    metrics = {id: asdict(spec) | {"recipe": scorer.recipes[id]} for id, spec in scorer.specs.items()}
    return {
        "format": 1,
        "protocol": plan.PROTOCOL,
        "precision": plan.PRECISION,
        "command": " ".join(["invbench", *sys.argv[1:]]),
        "suite": {"id": suite.id, "title": suite.title},
        "configuration": dict(configuration),
        "seed": seed,
        "started": earlier.get("started", started),
        "finished": finished,
        "methods": {**earlier.get("methods", {}), **methods},
        "weights": {**earlier.get("weights", {}), **{role: networks.provenance(role) for role in used}},
        "datasets": {**earlier.get("datasets", {}), **{spec.id: sources.provenance(spec) for spec in datasets}},
        "metrics": {**earlier.get("metrics", {}), **metrics},
        "protocols": {id: asdict(spec) for id, spec in scorer.protocols.items()},
        "unavailable": scorer.unavailable,
        "metric_failures": failures,
        "edits": {name: edit.model_dump() for name, edit in suite.edits.items()},
        "workers": workers,
        "seconds": seconds,
        **({"work": work} if work else {}),
        "machine": machine if seconds.get("methods", 0.0) > 0 else earlier.get("machine", machine),
        "machines": machines,
        **({"runs": earlier["runs"]} if "runs" in earlier else {}),
        "versions": provenance.versions(),
        "git": provenance.git(),
    }
