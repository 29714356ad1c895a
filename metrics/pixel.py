"""Pixel metrics between a picture and its original: MSE, PSNR, SSIM and MS-SSIM, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import InvbenchError, MetricInput
from invbench.metrics.common import float64, levels
from invbench.metrics.structure import KERNEL, several_scales, similarity

SPECS = [
    {
        "id": "mse",
        "class": "MSE",
        "title": "MSE on [-1, 1]",
        "kind": "inversion",
        "better": "lower",
        "unit": "squared intensity, black to white = 2",
        "range": "[0, 4]",
        "protocols": ["native", "psp256", "e4e_cars", "ganinverter256"],
        "summary": "Mean squared error over channels and pixels; 4 times the value on [0, 1].",
        "reference": "torch.nn.MSELoss for each image, as in scripts/calc_losses_on_images.py of eladrich/pixel2style2pixel",
    },
    {
        "id": "psnr",
        "class": "PSNR",
        "title": "PSNR",
        "kind": "inversion",
        "better": "higher",
        "unit": "dB",
        "range": "[0, inf]",
        "protocols": ["native", "psp256", "hyperinverter1024", "hyperinverter256"],
        "summary": "10 log10(4 / MSE) for each image, MSE on [-1, 1]; inf where the pictures are identical.",
        "reference": "skimage.metrics.peak_signal_noise_ratio(data_range=255)",
    },
    {
        "id": "ssim",
        "class": "SSIM",
        "title": "SSIM (Gaussian window of 11 pixels)",
        "kind": "inversion",
        "better": "higher",
        "unit": "",
        "range": "[-1, 1]",
        "protocols": ["native", "psp256"],
        "summary": "On [0, 1], mean over channels and pixels with a whole window; not reduced in size first, as piq would.",
        "reference": "piq.ssim(downsample=False); skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,"
        " use_sample_covariance=False)",
    },
    {
        "id": "ms_ssim",
        "class": "MSSSIM",
        "title": "MS-SSIM (kernel 11; 3 scales at 64 px, 4 from 81, 5 from 161)",
        "kind": "inversion",
        "better": "higher",
        "unit": "",
        "range": "[0, 1]",
        "protocols": ["native", "hyperinverter1024", "hyperinverter256"],
        "summary": "On [0, 1], as piq has it; as many of the five scales as the picture holds, weights adjusted.",
        "reference": "piq.multi_scale_ssim(data_range=1.0)",
    },
]

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Finest scale first; Wang, Simoncelli and Bovik, "Multiscale structural similarity" (2003)."""


TILE_PIXELS = 2**15  # of all channels, at a time


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Images [N, 3, H, W] in [-1, 1] -> float64 [N] in [0, 4], mean over C, H, W. Raises ValueError if shapes differ."""
    if a.shape != b.shape:
        raise ValueError(f"images to compare: expected equal shapes, found {tuple(a.shape)} and {tuple(b.shape)}")
    return torch.stack([_squares(x, y).mean() for x, y in zip(a, b)])


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences of two images [3, H, W], float64; a few rows at a time, so that copies stay in the cache."""
    squares = torch.empty_like(a, dtype=torch.float64)
    rows = max(1, TILE_PIXELS // a[:, :1].numel())
    for x, y, place in zip(a.split(rows, 1), b.split(rows, 1), squares.split(rows, 1)):
        torch.square((levels(x) - levels(y)) / 127.5, out=place)
    return squares


def peak_signal_to_noise(a: Tensor, b: Tensor) -> Tensor:
    """Images [N, 3, H, W] in [-1, 1] -> float64 [N] in dB; inf where they are identical."""
    return 10 * torch.log10(4 / mean_squared_error(a, b))


class MSE:
    """Mean squared error on [-1, 1]. [N, 3, H, W] -> float64 [N] in [0, 4]."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        return float64(_squared_error(given))


class PSNR:
    """Peak signal to noise ratio, 10 log10(4 / MSE), for each image. [N, 3, H, W] -> float64 [N] in dB.

    Identical pictures give inf, without a cap, and then a mean over images is inf as well, since the mean of PSNR has no
    finite value there; use the median, or MSE.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        return float64(10 * torch.log10(4 / _squared_error(given)))


class SSIM:
    """Structural similarity (Wang et al., 2004), on [0, 1] in float64. [N, 3, H, W] -> float64 [N] in [-1, 1].

    Gaussian kernel of 11 pixels and sigma 1.5, k1 0.01, k2 0.03, each channel alone. Raises InvbenchError below 11 pixels.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        _check_side("ssim", min(given.output.shape[-2:]))
        return float64(_structure(given)[0].mean(1))


class MSSSIM:
    """Multi-scale structural similarity, as in piq, on [0, 1] in float64. [N, 3, H, W] -> float64 [N] in [0, 1].

    Gaussian kernel of 11 pixels and sigma 1.5, k1 0.01, k2 0.03, mean over channels. s scales need a shorter side of
    at least 10 * 2**(s - 1) + 1 pixels: 1 from 11, 2 from 21, 3 from 41, 4 from 81, 5 (the standard form) from 161.
    Smaller pictures use the finest scales that fit, with weights normalised to sum to 1, so values compare at equal
    resolution only. Raises InvbenchError below 11 pixels.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        weights = scale_weights(min(given.output.shape[-2:]))
        if len(weights) < len(SCALE_WEIGHTS):  # the standard ones sum to 1.0001, and piq keeps them so
            weights = tuple(weight / sum(weights) for weight in weights)
        return float64(several_scales(given.output, given.target, weights=weights, finest=_structure(given)))


def _squared_error(given: MetricInput) -> Tensor:
    """MSE, computed once per batch for MSE and PSNR: float64 [N]."""
    return given.once("squared_error:target", "output", lambda output: mean_squared_error(output, given.target))


def _structure(given: MetricInput) -> tuple[Tensor, Tensor]:
    """Similarity, computed once per batch for SSIM and the finest scale of MS-SSIM: see :func:`structure.similarity`."""
    return given.once("structure:target", "output", lambda output: similarity(output, given.target))


def scale_weights(side: int) -> tuple[float, ...]:
    """Weights of the scales that fit into a shorter side of ``side`` pixels; piq makes fewer than five sum to 1."""
    _check_side("ms_ssim", side)
    return tuple(w for s, w in enumerate(SCALE_WEIGHTS) if side >= (KERNEL - 1) * 2**s + 1)


def _check_side(metric: str, side: int) -> None:
    if side < KERNEL:
        raise InvbenchError(f"metric {metric!r}: expected pictures of at least {KERNEL} pixels a side, found {side}")
