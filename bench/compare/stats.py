"""Intervals, paired tests and tie groups of per-image values.

All computations are in float64, and all random numbers come from a given generator.

NaN means that a metric does not cover an image: it is left out and counted (``missing``). An infinite value (the PSNR of
identical pictures) is kept: the mean is then infinite, has no interval and takes part in no test, and ``infinite`` counts
such values. A result that cannot be computed is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invbench.compare.bootstrap import WIDE, bca_ends, bca_ends_of_pairs
from invbench.compare.signs import SIGN_FLIPS as SIGN_FLIPS
from invbench.compare.signs import paired_difference as paired_difference
from invbench.compare.signs import paired_sign_flip_tests
from invbench.compare.signs import sign_flip_test as sign_flip_test

LEVEL = 0.95
RESAMPLES = 2999  # an end of an interval then varies by about 0.05 standard errors from seed to seed
POWER = 0.8  # power of the tests that :func:`images_needed` plans for

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    n          number of values in the estimate
    missing    number of values left out because they were NaN
    infinite   number of infinite values; above 0 there is no interval
    """

    value: float
    low: float
    high: float
    n: int
    missing: int = 0
    infinite: int = 0

    @property
    def margin(self) -> float:
        """The larger distance from the estimate to an end: value +- margin contains the interval."""
        return max(self.high - self.value, self.value - self.low)


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same images.

    difference   mean of ``first`` minus mean of ``second``
    p            two-sided p-value of the sign-flip test
    adjusted     ``p`` after Holm's correction for all pairs that were compared
    distinct     whether the two are told apart: adjusted p at most 1 - level
    """

    first: str
    second: str
    difference: float
    p: float
    adjusted: float
    distinct: bool


@dataclass(frozen=True)
class Ranking:
    """Methods in the order of their means over the images that all of them cover.

    order         best first
    ranks         method -> its ranks; two methods share a rank if and only if they cannot be told apart
    comparisons   one for every pair
    n             number of images that all methods cover; ``left_out`` is the number of the others
    decidable     False if there are too few images to tell any two methods apart, whatever their values
    """

    order: tuple[str, ...]
    ranks: Mapping[str, tuple[int, ...]]
    comparisons: tuple[Comparison, ...]
    n: int
    left_out: int
    decidable: bool


def mean_interval(values: ArrayLike, rng: np.random.Generator, *, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """Mean of ``values`` [n] with its BCa bootstrap interval (Efron 1987, as in scipy.stats.bootstrap).

    Few values give too short an interval, as for any bootstrap: simulated coverage of the 95 % interval for normal data is
    about 0.89 at n = 8 and 0.94 at n = 50, for log-normal data 0.84 and 0.92. Equal values give an interval of no width; fewer
    than two values give none (NaN).
    """
    return mean_intervals([values], rng, level=level, resamples=resamples)[0]


def mean_intervals(
    columns: Sequence[ArrayLike], rng: np.random.Generator, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> list[Interval]:
    """:func:`mean_interval` of many columns, which may have different lengths; much faster than one by one.

    Columns of equal length share their draws, so their intervals are not independent of each other, but each one is valid.
    """
    data = [_float64(values, ndim=1) for values in columns]
    covered = [column[~np.isnan(column)] for column in data]
    found: list[Interval] = []
    drawn: dict[int, list[int]] = {}  # length -> columns that need a bootstrap
    for index, (column, values) in enumerate(zip(data, covered)):
        n, infinite = len(values), int(np.isinf(values).sum())
        with np.errstate(invalid="ignore"):  # inf - inf is NaN: there is no mean
            mean = float(values.mean()) if n else math.nan
        ends = math.nan
        if n > 1 and not infinite and (values == values[0]).all():
            mean = ends = float(values[0])
        elif n > 1 and not infinite:
            drawn.setdefault(n, []).append(index)
        found.append(Interval(mean, ends, ends, n, len(column) - n, infinite))
    for members in drawn.values():
        for first in range(0, len(members), WIDE):
            block = members[first : first + WIDE]
            ends_of = bca_ends(np.stack([covered[index] for index in block], axis=1), rng, level=level, resamples=resamples)
            for index, low, high in zip(block, *ends_of):
                found[index] = replace(found[index], low=float(low), high=float(high))
    return found


def pair_intervals(values: ArrayLike, pairs: ArrayLike, rng: np.random.Generator) -> list[Interval]:
    """:func:`mean_interval` of values[:, a] - values[:, b] for each of the ``pairs`` [m, 2]; ``values`` [n, k] has no NaN.

    Much faster than one by one: only the k columns are resampled. The intervals share their draws.
    """
    data, both = _float64(values, ndim=2), np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    found, drawn = list[Interval](), list[int]()
    for index, (a, b) in enumerate(both.tolist()):
        gap = paired_difference(data[:, a], data[:, b])
        infinite, ends = int(np.isinf(gap).sum()), math.nan
        with np.errstate(invalid="ignore"):
            mean = float(gap.mean()) if len(gap) else math.nan
        if len(gap) > 1 and not infinite:
            if (gap == gap[0]).all():
                mean = ends = float(gap[0])
            else:
                drawn.append(index)
        found.append(Interval(mean, ends, ends, len(gap), 0, infinite))
    if drawn:
        finite = np.where(np.isinf(data).any(axis=0), 0.0, data)
        ends_of = bca_ends_of_pairs(finite, both[drawn], rng, level=LEVEL, resamples=RESAMPLES)
        for index, low, high in zip(drawn, *ends_of):
            found[index] = replace(found[index], low=float(low), high=float(high))
    return found


def difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean of ``first`` - ``second`` [n], paired image by image, with its BCa interval; a pair with a NaN is missing."""
    one, other = _float64(first, ndim=1), _float64(second, ndim=1)
    if one.shape != other.shape:
        raise ValueError(f"paired values: expected equal lengths, found {len(one)} and {len(other)}")
    return mean_interval(paired_difference(one, other), rng, level=level, resamples=resamples)


def holm(p: ArrayLike) -> Array:
    """Holm's step-down adjustment of p-values [m]: rejecting where it is at most alpha keeps the family-wise error at alpha.

    A test without p-value (NaN) stays NaN and still counts as one of the m.
    """
    raw = _float64(p, ndim=1)
    order = np.argsort(raw)  # NaN last
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)), 1.0)
    return adjusted


def tie_groups(order: Sequence[str], distinct: Iterable[tuple[str, str]]) -> dict[str, tuple[int, ...]]:
    """Ranks from 1 by method, given the methods, best first, and the pairs that can be told apart.

    A rank stands for a tie group: a largest possible set of methods no two of which can be told apart. "Cannot be told
    apart" is not transitive, so groups may overlap, and a method between two groups has both their ranks. Two methods share a
    rank if and only if they cannot be told apart. Groups are numbered by their best member, then by the next.
    Source: the insert-and-absorb algorithm of Piepho (2004) for compact letter displays.
    """
    groups = [frozenset(order)] if order else []
    for pair in map(frozenset, distinct):
        split = [part for group in groups for part in ([group - {one} for one in pair] if pair <= group else [group])]
        groups = [group for group in dict.fromkeys(split) if not any(group < other for other in split)]
    place = {name: position for position, name in enumerate(order)}
    groups.sort(key=lambda group: sorted(place[name] for name in group))
    return {name: tuple(rank for rank, group in enumerate(groups, start=1) if name in group) for name in order}


def rank(
    values: Mapping[str, ArrayLike],
    rng: np.random.Generator,
    *,
    better: str,
    level: float = LEVEL,
    flips: int = SIGN_FLIPS,
) -> Ranking:
    """Order methods and find which of them can be told apart.

    ``values``  method -> its values [n], the same n images in the same order
    ``better``  "lower" or "higher"

    Means and tests use the images that every method covers; every pair is tested (:func:`sign_flip_test`), all pairs are one
    family (:func:`holm`). Raises ValueError for another ``better`` and for unequal lengths.
    """
    return rankings([values], rng, better=[better], level=level, flips=flips)[0]


def rankings(
    families: Sequence[Mapping[str, ArrayLike]],
    rng: np.random.Generator,
    *,
    better: Sequence[str],
    level: float = LEVEL,
    flips: int = SIGN_FLIPS,
) -> list[Ranking]:
    """:func:`rank` of many families (for example metrics), each corrected separately; much faster than one by one.

    Families of equal size share the drawn signs; this does not change any p-value.
    """
    prepared = [_Family.of(values, direction) for values, direction in zip(families, better, strict=True)]
    together: dict[tuple[int, int], list[int]] = {}
    for index, one in enumerate(prepared):
        # With fewer signs, Holm's smallest p-value could not be reached.
        needed = max(flips, math.ceil(4 * len(one.pairs) / (1 - level)))
        together.setdefault((len(one.common), needed), []).append(index)
    found: dict[int, Ranking] = {}
    for (_, needed), members in together.items():
        columns = np.concatenate([prepared[index].centred() for index in members], axis=1)
        starts = np.cumsum([0, *(prepared[index].common.shape[1] for index in members)])
        pairs = np.concatenate([prepared[index].at + start for index, start in zip(members, starts)])
        p = paired_sign_flip_tests(columns, pairs, rng, flips=needed)
        ends = np.cumsum([len(prepared[index].pairs) for index in members])
        for index, own in zip(members, np.split(p, ends[:-1])):
            found[index] = prepared[index].ranking(own, level)
    return [found[index] for index in range(len(prepared))]


@dataclass(frozen=True)
class _Family:
    """Methods to be compared, best first, over the n images that all cover.

    pairs     all pairs of methods, the better one first; ``at`` int [pairs, 2] their columns
    common    [n, methods]
    """

    order: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    at: NDArray[np.int64]
    common: Array
    left_out: int

    @classmethod
    def of(cls, values: Mapping[str, ArrayLike], better: str) -> _Family:
        if better not in ("lower", "higher"):
            raise ValueError(f'better: expected "lower" or "higher", found {better!r}')
        columns = {name: _float64(column, ndim=1) for name, column in values.items()}
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"values of methods: expected equal lengths, found {sorted(lengths)}")
        data = np.stack(list(columns.values()), axis=1) if columns else np.empty((0, 0))
        common = data[~np.isnan(data).any(axis=1)]
        means = dict(zip(columns, common.mean(axis=0).tolist())) if len(common) else dict.fromkeys(columns, math.nan)
        sign = 1 if better == "lower" else -1
        order = sorted(columns, key=lambda name: (math.isnan(means[name]), sign * means[name]))
        index = {name: position for position, name in enumerate(columns)}
        pairs = tuple(combinations(order, 2))
        at = np.array([(index[a], index[b]) for a, b in pairs], dtype=np.int64).reshape(-1, 2)
        return cls(tuple(order), pairs, at, common, len(data) - len(common))

    def centred(self) -> Array:
        """[n, methods]: the values less the mean of all methods on each image: differences of sums then lose few digits."""
        finite = np.isfinite(self.common).all(axis=0)
        return self.common - self.common[:, finite].mean(axis=1, keepdims=True) if finite.any() else self.common

    def ranking(self, p: Array, level: float) -> Ranking:
        """``p`` [pairs] of the differences -> the ranking at ``level``."""
        n, alpha, adjusted = len(self.common), 1 - level, holm(p)
        differences = [self._difference(a, b) for a, b in self.at.tolist()]
        comparisons = tuple(
            Comparison(*pair, float(differences[i]), float(p[i]), float(adjusted[i]), bool(adjusted[i] <= alpha))  # NaN is not
            for i, pair in enumerate(self.pairs)
        )
        ranks = tie_groups(self.order, [(one.first, one.second) for one in comparisons if one.distinct])
        decidable = n >= images_to_decide(len(self.order), level=level)
        return Ranking(self.order, ranks, comparisons, n, self.left_out, decidable)

    def _difference(self, first: int, second: int) -> float:
        """The mean difference of two methods; infinite where one is infinite on an image, as paired_difference says."""
        with np.errstate(invalid="ignore"):
            gap = paired_difference(self.common[:, first], self.common[:, second])
            return float(gap.mean()) if len(gap) else math.nan


def images_to_decide(methods: int, *, level: float = LEVEL) -> int:
    """The fewest images on which :func:`rank` can tell any two of so many methods apart, whatever their values.

    The smallest p-value, with all n differences of one sign, is 2 / 2**n times Holm's first factor, the number of pairs.
    The result is 10 for 7 methods at 0.95, 13 for 15.
    """
    pairs = methods * (methods - 1) // 2
    return 1 + math.ceil(math.log2(pairs / (1 - level)) - 1e-9) if pairs else 0


def images_needed(differences: ArrayLike, *, methods: int, level: float = LEVEL, power: float = POWER) -> int | None:
    """About how many images would tell two of ``methods`` apart with probability ``power``, if they differ as seen here.

    differences   [n] paired differences of the two, in any unit; missing ones (NaN) stay out

    The sample size of a paired t-test at the first step of Holm's correction (normal approximation with Guenther's term, 1981),
    which the sign-flip test follows closely; never below :func:`images_to_decide`. None if it cannot be estimated: fewer
    than two differences, a mean of 0, or an infinite difference.
    """
    data = _float64(differences, ndim=1)
    data = data[~np.isnan(data)]
    return images_needed_of_many(data[:, None], methods=methods, level=level, power=power)[0]


def images_needed_of_many(differences: Array, *, methods: int, level: float = LEVEL, power: float = POWER) -> list[int | None]:
    """:func:`images_needed` of each column of ``differences`` [n, m], which has no NaN."""
    known = len(differences) > 1 and methods > 1
    means = differences.mean(axis=0) if known else np.zeros(differences.shape[1])
    with np.errstate(invalid="ignore"):
        spreads = differences.std(axis=0, ddof=1) if known else means
    tests = max(methods * (methods - 1), 1)
    tail = NormalDist().inv_cdf(1 - (1 - level) / tests)  # two sides of methods (methods - 1) / 2 pairs
    most, least, found = tail + NormalDist().inv_cdf(power), images_to_decide(methods, level=level), list[int | None]()
    for mean, spread in zip(means.tolist(), spreads.tolist()):
        if mean and math.isfinite(mean) and math.isfinite(spread):
            found.append(max(math.ceil((most * spread / mean) ** 2 + tail**2 / 2), least))
        else:
            found.append(None)
    return found


def _float64(values: ArrayLike, *, ndim: int | None = None) -> Array:
    data = np.asarray(values, dtype=np.float64)
    if ndim is not None and data.ndim != ndim:
        raise ValueError(f"expected {ndim} axes, found shape {data.shape}")
    return data
