"""Paired permutation tests by flipping signs, used by :mod:`invbench.compare.stats`; NaN and infinities are as told there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invbench.compare.bootstrap import HELD, WIDE

SIGN_FLIPS = 9999  # random sign patterns; if there are no more than this in all, all are tried instead

Array = NDArray[np.float64]


def sign_flip_test(differences: ArrayLike, rng: np.random.Generator, *, flips: int = SIGN_FLIPS) -> Array:
    """Two-sided p-values [m] of the paired permutation test that the mean of each column of ``differences`` [n, m] is 0.

    Under the null hypothesis each paired difference has either sign with probability 1/2. If there are at most ``flips``
    patterns, all 2**n are tried and the p-value is exact; else ``flips`` random ones, counting the observed pattern.
    A missing difference (NaN) is left out; a column with an infinite one has no p-value.
    """
    data = matrix(differences)
    n, m = data.shape
    if n == 0:
        return np.full(m, math.nan)
    finite = ~np.isinf(data).any(axis=0) & ~np.isnan(data).all(axis=0)
    data = np.where(np.isfinite(data), data, 0.0)
    # Sums that differ only by rounding must count as equal.
    threshold = np.abs(data.sum(axis=0)) - 1e-12 * np.abs(data).sum(axis=0)
    reached, total = np.zeros(m, dtype=np.int64), 0
    for signs in _signs(n, m, rng, flips):
        sums = signs @ data
        reached += np.count_nonzero(np.abs(sums, out=sums) >= threshold, axis=0)
        total += len(signs)
    p = reached / total if _exact(n, flips) else (reached + 1) / (total + 1)
    return np.where(finite, p, math.nan)


def paired_sign_flip_tests(values: ArrayLike, pairs: ArrayLike, rng: np.random.Generator, *, flips: int = SIGN_FLIPS) -> Array:
    """:func:`sign_flip_test` [m] of values[:, a] - values[:, b] for each of the ``pairs`` [m, 2]; ``values`` [n, k], no NaN.

    The sum of differences with flipped signs is the difference of two such sums, so only the k columns are summed.
    """
    data, both = matrix(values), np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    n, m = len(data), len(both)
    if n == 0 or m == 0:
        return np.full(m, math.nan)
    first, second = both.T
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(data).all(axis=0))
    columns = np.where(finite, data, 0.0).T
    size = np.abs(columns).sum(axis=1)
    threshold = np.empty(m)
    for start in range(0, m, WIDE):  # sums that differ only by rounding must count as equal
        a, b = first[start : start + WIDE], second[start : start + WIDE]
        gaps = columns[a] - columns[b]
        rounding = 1e-12 * np.abs(gaps).sum(axis=1) + 1e-14 * (size[a] + size[b])
        threshold[start : start + WIDE] = np.abs(gaps.sum(axis=1)) - rounding
    reached, total = np.zeros(m, dtype=np.int64), 0
    for signs in _signs(n, m, rng, flips):
        sums = columns @ signs.T
        reached += np.count_nonzero(np.abs(sums[first] - sums[second]) >= threshold[:, None], axis=1)
        total += len(signs)
    p = reached / total if _exact(n, flips) else (reached + 1) / (total + 1)
    return np.where(finite[first] & finite[second], p, math.nan)


def _exact(n: int, flips: int) -> bool:
    return n < 63 and 2**n <= flips


def _signs(n: int, m: int, rng: np.random.Generator, flips: int) -> Iterator[Array]:
    """Patterns of signs [size, n], for sums of m columns: all of them if they are at most ``flips``, else random ones."""
    exact = _exact(n, flips)
    total, chunk = (2**n if exact else flips), max(HELD // max(n, m), 1)
    for start in range(0, total, chunk):
        size = min(chunk, total - start)
        if exact:
            bits = np.arange(start, start + size)[:, None] >> np.arange(n) & 1
        else:
            bits = rng.integers(0, 2, size=(size, n), dtype=np.int8)
        yield np.asarray(2.0 * bits - 1.0, dtype=np.float64)


def paired_difference(first: Array, second: Array) -> Array:
    """first - second [n]. Two infinite values of one sign have no difference: infinite, so that no test takes it as missing."""
    with np.errstate(invalid="ignore"):
        found = first - second
    return np.where(np.isinf(first) & np.isinf(second), math.inf, found)


def matrix(values: ArrayLike) -> Array:
    """``values`` as float64 [n, m]. Raises ValueError for another number of axes."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 2:
        raise ValueError(f"expected 2 axes, found shape {data.shape}")
    return data
