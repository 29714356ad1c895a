"""Comparison of methods: the images that all of them cover, their means over these, and which can be told apart.

Methods are compared on the images that every one of them covers, so that none wins by failing on the hard ones. A method that
covers fewer than half as many images as the method with the best coverage would leave too few images to compare on. It is left
out of the comparison, keeps the mean over its own images, has no rank, and is marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from invbench.compare import stats
from invbench.compare.stats import Interval, Ranking

FEW = 0.5  # a method that covers a smaller share of the images of the method with the best coverage is not compared
SEED = 0
FLIPS = 1999  # sign patterns per test of edits, of which there are many; p after correction for 21 pairs can still be 0.0105

Method = tuple[str, str]  # id and preset
Key = TypeVar("Key")
Place = TypeVar("Place", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Block:
    """The values of one metric for several methods, on one dataset (for an edit metric: for one edit and strength).

    place     (dataset,) or (dataset, edit, strength)
    metric    id of the metric
    methods   the methods that the plan has for this place
    images    names of the images that the plan has for this place, in the dataset's order
    values    float64 [images, methods]; NaN if there is no value: failed, not covered, or not run
    """

    place: tuple[Any, ...]
    metric: str
    methods: tuple[Method, ...]
    images: tuple[str, ...]
    values: np.ndarray

    @cached_property
    def own(self) -> np.ndarray:
        """int [methods]: number of images that each method covers."""
        return (~np.isnan(self.values)).sum(axis=0)

    @cached_property
    def compared(self) -> np.ndarray:
        """bool [methods]: methods that take part in the comparison."""
        return (self.own > 0) & (self.own >= FEW * self.own.max(initial=0))

    @cached_property
    def common(self) -> np.ndarray:
        """bool [images]: images that all compared methods cover."""
        return ~np.isnan(self.values[:, self.compared]).any(axis=1) & self.compared.any()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Images that are left out of the comparison."""
        return tuple(name for name, kept in zip(self.images, self.common) if not kept)

    def column(self, index: int) -> np.ndarray:
        """The values of a method's mean: over the common images, or over its own if it is not compared."""
        column = self.values[:, index]
        return column[self.common] if self.compared[index] else column[~np.isnan(column)]


@dataclass(frozen=True)
class Mean:
    """A method's figure in a block.

    interval   mean and interval over ``n`` images (:class:`invbench.compare.stats.Interval`)
    own        number of images that the method itself covers
    compared   whether ``interval`` is over the common images, as those of the other compared methods are
    ranks      ranks of the tie groups that it is in; empty if the metric has no direction or the method is not compared
    finite     mean of the finite values; NaN if there are none
    """

    interval: Interval
    own: int
    compared: bool
    ranks: tuple[int, ...]
    finite: float


@dataclass(frozen=True)
class Compared:
    """A block with its figures.

    ``ranking`` names the methods by their index in the block; None if the metric has no direction or fewer than two methods
    are compared.
    """

    block: Block
    means: Mapping[Method, Mean]
    ranking: Ranking | None

    @property
    def decided(self) -> bool:
        """Whether any two methods can be told apart."""
        return self.ranking is not None and any(one.distinct for one in self.ranking.comparisons)


@dataclass(frozen=True)
class Pair:
    """The difference of two methods' means, paired image by image, with its interval and Holm's p-value.

    needed    about how many images would tell the two apart, as :func:`invbench.compare.stats.images_needed` says
    """

    first: Method
    second: Method
    difference: Interval
    p: float
    distinct: bool
    needed: int | None


def blocks(
    rows: pd.DataFrame,
    plan: Mapping[Place, Mapping[Method, Sequence[str]]],
    *,
    metrics: Sequence[str],
    by: Sequence[str],
) -> list[Block]:
    """The blocks of ``rows``, grouped by the columns ``by``: one for every metric with any value.

    ``plan``: place -> method -> names of its planned images, in the dataset's order.
    """
    ok = (rows["status"] == "ok").to_numpy()
    columns = {id: rows[id].to_numpy(dtype=np.float64) for id in metrics if id in rows}
    indices = rows.groupby(list(by), sort=False).indices
    groups = {key if isinstance(key, tuple) else (key,): at for key, at in indices.items()}
    names, method, preset = (pd.Categorical(rows[name]) for name in ("image", "method", "preset"))
    found = []
    for place, asked in plan.items():
        group = groups.get(place)
        if group is None or not asked:
            continue
        methods = tuple(asked)
        images = tuple(dict.fromkeys(name for names in asked.values() for name in names))
        pairs = pd.MultiIndex.from_product([method.categories, preset.categories])
        cells = pd.MultiIndex.from_tuples(methods).get_indexer(pairs).reshape(len(method.categories), -1)
        group = group[ok[group]]
        at = pd.Index(images).get_indexer(names.categories)[names.codes[group]]
        of = cells[method.codes[group], preset.codes[group]]
        meant = (at >= 0) & (of >= 0)
        at, of, group = at[meant], of[meant], group[meant]
        for id, column in columns.items():
            values = column[group]
            if not np.isnan(values).all():
                table = np.full((len(images), len(methods)), np.nan)
                table[at, of] = values
                found.append(Block(place, id, methods, images, table))
    return found


def compare(
    found: Sequence[Block],
    better: Mapping[str, str],
    *,
    level: float = stats.LEVEL,
    resamples: int = stats.RESAMPLES,
    flips: int = FLIPS,
) -> list[Compared]:
    """Means, intervals and ranks of blocks; deterministic for equal ``found``.

    ``better``: metric -> "lower", "higher", or "none" for a metric that is not ranked.
    """
    rng = np.random.default_rng(SEED)
    columns = [block.column(index) for block in found for index in range(len(block.methods))]
    intervals = iter(stats.mean_intervals(columns, rng, level=level, resamples=resamples))
    ranked = [block for block in found if better[block.metric] in ("lower", "higher") and block.compared.sum() > 1]
    families = [{str(i): block.column(i) for i in np.flatnonzero(block.compared).tolist()} for block in ranked]
    directions = [better[block.metric] for block in ranked]
    rankings = stats.rankings(families, rng, better=directions, level=level, flips=flips)
    of = {id(block): one for block, one in zip(ranked, rankings)}
    results = []
    for block in found:
        ranking = of.get(id(block))
        means = {}
        for index, method in enumerate(block.methods):
            ranks = ranking.ranks.get(str(index), ()) if ranking else ()
            column, interval = block.column(index), next(intervals)
            finite = column[np.isfinite(column)]
            mean = float(finite.mean()) if len(finite) else np.nan
            means[method] = Mean(interval, int(block.own[index]), bool(block.compared[index]), ranks, mean)
        results.append(Compared(block, means, ranking))
    return results


def pairs(one: Compared) -> list[Pair]:
    """Every pair of compared methods, in the order of the ranking; empty without a ranking."""
    return pairs_of([one])[0]


def pairs_of(many: Sequence[Compared]) -> list[list[Pair]]:
    """:func:`pairs` of many blocks; much faster than one by one."""
    rng = np.random.default_rng(SEED)
    together: dict[int, list[int]] = {}  # number of images -> positions of blocks
    for position, one in enumerate(many):
        if one.ranking is not None:
            together.setdefault(int(one.block.common.sum()), []).append(position)
    found: list[list[Pair]] = [[] for _ in many]
    for members in together.values():
        tables = [many[position].block.values[many[position].block.common] for position in members]
        tables = [np.where(np.isnan(table).any(axis=0), 0.0, table) for table in tables]  # of methods that are not compared
        starts = np.cumsum([0, *(table.shape[1] for table in tables)])
        rankings = [ranking for position in members if (ranking := many[position].ranking) is not None]
        at = [np.array([(int(c.first), int(c.second)) for c in one.comparisons], dtype=np.int64) for one in rankings]
        both = np.concatenate([one.reshape(-1, 2) + start for one, start in zip(at, starts)])
        intervals = iter(stats.pair_intervals(np.concatenate(tables, axis=1), both, rng))
        for position, table, ranking, own in zip(members, tables, rankings, at):
            gaps = stats.paired_difference(table[:, own[:, 0]], table[:, own[:, 1]])
            needed = stats.images_needed_of_many(gaps, methods=len(ranking.order))
            methods = many[position].block.methods
            for pair, (a, b), images in zip(ranking.comparisons, own.tolist(), needed):
                found[position].append(Pair(methods[a], methods[b], next(intervals), pair.adjusted, pair.distinct, images))
    return found


def nearest_decision(one: Compared) -> tuple[Method, Method, int] | None:
    """The two methods that the fewest images would tell apart, and about how many; None if it cannot be estimated."""
    if one.ranking is None:
        return None
    found = []
    for pair in one.ranking.comparisons:
        differences = _difference(one.block, pair.first, pair.second)
        needed = stats.images_needed(differences, methods=len(one.ranking.order))
        if needed is not None:
            found.append((needed, one.block.methods[int(pair.first)], one.block.methods[int(pair.second)]))
    needed, first, second = min(found, default=(0, ("", ""), ("", "")))
    return (first, second, needed) if found else None


def best_two(values: Mapping[Key, float], better: str) -> dict[Key, int]:
    """1 for keys with the best value, 2 for those with the second best, without any test; NaN gets no place."""
    known = {key: value for key, value in values.items() if not np.isnan(value)}
    best = sorted(set(known.values()), reverse=better == "higher")[:2] if better in ("lower", "higher") else []
    return {key: best.index(value) + 1 for key, value in known.items() if value in best}


def rank_text(ranks: Iterable[int]) -> str:
    """Ranks as text: (1,) -> "1", (2, 3) -> "2-3", (1, 3) -> "1, 3"; empty for no rank."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _difference(block: Block, first: str, second: str) -> np.ndarray:
    return stats.paired_difference(*(block.values[block.common, int(name)] for name in (first, second)))
