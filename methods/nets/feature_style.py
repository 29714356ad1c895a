"""The Feature-Style encoder: Yao et al., "A Style-Based GAN Encoder for High Fidelity Reconstruction of Images and Videos",
ECCV 2022 (InterDigitalInc/FeatureStyleEncoder).

One backbone gives latents in W+ and, from its third stage, a feature that takes the place of the generator's own one. The
default arguments give the published network, with the module names of the public file. StyleFeatureEditor's encoder has the
same tensors and other strides, (2, 2, 1, 2) and 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.metrics.nets.irse import IRSE50, stem
from invbench.metrics.nets.layers import Pointwise

GRID = 3  # each stage's map is averaged to as many cells a side for the styles


class Block(nn.Module):
    """A residual unit of insightface's iResNet.

    ``first``: the unit opens a stage and has a convolution in its shortcut, whatever its stride.
    """

    def __init__(self, width_in: int, width: int, *, stride: int, first: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(Pointwise(width_in, width, stride=stride), nn.BatchNorm2d(width)) if first else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, width_in, H, W] -> [N, width, H / stride, W / stride]."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y)) + self.downsample(x)
        return y


class FeatureStyleEncoder(nn.Module):
    """iResNet with a feature branch and one linear layer for each style vector.

    num_ws          number of style vectors n = 2 log2(generator resolution) - 2
    w_dim           width of a style vector
    size            pictures are averaged to this many pixels at their longer side
    stages          (width, units) of the four stages
    strides         of the four stages
    feature         channels of the feature
    feature_stride  of the feature behind the third stage

    ``latent_avg`` [num_ws, w_dim] is a buffer, zero until it is set, which is added to the latents.
    Raises ValueError unless there are four stages and four strides.
    """

    def __init__(
        self,
        num_ws: int = 18,
        w_dim: int = 512,
        *,
        size: int = 256,
        stages: Sequence[Sequence[int]] = IRSE50,
        strides: Sequence[int] = (2, 2, 2, 2),
        feature: int = 512,
        feature_stride: int = 2,
    ) -> None:
        super().__init__()
        if len(stages) != 4 or len(strides) != 4:
            raise ValueError(f"stages, strides: expected 4 of each, found {len(stages)} and {len(strides)}")
        self.num_ws, self.w_dim, self.size, self.feature = num_ws, w_dim, size, feature
        before = stages[0][0]
        self.conv = stem(before, channels=3)
        for number, ((width, count), stride) in enumerate(zip(stages, strides, strict=True), start=1):
            first = Block(before, width, stride=stride, first=True)
            rest = (Block(width, width, stride=1, first=False) for _ in range(count - 1))
            self.add_module(f"block_{number}", nn.Sequential(first, *rest))
            before = width
        third = stages[2][0]
        self.content_layer = nn.Sequential(
            nn.BatchNorm2d(third),
            nn.Conv2d(third, feature, 3, 1, 1, bias=False),
            nn.BatchNorm2d(feature),
            nn.PReLU(feature),
            nn.Conv2d(feature, feature, 3, feature_stride, 1, bias=False),
            nn.BatchNorm2d(feature),
        )
        pooled = sum(width for width, _ in stages) * GRID * GRID
        self.styles = nn.ModuleList(nn.Linear(pooled, w_dim) for _ in range(num_ws))
        self.latent_avg = nn.Buffer(torch.zeros(num_ws, w_dim))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> latents [N, num_ws, w_dim], feature [N, feature, h, w]."""
        x, pooled = self.conv(averaged(images, self.size)), []
        for number in range(1, 5):
            x = self.get_submodule(f"block_{number}")(x)
            pooled.append(F.adaptive_avg_pool2d(x, GRID))
            if number == 3:
                content: Tensor = self.content_layer(x)
        seen = torch.cat(pooled, dim=1).flatten(1)
        return self.latent_avg + torch.stack([style(seen) for style in self.styles], dim=1), content


def averaged(images: Tensor, size: int) -> Tensor:
    """[N, 3, H, W] -> ``size`` pixels at the longer side, by means over areas; the public code halves 1024 pixels twice."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected shape [N, 3, H, W], found {list(images.shape)}")
    longer = max(images.shape[2:])
    if longer == size:
        return images
    return F.interpolate(images, size=tuple(round(side * size / longer) for side in images.shape[2:]), mode="area")
