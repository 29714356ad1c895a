"""A printed table with what a run measured beside it, and how far the two orders agree.

Published and measured numbers stand side by side whatever they are, but a measured one says why it cannot be compared in
value with its neighbour: another data set, another recipe, a copied or misprinted number. The order of methods can be
compared nevertheless, and Kendall's tau says how far it agrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bench import stats
from bench.api import InvbenchError
from bench.stats import Interval
from bench.store import Store
from reports import published
from reports.published import Number, PrintedTable
from reports.query import Run

PLAIN = ("", "full")  # variants of a method that are the method itself, not an ablation
SEED = 0


@dataclass(frozen=True)
class Cell:
    """One number of the printed table.

    place            1 best, 2 second best of the printed numbers it competes with, 0 otherwise
    measured         what the run has for it; ``metric`` is the id it was measured with, ``images`` the dataset
    measured_place   1 where it cannot be told apart from the best measured method, 2 where it shares rank 2, 0 otherwise
    reasons          why the measured value must not be compared with the printed one; empty = comparable
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
    """``rows``: label and cells by printed column; ``notes`` on what was measured."""

    printed: PrintedTable
    rows: tuple[tuple[tuple[str, ...], Mapping[tuple[str, ...], Cell]], ...]
    agreements: tuple[Agreement, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """What a run has for numbers that compete: values [n] by method over the same images, or one value each."""

    metric: str
    dataset: str
    methods: Mapping[str, str]  # published id -> preset
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    single: Mapping[str, Interval] = field(default_factory=dict)


def build(
    printed: PrintedTable,
    source: Store | Run | None = None,
    *,
    dataset: str | None = None,
    preset: str | None = None,
    level: float = stats.LEVEL,
    resamples: int = stats.RESAMPLES,
) -> PaperTable:
    """The table with the measured values of a run, if there is one.

    ``dataset`` and ``preset`` say which of the run's to take; by default the published data set, else the run's first of that
    domain, and preset "paper", else the first that the run has. Means are over the images that all measured methods of a
    column cover. Raises InvbenchError where the folder holds no run, or not that dataset or preset.
    """
    place = published.places(printed.numbers)
    cells = {id(one): Cell(one, place.get(id(one), 0)) for one in printed.numbers}
    agreements: list[Agreement] = []
    notes: dict[str, None] = {}
    if source is not None:
        run = Run.of(source)
        _check(run, dataset, preset)
        rng = np.random.default_rng(SEED)
        for group in _groups(printed.numbers):
            found = _find(run, group, dataset, preset)
            if found is None:
                continue
            chosen = _choose(run, group, found)
            intervals = dict(found.single)
            for name, column in found.values.items():
                intervals[name] = stats.mean_interval(column, rng, level=level, resamples=resamples)
            measured_place, said = _places(found, group[0]["direction"], rng, level)
            notes |= dict.fromkeys(said)
            scale = published.protocols()["scale"].get(group[0]["metric"], 1.0)
            for one in chosen:
                method = one["method"]
                cells[id(one)] = Cell(
                    one,
                    place.get(id(one), 0),
                    _scaled(intervals[method], scale),
                    found.metric,
                    found.dataset,
                    measured_place.get(method, 0),
                    tuple(_reasons(run, one, found, intervals[method].n)),
                )
            agreements += _agreement(chosen, found, rng, level, resamples)
            used = sorted({f"{_ours(name)}.{found.methods[name]}" for name in intervals})
            notes[f"measured on {found.dataset}: {', '.join(used)}"] = None
    rows: dict[tuple[int, tuple[str, ...]], dict[tuple[str, ...], Cell]] = {}
    for one in printed.numbers:
        rows.setdefault((one.row, printed.label(one)), {})[printed.column(one)] = cells[id(one)]
    return PaperTable(printed, tuple((label, row) for (_, label), row in rows.items()), tuple(agreements), tuple(notes))


def _groups(numbers: Iterable[Number]) -> list[list[Number]]:
    """Numbers that stand for different methods measured in the same way."""
    groups: dict[tuple[str, ...], list[Number]] = {}
    for one in numbers:
        groups.setdefault(tuple(one[name] for name in ("metric", "domain", "dataset", "edit", "edit_strength")), []).append(one)
    return list(groups.values())


def _check(run: Run, dataset: str | None, preset: str | None) -> None:
    for kind, name in (("dataset", dataset), ("preset", preset)):
        known = sorted({cell[kind] for cell in run.plan["cells"].values()})
        if name is not None and name not in known:
            raise InvbenchError(f"{run.store.path}: expected a {kind} of the run ({', '.join(known)}), found {name!r}")


def _ours(method: str) -> str:
    return published.protocols()["methods"].get(method, method)


def _find(run: Run, group: Sequence[Number], dataset: str | None, preset: str | None) -> _Found | None:
    """What the run measured for numbers that compete; None where it has nothing."""
    first, data = group[0], published.protocols()
    metric = _metric(run, first)
    images = _dataset(run, first, dataset)
    if metric is None or images is None:
        return None
    presets: dict[str, str] = {}
    for one in group:
        if one["variant"] in PLAIN and not one["versus"]:
            key = (_ours(one["method"]), images)
            has = sorted(cell["preset"] for cell in run.plan["cells"].values() if (cell["method"], cell["dataset"]) == key)
            wanted = [preset] if preset else ["paper", *has]
            presets.update((one["method"], name) for name in [name for name in wanted if name in has][:1])
    if metric in run.specs and run.specs[metric].kind == "set":
        sets = run.sets[(run.sets["metric"] == metric) & (run.sets["dataset"] == images)].set_index(["method", "preset"])
        keys = {name: (_ours(name), chosen) for name, chosen in presets.items()}
        single = {
            name: Interval(float(sets.loc[key, "value"]), math.nan, math.nan, int(sets.loc[key, "n"]))
            for name, key in keys.items()
            if key in sets.index and not pd.isna(sets.loc[key, "value"])
        }
        return _Found(metric, images, presets, single=single) if single else None
    rows = run.rows[(run.rows["dataset"] == images) & (run.rows["status"] == "ok")]
    if first["edit"]:
        edit = data["edits"].get(first["edit"], first["edit"])
        rows = rows[(rows["edit"] == edit) & (rows["strength"] == float(first["edit_strength"] or "nan"))]
    else:
        rows = rows[rows["edit"].isna()]
    columns = {}
    for name, chosen in presets.items():
        mine = rows[(rows["method"] == _ours(name)) & (rows["preset"] == chosen)].set_index("image")[metric]
        if mine.notna().any():
            columns[name] = mine.astype(np.float64)
    common = pd.DataFrame(columns).dropna()
    if common.empty:
        return None
    if metric.startswith("seconds."):  # images of a batch share one time: they are no independent draws
        means = {name: Interval(float(common[name].mean()), math.nan, math.nan, len(common)) for name in columns}
        return _Found(metric, images, presets, single=means)
    return _Found(metric, images, presets, values={name: common[name].to_numpy() for name in columns})


def _metric(run: Run, number: Number) -> str | None:
    """The run's metric for a number: the published recipe itself, else its nearest of the same family."""
    family = published.protocols()["families"].get(number["metric"])
    recipe = published.rule(number)["recipe"]
    if family is None:
        return None
    if family.startswith("seconds."):
        return family if family in run.rows else None
    kinds = ("edit",) if number["edit"] else ("inversion", "set")
    ids = [spec.id for spec in run.specs_of(*kinds) if spec.kind == "set" or spec.id in run.rows]
    near = [id for id in ids if run.specs[id].name == family or run.specs[id].name.startswith(f"{family}_")]
    same = [id for id in near if recipe and run.specs[id].name == recipe.split("@")[0]]
    return next(iter([id for id in near if id == recipe] + same + near), None)


def _dataset(run: Run, number: Number, wanted: str | None) -> str | None:
    names = list(dict.fromkeys(cell["dataset"] for cell in run.plan["cells"].values()))
    names = [name for name in names if wanted in (None, name)]
    stands = [number["dataset"], *published.protocols()["domains"].get(number["domain"], [])]
    return next((name for start in stands for name in names if start and name.replace("-", "_").startswith(start)), None)


def _embedder(run: Run, method: str, preset: str) -> str | None:
    """What a method of the run starts from; None where it starts from nothing or nobody has said."""
    options = run.manifest.get("methods", {}).get(f"{method}.{preset}", {}).get("options", {})
    known: dict[str, str] = published.protocols()["embedders"]
    keys = [method, *(f"{method}.{name}={value}" for name, value in options.items())]
    return next((known[key] for key in keys if key in known), None)


def _choose(run: Run, group: Sequence[Number], found: _Found) -> list[Number]:
    """The numbers beside which measured values stand: where a method has several, those that start from the same code."""
    chosen = []
    for name in found.values or found.single:
        mine = [one for one in group if one["method"] == name and one["variant"] in PLAIN]
        start = _embedder(run, _ours(name), found.methods[name])
        chosen += [one for one in mine if start is None or one["embedder"] in ("", start)] or mine[:1]
    return chosen


def _reasons(run: Run, number: Number, found: _Found, n: int) -> list[str]:
    rule, reasons = published.rule(number), []
    same = found.dataset.replace("-", "_").startswith(number["dataset"])
    if not same:
        reasons.append(f"measured on {found.dataset}, published on {number['dataset']}")
    elif number["n_images"] and int(number["n_images"]) != n:
        reasons.append(f"measured on {n} images, published on {number['n_images']}")
    if not rule["recipe"]:
        reasons.append(rule["reason"])
    elif rule["recipe"] != found.metric:
        reasons.append(f"measured as {found.metric}, published as {rule['recipe']}")
    start = _embedder(run, _ours(number["method"]), found.methods[number["method"]])
    if number["embedder"] and start and start != number["embedder"]:
        reasons.append(f"measured {number['method']} starts from {start}, published from {number['embedder']}")
    if "matches_other_source" in number.flags:
        reasons.append("copied from another paper, whose protocol it follows")
    if "suspected_misprint" in number.flags:
        reasons.append("the published number is suspected to be a misprint")
    return reasons


def _places(found: _Found, direction: str, rng: np.random.Generator, level: float) -> tuple[dict[str, int], list[str]]:
    """Ranks 1 and 2 of the measured methods, and what must be said about them."""
    if direction not in ("lower", "higher") or len(found.values or found.single) < 2:
        return {}, []
    if found.single:
        sign = 1 if direction == "lower" else -1
        order = sorted({sign * one.value for one in found.single.values()})
        return {name: order.index(sign * one.value) + 1 for name, one in found.single.items()}, []
    ranking = stats.rank(found.values, rng, better=direction, level=level)
    notes = []
    if not ranking.decidable:
        notes.append(f"{ranking.n} images cannot tell any two of {len(ranking.order)} methods apart: all share rank 1")
    return {name: min(ranks) for name, ranks in ranking.ranks.items()}, notes


def _agreement(
    chosen: Sequence[Number], found: _Found, rng: np.random.Generator, level: float, resamples: int
) -> list[Agreement]:
    """Rank agreement over the methods whose printed number can be trusted; nothing below two of them."""
    first: dict[str, Number] = {}
    for one in chosen:
        usable = one["direction"] != "none" and not math.isnan(one.value) and not one.flags & published.UNTRUSTED
        if usable and one["method"] in found.values:
            first.setdefault(one["method"], one)
    if len(first) < 2:
        return []
    values = np.stack([found.values[name] for name in first], axis=1)
    tau = stats.rank_agreement([one.value for one in first.values()], values, rng, level=level, resamples=resamples)
    number = next(iter(first.values()))
    return [Agreement(number["metric"], found.metric, number["domain"], tuple(first), tau)]


def _scaled(interval: Interval, scale: float) -> Interval:
    return Interval(interval.value * scale, interval.low * scale, interval.high * scale, interval.n, interval.missing)
