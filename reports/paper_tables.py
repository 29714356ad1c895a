"""A printed table with the measured values of a run beside it, and the agreement of the two orders of methods.

Every measured number stands beside the published one. If the two values are not comparable, the measured one has the reason:
another dataset, another recipe, a copied or misprinted number. The order of methods can still be compared, and Kendall's tau
measures its agreement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from invbench.compare import agreement, stats
from invbench.compare.stats import Interval
from invbench.reports import measured, published
from invbench.reports.measured import PLAIN, Found
from invbench.reports.published import Number, PrintedTable
from invbench.reports.run import Run
from invbench.store import Store

SEED = 0


@dataclass(frozen=True)
class Cell:
    """One number of the printed table.

    place            1 best, 2 second best among the printed numbers that it competes with, else 0
    measured         the measured value, if any; ``metric`` is the id of the metric, ``images`` the dataset
    measured_place   1 if it cannot be told apart from the best measured method, 2 if it shares rank 2, else 0; 0 for all if
                     no two methods can be told apart
    reasons          why the measured value cannot be compared with the printed one; empty = comparable
    """

    number: Number
    place: int = 0
    measured: Interval | None = None
    metric: str = ""
    images: str = ""
    measured_place: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the printed and the measured order of ``methods`` in one metric."""

    metric: str
    measured_as: str
    domain: str
    methods: tuple[str, ...]
    tau: Interval


@dataclass(frozen=True)
class PaperTable:
    """A printed table with measured values. ``rows``: label, and cells by printed column; ``notes``: on the measurement."""

    printed: PrintedTable
    rows: tuple[tuple[tuple[str, ...], Mapping[tuple[str, ...], Cell]], ...]
    agreements: tuple[Agreement, ...] = ()
    notes: tuple[str, ...] = ()


def build(
    printed: PrintedTable,
    source: Store | Run | None = None,
    *,
    dataset: str | None = None,
    preset: str | None = None,
    level: float = stats.LEVEL,
    resamples: int = stats.RESAMPLES,
) -> PaperTable:
    """The table with the measured values of a run, if one is given.

    ``dataset`` defaults to the published dataset, else to the run's first of the same domain; ``preset`` to "paper", else to
    the run's first. Means are over the images that all measured methods of a column cover. Raises InvbenchError if the folder
    holds no run, or the run lacks that dataset or preset.
    """
    place = published.places(printed.numbers)
    cells = {id(one): Cell(one, place.get(id(one), 0)) for one in printed.numbers}
    agreements: list[Agreement] = []
    notes: dict[str, None] = {}
    if source is not None:
        run = Run.of(source)
        measured.check(run, dataset, preset)
        rng = np.random.default_rng(SEED)
        for group in _groups(printed.numbers):
            found = measured.find(run, group, dataset=dataset, preset=preset, level=level, resamples=resamples)
            if found is None:
                continue
            chosen = _choose(run, group, found)
            scale = published.protocols()["scale"].get(group[0]["metric"], 1.0)
            for one in chosen:
                method = found.name(one)
                cells[id(one)] = Cell(
                    one,
                    place.get(id(one), 0),
                    _scaled(found.means[method], scale),
                    found.metric,
                    found.dataset,
                    found.places.get(method, 0),
                    tuple(reasons(run, one, found)),
                )
            agreements += _agreement(chosen, found, rng, level, resamples)
            used = sorted({".".join(found.methods[name]) for name in found.means})
            notes[f"measured on {found.dataset}: {', '.join(used)}"] = None
            notes |= dict.fromkeys(found.notes)
    rows: dict[tuple[int, tuple[str, ...]], dict[tuple[str, ...], Cell]] = {}
    for one in printed.numbers:
        rows.setdefault((one.row, printed.label(one)), {})[printed.column(one)] = cells[id(one)]
    return PaperTable(printed, tuple((label, row) for (_, label), row in rows.items()), tuple(agreements), tuple(notes))


def _groups(numbers: Iterable[Number]) -> list[list[Number]]:
    """Groups of numbers that were measured in the same way and so differ only in the method."""
    groups: dict[tuple[str, ...], list[Number]] = {}
    for one in numbers:
        groups.setdefault(tuple(one[name] for name in ("metric", "domain", "dataset", "edit", "edit_strength")), []).append(one)
    return list(groups.values())


def _choose(run: Run, group: Sequence[Number], found: Found) -> list[Number]:
    """The numbers that get measured values beside them: of several numbers of a method, those with the same embedder."""
    chosen = []
    for name in found.means:
        mine = [one for one in group if found.name(one) == name and one["variant"] in PLAIN]
        start = measured.embedder(run, *found.methods[name])
        chosen += [one for one in mine if start is None or one["embedder"] in ("", start)] or mine[:1]
    return chosen


def reasons(run: Run, number: Number, found: Found) -> list[str]:
    """Why the measured value that is found for a printed number cannot be compared with it; empty if it can."""
    rule, name = published.rule(number), found.name(number)
    reasons: list[str] = []
    n = found.means[name].n
    same = found.dataset.replace("-", "_").startswith(number["dataset"])
    if not same:
        reasons.append(f"measured on {found.dataset}, published on {number['dataset']}")
    elif number["n_images"] and int(number["n_images"]) != n:
        reasons.append(f"measured on {n} images, published on {number['n_images']}")
    if not rule["recipe"]:
        reasons.append(rule["reason"])
    elif rule["recipe"] != found.metric:
        reasons.append(f"measured as {found.metric}, published as {rule['recipe']}")
    start = measured.embedder(run, *found.methods[name])
    if number["embedder"] and start and start != number["embedder"]:
        reasons.append(f"measured {name} starts from {start}, published from {number['embedder']}")
    if name in found.few:
        reasons.append(found.few[name])
    if "matches_other_source" in number.flags:
        reasons.append("copied from another paper, whose protocol it follows")
    if "suspected_misprint" in number.flags:
        reasons.append("the published number is suspected to be a misprint")
    return reasons


def _agreement(
    chosen: Sequence[Number], found: Found, rng: np.random.Generator, level: float, resamples: int
) -> list[Agreement]:
    """Rank agreement over the methods whose printed number is trusted; empty for fewer than two of them."""
    first: dict[str, Number] = {}
    for one in chosen:
        usable = one["direction"] != "none" and not math.isnan(one.value) and not one.flags & published.UNTRUSTED
        if usable and found.name(one) in found.columns:
            first.setdefault(found.name(one), one)
    if len(first) < 2:
        return []
    values = np.stack([found.columns[name] for name in first], axis=1)
    tau = agreement.rank_agreement([one.value for one in first.values()], values, rng, level=level, resamples=resamples)
    number = next(iter(first.values()))
    return [Agreement(number["metric"], found.metric, number["domain"], tuple(first), tau)]


def _scaled(interval: Interval, scale: float) -> Interval:
    return Interval(interval.value * scale, interval.low * scale, interval.high * scale, interval.n, interval.missing)
