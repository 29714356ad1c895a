"""The BCa bootstrap of means (Efron 1987) for many columns at a time, used by :mod:`invbench.compare.stats`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

HELD = 2**21  # numbers of resampled data held at a time
WIDE = 2048  # columns resampled at a time: 50 MB

Array = NDArray[np.float64]


def bca_ends(data: Array, rng: np.random.Generator, *, level: float, resamples: int) -> tuple[Array, Array]:
    """Ends [k] of the BCa intervals of the means of ``data`` [n, k], as scipy.stats.bootstrap gives for the same draws.

    A resampled mean is a sum of the data weighted by the counts of the draw, so all columns are one matrix product; the
    jackknife of a mean has a closed form.
    """
    centred = (data - data.mean(axis=0)).T
    rounding = 1e-12 * np.abs(centred).mean(axis=1)
    return _ends(centred, _drawn(centred, rng, resamples), data.mean(axis=0), rounding, level=level)


def bca_ends_of_pairs(
    data: Array, pairs: NDArray[np.int64], rng: np.random.Generator, *, level: float, resamples: int
) -> tuple[Array, Array]:
    """:func:`bca_ends` [m] of the differences data[:, a] - data[:, b] for each of the ``pairs`` [m, 2].

    The resampled mean of a difference is the difference of the resampled means, so only the k columns are resampled.
    """
    mean, centred = data.mean(axis=0), (data - data.mean(axis=0)).T
    drawn, sizes_of = _drawn(centred, rng, resamples), np.abs(centred).mean(axis=1)
    ends = []
    for start in range(0, len(pairs), WIDE):
        a, b = pairs[start : start + WIDE].T
        gaps = centred[a] - centred[b]
        rounding = 1e-12 * np.abs(gaps).mean(axis=1) + 1e-14 * (sizes_of[a] + sizes_of[b])
        ends.append(_ends(gaps, drawn[a] - drawn[b], mean[a] - mean[b], rounding, level=level))
    low, high = zip(*ends)
    return np.concatenate(low), np.concatenate(high)


def _drawn(centred: Array, rng: np.random.Generator, resamples: int) -> Array:
    """The resampled means [k, resamples] of ``centred`` [k, n]."""
    n = centred.shape[1]
    drawn = np.concatenate(
        [centred @ counts(rng.integers(0, n, size=(size, n))).T for size in sizes(resamples, max(HELD // n, 1))], axis=1
    )
    drawn /= n
    return drawn


def _ends(centred: Array, drawn: Array, mean: Array, rounding: Array, *, level: float) -> tuple[Array, Array]:
    """The ends for data less their means [k, n] and resampled means [k, resamples], which are sorted in place.

    rounding   [k]: sums that differ by less are ties
    """
    resamples, equal = drawn.shape[1], rounding[:, None]
    drawn.sort(axis=1)
    below = ((drawn < -equal).mean(axis=1) + (drawn <= equal).mean(axis=1)) / 2
    bias = special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    acceleration = (centred**3).sum(axis=1) / (6 * (centred**2).sum(axis=1) ** 1.5)
    ends = []
    for quantile in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + special.ndtri(quantile)
        place = special.ndtr(bias + shifted / (1 - acceleration * shifted)) * (resamples - 1)
        lower = np.floor(place).astype(int)
        pair = np.take_along_axis(drawn, np.stack([lower, np.minimum(lower + 1, resamples - 1)], axis=1), axis=1).T
        ends.append(mean + pair[0] + (place - lower) * (pair[1] - pair[0]))
    return ends[0], ends[1]


def counts(picks: NDArray[np.int64]) -> Array:
    """How often each of the n was picked in each row of ``picks`` [size, n], as float64 [size, n]."""
    size, n = picks.shape
    flat = (picks + n * np.arange(size)[:, None]).ravel()
    return np.bincount(flat, minlength=size * n).reshape(size, n).astype(np.float64)


def sizes(total: int, chunk: int) -> list[int]:
    """``total`` in pieces of at most ``chunk``."""
    return [min(chunk, total - start) for start in range(0, total, chunk)]
