"""DISTS (Ding et al., TPAMI 2020; dingkeyan93/DISTS, MIT) in the form of piq (photosynthesis-team/piq, Apache-2.0).

piq.DISTS downloads its weights when it is built, so the formula is written here. Files: piq's ``dists_weights.pt``, which has
two tensors, and torchvision's VGG-16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.metrics.nets.published import fitted, tensors

SIDE = 256  # larger pictures are reduced until their shorter side has so many pixels
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of VGG-16
CHANNELS = (3, *(width for width, _ in STAGES))  # of the picture itself and of each stage's last map
EPSILON = 1e-6
POOLING = 1e-12


class Dists(nn.Module):
    """1 - the weighted similarity of means (texture) and of covariances (structure) of the picture and of five VGG-16 maps.

    Its pooling is the L2 norm under a Hann window of 3 x 3, with stride 2, in place of VGG's maximum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        before = 3
        for width, count in STAGES:
            for _ in range(count):
                self.convolutions.append(nn.Conv2d(before, width, 3, padding=1))
                before = width
        self.alpha, self.beta = (nn.Parameter(torch.zeros(1, sum(CHANNELS), 1, 1)) for _ in range(2))

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> the picture in [0, 1], not normalised, and the ReLU maps of the five stages."""
        picture = (images + 1) / 2
        if min(picture.shape[2:]) > SIDE:
            factor = SIDE / min(picture.shape[2:])
            picture = F.interpolate(picture, scale_factor=factor, recompute_scale_factor=False, mode="bilinear")
        mean, std = (picture.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        x, maps, layers = (picture - mean) / std, [picture], iter(self.convolutions)
        for number, (_, count) in enumerate(STAGES):
            x = _pooled(x) if number else x
            for _ in range(count):
                x = F.relu(next(layers)(x))
            maps.append(x)
        return maps

    def between(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """The distance [N] from the results of :meth:`features`; 0 for equal pictures."""
        texture, structure = [], []
        for x, y in zip(a, b, strict=True):
            mean_x, mean_y = (one.mean((2, 3), keepdim=True) for one in (x, y))
            spread_x, spread_y = (one.var((2, 3), keepdim=True, unbiased=False) for one in (x, y))
            covariance = (x * y).mean((2, 3), keepdim=True) - mean_x * mean_y
            texture.append((2 * mean_x * mean_y + EPSILON) / (mean_x.square() + mean_y.square() + EPSILON))
            structure.append((2 * covariance + EPSILON) / (spread_x + spread_y + EPSILON))
        return 1 - (self.alpha * torch.cat(texture, 1) + self.beta * torch.cat(structure, 1)).sum((1, 2, 3))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """DISTS [N] of images [N, 3, H, W] in [-1, 1]; 0 for identical ones."""
        return self.between(self.features(a), self.features(b))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """As :meth:`distance`."""
        return self.distance(a, b)


def _pooled(x: Tensor) -> Tensor:
    """L2 norm of x [N, C, H, W] under a Hann window, [N, C, ceil(H / 2), ceil(W / 2)]."""
    row = torch.hann_window(5, periodic=False, dtype=x.dtype, device=x.device)[1:-1]
    window = row[:, None] * row
    window = (window / window.sum()).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x.square(), window, stride=2, padding=1, groups=x.shape[1]) + POOLING).sqrt()


def from_checkpoint(
    checkpoint: Mapping[str, Any], *, source: str, trunk: Mapping[str, Any], trunk_source: str = "trunk"
) -> Dists:
    """DISTS from piq's weights and torchvision's VGG-16. Raises InvbenchError naming the file that does not fit.

    The classifier of VGG-16 is not used.
    """
    weights = tensors(checkpoint, source=source)
    layers = tensors(trunk, source=trunk_source)
    numbers = sorted({int(key.split(".")[1]) for key in layers if key.startswith("features.")})
    state = {
        f"convolutions.{place}.{name}": layers[f"features.{number}.{name}"]
        for place, number in enumerate(numbers)
        for name in ("weight", "bias")
        if f"features.{number}.{name}" in layers
    }
    return fitted(Dists, state | weights, source=f"{source} and {trunk_source}")
