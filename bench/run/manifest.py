"""``manifest.json``: where the numbers of a run come from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from invbench.data import sources
from invbench.plugins.config import RunSettings
from invbench.run import plan, round_trips
from invbench.scoring.scorer import Scorer
from invbench.util import provenance
from invbench.weights.networks import Networks


def build(
    settings: RunSettings,
    networks: Networks,
    *,
    scorer: Scorer,
    seconds: Mapping[str, float],
    started: str,
    finished: str | None,
    earlier: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of a run; methods and weights of ``earlier`` runs in the same folder stay in it.

    seconds    of this run by purpose: methods, metrics, data, loading, writing, ``wall`` and ``overhead`` (the harness
               itself: wall minus methods minus metrics)
    finished   None while the run goes on; a run that was killed leaves it so
    machine    where methods ran last; ``machines`` all on which rows of the folder were made. A call that only scored
               measured no time and adds none
    """
    roles = {role for method in settings.methods for role in networks.roles(method.spec)}
    roles |= scorer.roles
    methods = {
        f"{choice.id}.{choice.preset}": {
            **{name: getattr(choice.spec, name) for name in ("title", "family", "paper", "venue", "roles")},
            "options": choice.options,
        }
        for choice in settings.methods
    }
    machine = provenance.machine(str(networks.device))
    machines = list(earlier.get("machines", [earlier["machine"]] if "machine" in earlier else []))
    if seconds.get("methods", 0.0) > 0 and machine not in machines:
        machines.append(machine)
    datasets = {choice.id: sources.provenance(choice.spec) for choice in settings.datasets}
    known = earlier.get("metrics", {})
    trips = {id: one for id, one in round_trips.describe().items() if settings.consistency or id in known}
    return {
        "format": 1,
        "protocol": plan.PROTOCOL,
        "precision": plan.PRECISION,
        "command": " ".join(["invbench", *sys.argv[1:]]),
        "suite": {"id": settings.suite.id, "title": settings.suite.title},
        "seed": settings.seed,
        "started": earlier.get("started", started),
        "finished": finished,
        "methods": {**earlier.get("methods", {}), **methods},
        "weights": {**earlier.get("weights", {}), **{role: networks.provenance(role) for role in sorted(roles)}},
        "datasets": {**earlier.get("datasets", {}), **datasets},
        "metrics": {id: asdict(spec) | {"recipe": scorer.recipes[id]} for id, spec in scorer.specs.items()} | trips,
        "protocols": {id: asdict(spec) for id, spec in scorer.protocols.items()},
        "unavailable": scorer.unavailable,
        "metric_failures": scorer.failures,
        "edits": {name: edit.model_dump() for name, edit in settings.suite.edits.items()},
        "seconds": seconds,
        "machine": machine if seconds.get("methods", 0.0) > 0 else earlier.get("machine", machine),
        "machines": machines,
        "versions": provenance.versions(),
        "git": provenance.git(),
    }
