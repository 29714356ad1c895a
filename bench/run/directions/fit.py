"""Fit the directions of a source on a suite's generator, by what the suite's metrics read of its pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.plugins.registry import Registry, load_callable
from invbench.run.directions import kept
from invbench.run.directions.readings import Readings
from invbench.run.session import Session
from invbench.util.names import unknown

FITTING = "invbench.methods.directions.fitting"
FITS = {  # source -> its function
    "interfacegan": "invbench.methods.directions.interfacegan:fit",
    "ganspace": "invbench.methods.directions.ganspace:fit",
    "sefa": "invbench.methods.directions.closed_form:fit",
    "distillation": "invbench.methods.directions.distillation:fit",
}
CONDITIONAL = "interfacegan"  # the source whose directions can be made conditional


@dataclass(frozen=True)
class Request:
    """What to fit: a source of FITS, under which name, for which edits (empty: all that a metric of the suite measures)."""

    source: str
    name: str
    edits: Sequence[str]
    samples: int
    probes: int
    components: int
    seed: int
    conditional: bool = False


def run(asked: Request, session: Session, registry: Registry, *, say: Callable[[str], None]) -> Path:
    """Fit, measure, and keep the source. Returns its file. Raises InvbenchError for an edit that no metric measures."""
    path = kept.place(session.suite, asked.name)
    if asked.conditional and asked.source != CONDITIONAL:
        raise InvbenchError(f"--conditional: expected the source {CONDITIONAL}, found {asked.source}")
    readings = Readings(session, registry)
    edits = list(asked.edits) or list(readings.edits)
    for name in edits:
        if name not in readings.edits:
            found = unknown("edit with a metric of its change", name, readings.edits)
            raise InvbenchError(f"suite {session.suite.id}: {found}")
    steps = {name: session.suite.edits[name].per_strength for name in readings.edits}
    measured = ", ".join(f"{name} by {readings.edits[name].id}" for name in edits)
    say(f"reading {measured}; {asked.samples} samples")
    columns = list(readings.edits)
    task = load_callable(f"{FITTING}:Task")(
        generator=readings.generator,
        read=readings.read,
        wanted={name: load_callable(f"{FITTING}:Wanted")(columns.index(name), steps[name]) for name in edits},
        scale=[abs(steps[name]) for name in columns],
        seed=asked.seed,
        samples=asked.samples,
        probes=asked.probes,
        components=asked.components,
        conditional=asked.conditional,
    )
    network, config, figures = load_callable(f"{FITTING}:fitted")(load_callable(FITS[asked.source]), task)
    figures |= load_callable(f"{FITTING}:measured")(task, network)
    record: dict[str, Any] = {
        "source": asked.source,
        "seed": asked.seed,
        "samples": asked.samples,
        "edits": list(edits),
        "measured_by": {name: readings.edits[name].id for name in edits},
        "generator": session.networks.provenance("generator")["sha256"],
        "validation": {name: float(f"{value:.5g}") for name, value in figures.items()},
    }
    whole, both = kept.joined(path, network.cpu(), config)
    kept.save(path, kept.checked(whole), both, record)
    for name in edits:
        leak = f", leakage {figures[f'{name}_leakage_mean']:.2f}" if len(columns) > 1 else ""
        low, high = figures[f"{name}_effect_-3"], figures[f"{name}_effect_+3"]
        say(f"{name}@{asked.name}: strengths -3 and +3 give {low:+.2f} and {high:+.2f}{leak}")
    return path
