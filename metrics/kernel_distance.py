"""Kernel distance (KID) of two feature sets, with its bias from pairing and an interval.

The value is torch-fidelity's, which is unbiased for independent sets. Here each reconstruction is paired with its original,
so the value is too low by 2 / n times the mean excess of the kernel between a picture and its own reconstruction over the
kernel between different ones. The U-statistic over pairs i != j,

    h(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i),

is unbiased for pairs (Gretton et al., JMLR 2012, lemma 6), and its terms give the interval.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from invbench.api import SetValue

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020  # torch-fidelity's defaults
LEVEL = 0.95
RESAMPLES = 1999
MOST = 10_000  # images up to which there is an interval, which needs n * n kernel values in memory
_HELD = 2**22  # numbers of resampled data held at a time


def kernel_distance(
    reference: np.ndarray, measured: np.ndarray, *, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE
) -> SetValue:
    """Features float64 [n, F] of originals and [m, F] of outputs -> squared MMD with the kernel (x.y / F + 1)^3.

    Source: Binkowski et al., ICLR 2018; not multiplied by 1000. Up to ``subset_size`` images: one estimate from all of them.
    Above: mean over ``subsets`` random subsets of that size with torch-fidelity's seed. May be negative.
    For n = m, row i of both being the same image, also

    bias        the effect of pairing on the value, and above ``subset_size`` images also of the random choice of subsets:
                ``value - bias`` is the unbiased U-statistic of all pairs
    low, high   ``low - bias`` to ``high - bias`` is the 95 % BCa bootstrap interval over images, an original always drawn with
                its output (measured coverage 94 to 100 %: too wide only if the sets are almost equal).
                None above 10,000 images.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    n = min(len(reference), len(measured))
    result = kid_features_to_metric(
        torch.from_numpy(reference),
        torch.from_numpy(measured),
        kid_subsets=1 if n <= subset_size else subsets,
        kid_subset_size=min(n, subset_size),
        rng_seed=SEED,
        verbose=False,
    )
    value = float(result[KEY_METRIC_KID_MEAN])
    if len(reference) != len(measured) or n > MOST:
        return SetValue(value)
    cross = _kernel(reference, measured)
    h = _kernel(reference, reference) + _kernel(measured, measured) - cross - cross.T
    np.fill_diagonal(h, 0)
    low, high = _interval(h)
    bias = value - float(_mean(np.arange(n), h=h))
    return SetValue(value, low=low + bias, high=high + bias, bias=bias)


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kernel values [n, m] of features [n, F] and [m, F]."""
    product = x @ y.T / x.shape[1] + 1
    return product * product * product


def _mean(chosen: np.ndarray, axis: int = -1, *, h: np.ndarray) -> np.ndarray:
    """Mean of h over pairs of different images among those ``chosen`` [..., n], an image drawn twice counting twice."""
    rows = np.moveaxis(chosen, axis, -1).reshape(-1, chosen.shape[axis]).astype(np.int64)
    n = len(h)
    places = (rows + n * np.arange(len(rows))[:, None]).ravel()
    counts = np.bincount(places, minlength=n * len(rows)).reshape(len(rows), n).astype(np.float64)
    means = ((counts @ h) * counts).sum(1) / (np.square(counts.sum(1)) - np.square(counts).sum(1))
    return means.reshape(np.moveaxis(chosen, axis, -1).shape[:-1])


def _interval(h: np.ndarray) -> tuple[float, float]:
    """Ends of the BCa interval of the mean of ``h`` [n, n] over pairs of different images."""
    n = len(h)
    if not h.any():  # equal sets: BCa is undefined without variation
        return 0.0, 0.0
    from scipy import stats  # takes a while to import

    found = stats.bootstrap(
        (np.arange(n),),
        partial(_mean, h=h),
        n_resamples=RESAMPLES,
        batch=max(_HELD // n, 1),
        confidence_level=LEVEL,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
