"""Rank agreement: Kendall's tau between two orders of the same methods, with intervals over resampled images.

The methods are fixed, so that no interval extends to other methods. As in :mod:`invbench.compare.stats`, NaN means that a value
is not covered, everything is float64, and all random numbers come from a given generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from invbench.compare.bootstrap import HELD, sizes
from invbench.compare.stats import LEVEL, RESAMPLES, Array, Interval


def kendall_tau(x: ArrayLike, y: ArrayLike) -> Array:
    """Kendall's tau-b of ``x`` [..., k] and ``y`` [..., k] along the last axis, in [-1, 1]; NaN where one is all ties."""
    one, other = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    first, second = np.triu_indices(one.shape[-1], k=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        a = np.sign(one[..., first] - one[..., second])
        b = np.sign(other[..., first] - other[..., second])
        return (a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))


def rank_agreement(
    reference: ArrayLike,
    values: ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Kendall's tau-b between given numbers ``reference`` [k] of k methods and their means of ``values`` [n, k] over n images.

    The percentile interval over resampled images shows how certain the order of the means is. The reference is fixed. ``n``
    counts the images that all methods cover. NaN for fewer than two methods or images.
    """
    given, data = _shaped(reference, 1), _shaped(values, 2)
    if data.shape[1] != len(given):
        raise ValueError(f"values: expected [n, {len(given)}], found {list(data.shape)}")
    common = data[~np.isnan(data).any(axis=1)]
    counts = _counts(common, len(data))
    if len(common) < 2 or len(given) < 2:
        return Interval(math.nan, math.nan, math.nan, **counts)
    tau = float(kendall_tau(given, common.mean(axis=0)))
    if counts["infinite"]:
        return Interval(tau, math.nan, math.nan, **counts)
    drawn = np.concatenate([kendall_tau(given, means) for means in _means_of_draws(common, rng, resamples)])
    return Interval(tau, *_percentiles(drawn, level), **counts)


def mutual_agreement(
    values: ArrayLike, rng: np.random.Generator, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> dict[tuple[int, int], Interval]:
    """Kendall's tau-b between the orders that m metrics give k methods by their means over the same n images.

    values   [m, n, k]; signs are the caller's: of a metric whose larger values are better, the negated ones beside one whose
             smaller values are

    Returns the tau of each pair of metrics (i, j), i < j, with its percentile interval. All metrics see the same resampled
    images, those that every metric covers for every method.
    """
    data = _shaped(values, 3)
    metrics, images, methods = data.shape
    pairs = [(i, j) for i in range(metrics) for j in range(i + 1, metrics)]
    flat = data.transpose(1, 0, 2).reshape(images, metrics * methods)
    common = flat[~np.isnan(flat).any(axis=1)]
    counts = _counts(common, images)
    if len(common) < 2 or methods < 2:
        return dict.fromkeys(pairs, Interval(math.nan, math.nan, math.nan, **counts))
    means = common.mean(axis=0).reshape(metrics, methods)
    found = {(i, j): Interval(float(kendall_tau(means[i], means[j])), math.nan, math.nan, **counts) for i, j in pairs}
    if counts["infinite"]:
        return found
    taus: dict[tuple[int, int], list[Array]] = {pair: [] for pair in pairs}
    for drawn in _means_of_draws(common, rng, resamples):
        by_metric = drawn.reshape(-1, metrics, methods)
        for i, j in pairs:
            taus[i, j].append(kendall_tau(by_metric[:, i], by_metric[:, j]))
    return {
        pair: Interval(one.value, *_percentiles(np.concatenate(taus[pair]), level), **counts) for pair, one in found.items()
    }


def agreement_of_estimates(
    first: ArrayLike, second: ArrayLike, rng: np.random.Generator, *, n: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Kendall's tau-b between two orders of k methods by figures that have no value for each image, such as FID.

    first, second   [k, 3] figures and the ends of their intervals at ``level``; NaN ends where there are none
    n               number of images behind the figures

    The interval of tau draws each figure from the normal distribution of its own interval. It takes errors for independent;
    those of methods on the same images are not, and largely cancel in a difference, so it is rather too wide. NaN ends if a
    figure has no interval.
    """
    one, other = _shaped(first, 2), _shaped(second, 2)
    tau = float(kendall_tau(one[:, 0], other[:, 0])) if len(one) > 1 else math.nan
    if not np.isfinite(np.stack([one, other])).all() or math.isnan(tau):
        return Interval(tau, math.nan, math.nan, n)
    reach = 2 * NormalDist().inv_cdf((1 + level) / 2)
    draws = [
        figures[:, 0] + rng.standard_normal((resamples, len(figures))) * (figures[:, 2] - figures[:, 1]) / reach
        for figures in (one, other)
    ]
    return Interval(tau, *_percentiles(kendall_tau(*draws), level), n)


def _means_of_draws(common: Array, rng: np.random.Generator, resamples: int) -> Iterator[Array]:
    """Means [size, c] of the columns of ``common`` [n, c] over resampled rows, in parts of ``resamples``."""
    n = len(common)
    for size in sizes(resamples, max(HELD // n, 1)):
        yield rng.multinomial(n, np.full(n, 1 / n), size=size) @ common / n


def _percentiles(drawn: Array, level: float) -> tuple[float, float]:
    """Ends that are values of ``drawn``; a draw whose order is all ties has no tau and is left out."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return math.nan, math.nan
    low = np.quantile(known, (1 - level) / 2, method="lower")
    return float(low), float(np.quantile(known, (1 + level) / 2, method="higher"))


def _counts(common: Array, images: int) -> dict[str, int]:
    return {"n": len(common), "missing": images - len(common), "infinite": int(np.isinf(common).sum())}


def _shaped(values: ArrayLike, axes: int) -> Array:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != axes:
        raise ValueError(f"expected {axes} axes, found shape {data.shape}")
    return data
