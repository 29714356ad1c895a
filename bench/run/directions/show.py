"""Effect and leakage of every source of directions, and strips of pictures, on the generator's own pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from invbench.api import SOURCE, Edit, InvbenchError
from invbench.compare import stats
from invbench.compare.stats import Interval
from invbench.plugins.registry import Registry
from invbench.run.directions.readings import BATCH, Readings
from invbench.run.interpolation import joined
from invbench.run.session import DIRECTIONS, Session
from invbench.run.sourced import Sourced
from invbench.util.names import unknown

KEPT = ("leakage", "leakage_ratio", "attribute_flips", "id_kept", "id_kept_curricular")  # those that a suite has
OWN = "(own)"  # the suite's directions, by which edits without a source move
DRAWN = 4  # latents of a strip


@dataclass(frozen=True)
class Line:
    """An edit by a source at a strength: mean change of the attribute in the unit of its metric with its 95 % interval, the
    change that the suite's unit asks for, mean |change| of each other edit's attribute, and means of the metrics of KEPT.
    """

    edit: str
    source: str
    strength: float
    images: int
    asked: float
    change: Interval
    others: dict[str, float]
    kept: dict[str, Interval]


@dataclass(frozen=True)
class Shown:
    """The lines of the table; (edit, source) -> strip of pictures uint8 [H, W, 3], a row a latent, a column a strength."""

    lines: list[Line]
    strips: dict[tuple[str, str], np.ndarray]
    strengths: dict[str, list[float]]
    measures: dict[str, str]
    without: list[str]


def run(
    session: Session, registry: Registry, *, edits: Sequence[str], sources: Sequence[str], images: int, seed: int
) -> Shown:
    """Measure ``edits`` (empty: all of the suite's) by ``sources`` (empty: all that are here, and the suite's own).

    Raises InvbenchError for a named source or edit that does not exist or has no weights.
    """
    readings = Readings(session, registry, others=KEPT)
    generator: Any = session.networks["generator"]
    draw = torch.Generator(generator.mean_latent.device).manual_seed(seed)
    latents = generator.repeat(generator.sample_w(images, generator=draw)).contiguous()
    base = np.concatenate([readings.pictures(part) for part in latents.split(BATCH)])
    shown = Shown([], {}, {}, {name: spec.id for name, spec in readings.edits.items()}, [])
    for name, (label, network) in _places(session, edits, sources, shown.without):
        strengths = sorted({0.0, *session.suite.edits[name].strengths})
        shown.strengths[name] = strengths
        columns: list[list[np.ndarray]] = [[] for _ in range(min(DRAWN, images))]
        for strength in strengths:
            asked = Edit(name if label == OWN else f"{name}{SOURCE}{label}", strength)
            moved = [network.move(part, asked) for part in latents.split(BATCH)]
            pictures = np.concatenate([readings.pictures(part) for part in moved])
            for number, column in enumerate(columns):
                column.append(pictures[number])
            if name in readings.edits:
                shown.lines.append(_line(session, readings, name, label, strength, pictures, base))
        shown.strips[name, label] = joined([joined(row, axis=1) for row in columns], axis=0)
    return shown


def _places(
    session: Session, edits: Sequence[str], sources: Sequence[str], without: list[str]
) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Edit by edit, the sources that have it; ``without`` takes a line on each source that cannot be opened."""
    suite, networks = session.suite, session.networks
    for name in edits:
        if name not in suite.edits:
            raise InvbenchError(f"suite {suite.id}: {unknown('edit', name, suite.edits)}")
    for label in sources:
        if label not in {OWN, *suite.sources}:
            raise InvbenchError(f"suite {suite.id}: {unknown('source of directions', label, [OWN, *suite.sources])}")
    opened: dict[str, Any] = {}
    for label in sources or (OWN, *suite.sources):
        try:
            opened[label] = networks[DIRECTIONS if label == OWN else suite.sources[label]]
        except InvbenchError as error:
            if sources:
                raise
            without.append(f"{label}: {error}")
    mover = Sourced(opened.get(OWN), networks)
    for name in edits or suite.edits:
        for label, network in opened.items():
            if name in network.names:
                yield name, (label, mover)


def _line(
    session: Session, readings: Readings, name: str, label: str, strength: float, pictures: np.ndarray, base: np.ndarray
) -> Line:
    values: dict[str, list[np.ndarray]] = {}
    others = [one for one in readings.edits if one != name]
    for first in range(0, len(base), BATCH):
        part = slice(first, first + BATCH)
        found = readings.measured(pictures[part], base[part], [name, *others], only=readings.others)
        for id, one in found.items():
            values.setdefault(id, []).append(one)
    columns = {id: np.concatenate(parts) for id, parts in values.items()}
    own = readings.edits[name].id
    wanted = [own, *readings.others]
    intervals = dict(zip(wanted, stats.mean_intervals([columns[id] for id in wanted], np.random.default_rng(0)), strict=True))
    step = session.suite.edits[name].per_strength
    unit = session.suite.edits[name].unit == readings.edits[name].unit
    return Line(
        edit=name,
        source=label,
        strength=strength,
        images=len(base),
        asked=strength * step if unit else math.nan,
        change=intervals[own],
        others={one: float(np.nanmean(np.abs(columns[readings.edits[one].id]))) for one in others},
        kept={id: intervals[id] for id in readings.others},
    )
