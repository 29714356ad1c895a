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
PLANE_PIXELS = 2**18  # of the planes whose maps are held at a time
ROWS_PIXELS = 2**16  # of the rows that are brought to [0, 1] at a time
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
        yield _values(x), _values(y)


def _values(planes: Tensor) -> Tensor:
    """Planes [M, H, W] in [-1, 1] -> float64 in [0, 1]; a few rows at a time, so that copies stay in the cache."""
    values = torch.empty_like(planes, dtype=torch.float64)
    rows = max(1, ROWS_PIXELS // planes[:, 0].numel())
    for part, place in zip(planes.split(rows, 1), values.split(rows, 1)):
        torch.div(levels(part), 255, out=place)
    return values


def _of_planes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Channels [M, H, W] of both -> SSIM and contrast-structure part, [M] each.

    Large planes are taken a few rows of windows at a time, so that the maps fit into the processor's cache.
    """
    height, width = (side - KERNEL + 1 for side in x.shape[1:])
    rows = height if x.numel() <= PLANE_PIXELS else max(1, PLANE_PIXELS // 2 // x[:, 0].numel() - KERNEL + 1)
    sums = torch.zeros(2, x.shape[0], dtype=x.dtype, device=x.device)
    for start in range(0, height, rows):
        tile = (z[:, start : start + rows + KERNEL - 1] for z in (x, y))
        sums += torch.stack([part.sum((1, 2)) for part in _maps(*tile)])
    ssim, structure = sums / (height * width)
    return ssim, structure


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
    if odd:
        planes = F.pad(planes, [odd, 0, odd, 0], mode="replicate")
    planes = planes[:, : planes.shape[1] // 2 * 2, : planes.shape[2] // 2 * 2]
    upper, lower = planes[:, ::2], planes[:, 1::2]
    total = upper[..., ::2] + upper[..., 1::2]  # in the order of avg_pool2d, which is slower in float64
    return total.add_(lower[..., ::2]).add_(lower[..., 1::2]).div_(4)
