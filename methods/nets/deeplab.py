"""DeepLabV3+ (Chen et al. 2018) on a ResNet of bottleneck blocks.

Structure and tensor names are those of jfzhang95/pytorch-deeplab-xception, whose weights load unchanged; the default
arguments are its ResNet-101 at output stride 16.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.layers import Pointwise

EXPANSION = 4  # of a bottleneck: outputs a plane


class DeepLab(nn.Module):
    """Images [N, 3, H, W] -> maps [N, outputs, H, W].

    planes         of the four stages' bottlenecks; a stage has four times as many output channels
    blocks         of the first three stages; the last has one for each entry of ``multi_grid``
    multi_grid     factors on the last stage's dilation
    stem, pool     channels of the first convolution; whether a max pooling follows
    output_stride  of the last stage: a stage that would exceed it doubles the dilation instead of halving the map
    rates          dilations of the atrous spatial pyramid; 1 stands for a 1x1 convolution
    width          channels of the pyramid and of the decoder; ``low_level``: of the first stage's map in the decoder
    dropouts       after the pyramid, and twice in the decoder
    """

    def __init__(
        self,
        outputs: int,
        *,
        planes: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (3, 4, 23),
        multi_grid: Sequence[int] = (1, 2, 4),
        stem: int = 64,
        pool: bool = True,
        output_stride: int = 16,
        rates: Sequence[int] = (1, 6, 12, 18),
        width: int = 256,
        low_level: int = 48,
        dropouts: Sequence[float] = (0.5, 0.5, 0.1),
    ) -> None:
        super().__init__()
        self.backbone = _Backbone(planes, blocks, multi_grid, stem=stem, pool=pool, output_stride=output_stride)
        self.aspp = _Pyramid(EXPANSION * planes[-1], rates, width=width, dropout=dropouts[0])
        self.decoder = _Decoder(EXPANSION * planes[0], low_level, width, outputs, dropouts=dropouts[1:])

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] -> maps [N, outputs, H, W]."""
        x, low_level = self.backbone(images)
        return _resized(self.decoder(self.aspp(x), low_level), images)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, planes: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(Pointwise(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu_(self.bn1(self.conv1(x)))
        y = F.relu_(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu_(y + (x if self.downsample is None else self.downsample(x)))


class _Backbone(nn.Module):
    """Images -> the last stage's map and the first stage's."""

    def __init__(
        self,
        planes: Sequence[int],
        blocks: Sequence[int],
        multi_grid: Sequence[int],
        *,
        stem: int,
        pool: bool,
        output_stride: int,
    ) -> None:
        super().__init__()
        reached = 4 if pool else 2
        if output_stride not in (reached, 2 * reached, 4 * reached, 8 * reached):
            raise ValueError(f"output_stride: expected {reached} times 1, 2, 4 or 8, found {output_stride}")
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if pool else nn.Identity()
        grids = [*([1] * count for count in blocks), multi_grid]
        inputs, dilation = stem, 1
        for number, (width, grid) in enumerate(zip(planes, grids, strict=True)):
            stride = 1
            if number:
                stride, dilation = (2, dilation) if reached < output_stride else (1, 2 * dilation)
            reached *= stride
            stage = nn.Sequential()
            for index, factor in enumerate(grid):
                stage.append(_Bottleneck(inputs, width, stride=1 if index else stride, dilation=factor * dilation))
                inputs = EXPANSION * width
            self.add_module(f"layer{number + 1}", stage)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.maxpool(F.relu_(self.bn1(self.conv1(images))))
        low_level = self.get_submodule("layer1")(x)
        x = low_level
        for name in ("layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
        return x, low_level


class _Atrous(nn.Module):
    def __init__(self, inputs: int, width: int, rate: int) -> None:
        super().__init__()
        size = 1 if rate == 1 else 3
        self.atrous_conv = nn.Conv2d(inputs, width, size, padding=0 if rate == 1 else rate, dilation=rate, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.bn(self.atrous_conv(x)))


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: the same map at several dilations, and its mean."""

    def __init__(self, inputs: int, rates: Sequence[int], *, width: int, dropout: float) -> None:
        super().__init__()
        self.count = len(rates)
        for number, rate in enumerate(rates, start=1):
            self.add_module(f"aspp{number}", _Atrous(inputs, width, rate))
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.conv1 = nn.Conv2d((self.count + 1) * width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.get_submodule(f"aspp{number}")(x) for number in range(1, self.count + 1)]
        parts.append(_resized(self.global_avg_pool(x), x))
        return self.dropout(F.relu_(self.bn1(self.conv1(torch.cat(parts, 1)))))


class _Decoder(nn.Module):
    def __init__(self, inputs: int, low_level: int, width: int, outputs: int, *, dropouts: Sequence[float]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, low_level, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(low_level)
        self.last_conv = nn.Sequential(
            nn.Conv2d(width + low_level, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropouts[0]),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropouts[1]),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, x: Tensor, low_level: Tensor) -> Tensor:
        low_level = F.relu_(self.bn1(self.conv1(low_level)))
        return self.last_conv(torch.cat([_resized(x, low_level), low_level], 1))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
