"""Structural similarity of pictures for each channel, in float64 (Wang et al., 2004; several scales: Wang et al., 2003).

The formulas are piq's, and the numbers agree with piq and scikit-image (docs/agreement.md). piq convolves with the whole window
of 11 x 11, for which torch copies every picture 121 times in float64. Here the separable window is applied along rows and then
columns: the same sum in another order, and more than ten times as fast on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.metrics.common import levels

KERNEL, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
PLANE_PIXELS = 2**17
_EXPONENTIALS = [math.exp(-((k - KERNEL // 2) ** 2) / (2 * SIGMA**2)) for k in range(KERNEL)]
WINDOW = tuple(value / sum(_EXPONENTIALS) for value in _EXPONENTIALS)


def similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] in [-1, 1] with sides >= 11 -> SSIM and its contrast-structure part, float64 [N, C] each."""
    found = [_of_planes(x, y) for x, y in _planes(a, b)]
    ssim, structure = (torch.cat(parts).reshape(a.shape[:2]) for parts in zip(*found))
    return ssim, structure


def several_scales(a: Tensor, b: Tensor, *, weights: Sequence[float], finest: tuple[Tensor, Tensor]) -> Tensor:
    """Images as for :func:`similarity` -> MS-SSIM, float64 [N], the mean over channels.

    weights  one for each scale, the finest first; the shorter side must have at least 10 * 2**(scales - 1) + 1 pixels
    finest   the result of :func:`similarity` for these images
    """
    coarser: list[list[tuple[Tensor, Tensor]]] = [[] for _ in weights[1:]]
    for x, y in _planes(a, b):
        for scale in coarser:
            x, y = _halved(x), _halved(y)
            scale.append(_of_planes(x, y))
    scales = [finest, *(tuple(torch.cat(parts).reshape(a.shape[:2]) for parts in zip(*scale)) for scale in coarser)]
    factors = [structure for _, structure in scales[:-1]] + [scales[-1][0]]
    return torch.stack([factor.relu() ** weight for factor, weight in zip(factors, weights)]).prod(0).mean(1)


def _planes(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Channels of both as float64 [M, H, W] in [0, 1], few at a time, so that their maps fit into the processor's cache."""
    count = max(1, PLANE_PIXELS // a[0, 0].numel())
    for x, y in zip(a.flatten(0, 1).split(count), b.flatten(0, 1).split(count), strict=True):
        yield levels(x) / 255, levels(y) / 255


def _of_planes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Channels [M, H, W] of both -> SSIM and contrast-structure part, [M] each.

    Large planes are taken a few rows of windows at a time, so that the maps fit into the processor's cache.
    """
    height = x.shape[1] - KERNEL + 1
    rows = max(1, PLANE_PIXELS // 2 // x[:, 0].numel() - KERNEL + 1)
    if x.numel() <= PLANE_PIXELS:
        ssim, structure = _maps(x, y)
    else:
        tiles = [_maps(*(z[:, start : start + rows + KERNEL - 1] for z in (x, y))) for start in range(0, height, rows)]
        ssim, structure = (torch.cat(parts, 1) for parts in zip(*tiles))
    return ssim.mean((1, 2)), structure.mean((1, 2))


def _maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Channels [M, H, W] of both -> SSIM and contrast-structure part of each window [M, H - 10, W - 10]."""
    mean_x, mean_y, squares, product = (_windowed(one) for one in (x, y, x * x + y * y, x * y))
    means = mean_x * mean_y
    powers = mean_x.square_().add_(mean_y.square_())
    structure = product.sub_(means).mul_(2).add_(K2**2).div_(squares.sub_(powers).add_(K2**2))
    return means.mul_(2).add_(K1**2).div_(powers.add_(K1**2)).mul_(structure), structure


def _windowed(maps: Tensor) -> Tensor:
    """Weighted mean over each window that lies within the picture: [..., H, W] -> [..., H - 10, W - 10]."""
    for axis in (-2, -1):
        length = maps.shape[axis] - KERNEL + 1
        total = maps.narrow(axis, 0, length) * WINDOW[0]
        for k in range(1, KERNEL):
            total.add_(maps.narrow(axis, k, length), alpha=WINDOW[k])
        maps = total
    return maps


def _halved(planes: Tensor) -> Tensor:
    """Means of 2 x 2 pixels of [M, H, W]; if a side is odd, the first row and column are repeated before, as in piq."""
    odd = max(planes.shape[1] % 2, planes.shape[2] % 2)
    return F.avg_pool2d(F.pad(planes, [odd, 0, odd, 0], mode="replicate"), kernel_size=2)
