"""HFGI's networks: Wang et al., "High-Fidelity GAN Inversion for Image Attribute Editing", CVPR 2022 (Tengfei-Wang/HFGI).

What an inversion lost, the difference of the picture and what its code draws, is aligned with a drawing (adaptive distortion
alignment, ADA) and becomes a scale and a shift of one feature of the generator. The default arguments give the published
networks, with the module names of the public file; smaller ones differ in arguments only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.encoders import resized
from invbench.methods.nets.equalised import EqualConv, scaled_leaky_relu
from invbench.metrics.nets.irse import Unit, stem

DEPTH = 3  # units of every stage


class ScaledLeakyReLU(nn.Module):
    """Leaky ReLU of slope 0.2, times sqrt(2)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        return scaled_leaky_relu(x)


def _stage(*widths: int, stride: int = 1) -> nn.Sequential:
    """DEPTH units between ``widths``, of which there is one more; the first unit has the stride."""
    pairs = zip(widths, widths[1:], strict=False)
    return nn.Sequential(*(Unit(a, b, stride=1 if i else stride, gated=False) for i, (a, b) in enumerate(pairs)))


def _down(width_in: int, width: int) -> nn.Sequential:
    return _stage(width_in, *[width] * DEPTH, stride=2)


class ResidueEncoder(nn.Module):
    """A difference of pictures -> scale and shift of a feature.

    channels  of the feature
    widths    of the maps at full, a half and a quarter of the resolution
    """

    def __init__(self, channels: int = 512, *, widths: Sequence[int] = (32, 48, 64)) -> None:
        super().__init__()
        full, half, quarter = widths
        self.conv_layer1 = stem(full, channels=3)
        self.conv_layer2 = _down(full, half)
        self.conv_layer3 = _down(half, quarter)
        self.condition_scale3 = self._head(quarter, channels)
        self.condition_shift3 = self._head(quarter, channels)

    @staticmethod
    def _head(width: int, channels: int) -> nn.Sequential:
        convolutions = [EqualConv(one, channels, 3) for one in (width, channels)]
        for one in convolutions:
            one.register_buffer("kernel", None)  # no stride, no filter; one that no file holds would stay without memory
        return nn.Sequential(convolutions[0], ScaledLeakyReLU(), convolutions[1])

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, s, s] -> scale and shift [N, channels, s / 4, s / 4]."""
        x = self.conv_layer3(self.conv_layer2(self.conv_layer1(residual)))
        return self.condition_scale3(x), self.condition_shift3(x)


class ResidualAligner(nn.Module):
    """ADA: a U-shaped network that moves a difference of pictures to where it belongs in a drawing.

    widths  of the maps at full resolution, a half, a quarter and an eighth of it
    """

    def __init__(self, *, widths: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        full, half, quarter, eighth = widths
        self.conv_layer1 = stem(full, channels=6)
        self.conv_layer2 = _down(full, half)
        self.conv_layer3 = _down(half, quarter)
        self.conv_layer4 = _down(quarter, eighth)
        self.dconv_layer1 = _stage(eighth + quarter, eighth, half, half)
        self.dconv_layer2 = _stage(2 * half, half, full, full)
        self.dconv_layer3 = _stage(2 * full, full, 3, 3)

    def forward(self, residual: Tensor, drawing: Tensor) -> Tensor:
        """Both [N, 3, s, s] -> the difference in the place of the drawing [N, 3, s, s]."""
        full = self.conv_layer1(torch.cat([residual, drawing], dim=1))
        half = self.conv_layer2(full)
        quarter = self.conv_layer3(half)
        x = self.dconv_layer1(_joined(self.conv_layer4(quarter), quarter))
        x = self.dconv_layer2(_joined(x, half))
        aligned: Tensor = self.dconv_layer3(_joined(x, full))
        return aligned


def _joined(small: Tensor, large: Tensor) -> Tensor:
    small = F.interpolate(small, size=large.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([small, large], dim=1)


class HFGINetwork(nn.Module):
    """``grid_align`` moves what an inversion lost, ``residue`` makes of it what a feature needs.

    channels  of the feature that is changed
    size      pixels a side of what the two networks see; a multiple of 8
    """

    def __init__(
        self,
        channels: int = 512,
        *,
        size: int = 256,
        residue: Sequence[int] = (32, 48, 64),
        aligner: Sequence[int] = (16, 32, 48, 64),
    ) -> None:
        super().__init__()
        if size <= 0 or size % 8:
            raise ValueError(f"size: expected a multiple of 8, found {size}")
        self.channels, self.size = channels, size
        self.residue = ResidueEncoder(channels, widths=residue)
        self.grid_align = ResidualAligner(widths=aligner)

    def residual(self, images: Tensor, drawings: Tensor) -> Tensor:
        """Pictures minus drawings, both square [N, 3, H, H] -> [N, 3, size, size]."""
        return resized(images, self.size) - self.seen(drawings)

    def seen(self, drawings: Tensor) -> Tensor:
        """Drawings [N, 3, H, H] as the networks see them: clamped, and resized without a filter against aliasing."""
        drawings = drawings.clamp(-1, 1)
        if drawings.shape[-1] == self.size:
            return drawings
        return F.interpolate(drawings, size=(self.size, self.size), mode="bilinear", align_corners=False)

    def conditions(self, aligned: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """An aligned difference [N, 3, size, size] -> scale and shift [N, channels, r, r] for a feature of ``size`` r."""
        found = self.residue(aligned)
        if found[0].shape[-1] == size:
            return found
        scale, shift = (F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False) for x in found)
        return scale, shift
