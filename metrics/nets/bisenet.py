"""BiSeNet face parsing in 19 classes (Yu et al., ECCV 2018; zllrunning/face-parsing.PyTorch), trained on CelebAMask-HQ.

Tensor names are those of the public file ``79999_iter.pth``. As there, the backbone's map at 1/8 replaces the spatial path of
the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from invbench.metrics.nets.layers import Pointwise
from invbench.metrics.nets.published import fitted

SIZE = 512
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of RGB in [0, 1]
CLASSES = (
    "background", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "glasses", "left_ear", "right_ear", "earring",
    "nose", "mouth", "upper_lip", "lower_lip", "neck", "necklace", "clothes", "hair", "hat",
)  # fmt: skip


class BiSeNet(nn.Module):
    """A face parser with class scores at every pixel; ``classes`` names the classes in the order of the logits."""

    classes = CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.cp = _ContextPath()
        self.ffm = _Fusion(256)
        self.conv_out = _Head(256, 256)
        self.conv_out16 = _Head(128, 64)
        self.conv_out32 = _Head(128, 64)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ImageNet-normalised pictures [N, 3, H, W] -> three score maps [N, 19, H, W]: the result, and the auxiliary ones of
        the training, from the context at 1/8 and 1/16."""
        at8, context8, context16 = self.cp(x)
        heads = (
            self.conv_out(self.ffm(at8, context8)),
            self.conv_out16(context8),
            self.conv_out32(context16),
        )
        out, out16, out32 = (F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=True) for y in heads)
        return out, out16, out32

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W], RGB in [-1, 1] -> logits [N, 19, H, W]. Raises ValueError on another shape.

        Pictures are resized to 512 x 512 px (bilinear, antialiased as in PIL), as in the public inference code; the scores are
        resized back.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        size = images.shape[2:]
        if size != (SIZE, SIZE):
            images = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        out = self.maps(((images + 1) / 2 - mean) / std)[0]
        return out if size == (SIZE, SIZE) else F.interpolate(out, size=size, mode="bilinear", antialias=True)


class _Conv(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Head(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv = _Conv(inputs, width)
        self.conv_out = nn.Conv2d(width, len(CLASSES), 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class _Attention(nn.Module):
    """Attention refinement: the channels of a convolution are weighted by a function of their global means."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _Conv(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.bn_atten(self.conv_atten(_mean(x))).sigmoid()


class _Fusion(nn.Module):
    """Feature fusion: both paths concatenated and convolved, then x + x * gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convblk = _Conv(width, width, 1)
        self.conv1 = nn.Conv2d(width, width // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(width // 4, width, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.convblk(torch.cat([spatial, context], 1))
        return x + x * self.conv2(F.relu(self.conv1(_mean(x)))).sigmoid()


class _ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = _ResNet18()
        self.arm16 = _Attention(256, 128)
        self.arm32 = _Attention(512, 128)
        self.conv_head32 = _Conv(128, 128)
        self.conv_head16 = _Conv(128, 128)
        self.conv_avg = _Conv(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at8, at16, at32 = self.resnet(x)
        y = self.arm32(at32) + self.conv_avg(_mean(at32))
        context16 = self.conv_head32(F.interpolate(y, size=at16.shape[2:], mode="nearest"))
        y = self.arm16(at16) + context16
        return at8, self.conv_head16(F.interpolate(y, size=at8.shape[2:], mode="nearest")), context16


class _ResNet18(nn.Module):
    """torchvision's ResNet-18 without its classifier; gives its maps at 1/8, 1/16 and 1/32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, stride=1)
        self.layer2 = _stage(64, 128, stride=2)
        self.layer3 = _stage(128, 256, stride=2)
        self.layer4 = _stage(256, 512, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        at8 = self.layer2(self.layer1(x))
        at16 = self.layer3(at8)
        return at8, at16, self.layer4(at16)


def _stage(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    shortcut = None
    if stride > 1:
        shortcut = nn.Sequential(Pointwise(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs))


def _mean(x: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, 1, 1]."""
    return x.mean((2, 3), keepdim=True)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> BiSeNet:
    """``79999_iter.pth``, a bare state dict -> the network. Raises InvbenchError naming ``source`` if it does not fit."""
    return fitted(BiSeNet, checkpoint, source=source)
