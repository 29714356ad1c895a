"""The BCa bootstrap of means (Efron 1987) for many columns at a time, used by :mod:`invbench.compare.stats`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

HELD = 2**21  # numbers of resampled data held at a time

Array = NDArray[np.float64]


def bca_ends(data: Array, rng: np.random.Generator, *, level: float, resamples: int) -> tuple[Array, Array]:
    """Ends [k] of the BCa intervals of the means of ``data`` [n, k], as scipy.stats.bootstrap gives for the same draws.

    A resampled mean is a sum of the data weighted by the counts of the draw, so all columns are one matrix product; the
    jackknife of a mean has a closed form.
    """
    n, mean = len(data), data.mean(axis=0)
    centred = (data - mean).T
    drawn = np.concatenate(
        [centred @ counts(rng.integers(0, n, size=(size, n))).T for size in sizes(resamples, max(HELD // n, 1))], axis=1
    )
    drawn /= n
    drawn.sort(axis=1)
    equal = 1e-12 * np.abs(centred).mean(axis=1, keepdims=True)  # sums that differ only by rounding are ties
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
