"""An LPIPS-style perceptual distance with a small network (Zhang et al., CVPR 2018, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.layers import prepared


class Perceptual(nn.Module):
    """Squared differences of unit-normalised features, weighted by channel, averaged over space, summed over the stages.

    Every stage halves the resolution. ``weights`` are the non-negative channel weights; ``scale`` sets the unit so that the
    distance of two different faces is about 0.6, as in LPIPS.
    """

    scale: Tensor

    def __init__(self, *, widths: Sequence[int] = (16, 32, 48, 64), depths: Sequence[int] = (1, 2, 2, 1)) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            before = widths[number - 1] if number else 3
            layers: list[nn.Module] = []
            for layer in range(depth):
                stride, size = (2 if layer == 0 else 1), (3 if number else 5)
                layers.append(nn.Conv2d(before, width, size, stride=stride, padding=size // 2))
                layers.append(nn.ReLU(inplace=True))
                before = width
            self.stages.append(nn.Sequential(*layers))
        self.weights = nn.ParameterList(torch.full((width,), 1.0) for width in widths)
        self.register_buffer("scale", torch.tensor(1.0))

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> the stages' ReLU maps [N, C, h, w]. Raises ValueError on another shape."""
        images = prepared(images, 2 ** len(self.stages))
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps

    def maps(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """The distance of images [N, 3, H, W] in [-1, 1] before averaging over space: one map [N, 1, h, w] per stage.

        The sum of their spatial means is :meth:`distance`.
        """
        return self.maps_between(self.features(a), self.features(b))

    def maps_between(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        """As :meth:`maps`, from the results of :meth:`features`, so that a loop computes those of a fixed target once."""
        return [
            self.scale * F.conv2d((unit(x) - unit(y)).square(), weight.clamp_min(0).view(1, -1, 1, 1))
            for x, y, weight in zip(a, b, self.weights, strict=True)
        ]

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance [N] of images [N, 3, H, W] in [-1, 1]; 0 for equal ones, about 0.6 for two faces."""
        return average(self.maps(a, b))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """As :meth:`distance`."""
        return self.distance(a, b)


def average(maps: list[Tensor]) -> Tensor:
    """Maps [N, 1, h, w], one per stage -> the sum of their spatial means [N]."""
    return torch.stack([m.mean((1, 2, 3)) for m in maps]).sum(0)


def unit(features: Tensor) -> Tensor:
    """Features [N, C, h, w] scaled to unit length over C at every position; smooth at zero."""
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + 1e-4)
