"""StyleFeatureEditor: Bobkov et al., "The Devil is in the Details: StyleFeatureEditor for Detail-Rich StyleGAN Inversion and
High Quality Image Editing", CVPR 2024 (ControlGenAI/StyleFeatureEditor).

The first phase is an inverter: the Feature-Style encoder with a third stage of stride 1, and a fuser of the feature that it
predicts with the generator's own one. The second is an editor of the fused feature, which sees how the generator's own
feature changes with an edit. The default arguments give the published networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.feature_style import FeatureStyleEncoder
from invbench.metrics.nets.irse import IRSE50

BLOCKS = 5  # of fuser and editor


class FusedBlock(nn.Module):
    """A residual unit whose sum is not activated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] -> the same shape."""
        y: Tensor = x + self.body(x)
        return y


class FeatureFuser(nn.Module):
    """Two features become one: a 1 x 1 convolution, then ``blocks`` residual units. The editor is of this class, too."""

    def __init__(self, width: int, *, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.body = nn.Sequential(*(FusedBlock(width) for _ in range(blocks)))
        self.conv = nn.Conv2d(2 * width, width, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Features [N, width, H, W] -> [N, width, H, W]. Their order counts."""
        y: Tensor = self.body(self.conv(torch.cat([first, second], dim=1)))
        return y


class Inverter(nn.Module):
    """The network of the first phase; arguments as of :class:`SFENetwork`."""

    def __init__(
        self, num_ws: int, w_dim: int, *, size: int, stages: Sequence[Sequence[int]], feature: int, blocks: int
    ) -> None:
        super().__init__()
        self.fs_backbone = FeatureStyleEncoder(
            num_ws, w_dim, size=size, stages=stages, strides=(2, 2, 1, 2), feature=feature, feature_stride=1
        )
        self.fuser = FeatureFuser(feature, blocks=blocks)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> latents [N, num_ws, w_dim], predicted feature [N, feature, h, w]."""
        found: tuple[Tensor, Tensor] = self.fs_backbone(reduced(images, self.fs_backbone.size))
        return found


class SFENetwork(nn.Module):
    """``inverter`` and ``editor``, the networks of the two phases.

    num_ws   number of style vectors n = 2 log2(generator resolution) - 2
    w_dim    width of a style vector
    size     pictures are reduced to this many pixels at their longer side; the feature has a quarter of it
    stages   (width, units) of the four stages of the backbone
    feature  channels of the feature
    blocks   residual units of fuser and editor

    ``inverter.fs_backbone.latent_avg`` [num_ws, w_dim] is a buffer, zero until it is set.
    """

    def __init__(
        self,
        num_ws: int = 18,
        w_dim: int = 512,
        *,
        size: int = 256,
        stages: Sequence[Sequence[int]] = IRSE50,
        feature: int = 512,
        blocks: int = BLOCKS,
    ) -> None:
        super().__init__()
        self.num_ws, self.size, self.feature = num_ws, size, feature
        self.inverter = Inverter(num_ws, w_dim, size=size, stages=stages, feature=feature, blocks=blocks)
        self.editor = FeatureFuser(feature, blocks=blocks)

    @property
    def latent_avg(self) -> Tensor:
        """The mean latent [num_ws, w_dim] that is added to the latents."""
        return self.inverter.fs_backbone.latent_avg

    def codes(self, encoder: nn.Module, images: Tensor) -> Tensor:
        """Latents [N, L, D] of e4e from images [N, 3, H, W]; this network's mean latent takes the place of e4e's own one."""
        found: Tensor = encoder(reduced(images, self.size))
        return found + (self.latent_avg - encoder.get_buffer("latent_avg"))


def reduced(images: Tensor, size: int) -> Tensor:
    """[N, 3, H, W] -> ``size`` pixels at the longer side, bilinear without antialiasing as in the public code."""
    longer = max(images.shape[2:])
    if longer == size:
        return images
    height, width = (round(side * size / longer) for side in images.shape[2:])
    return F.interpolate(images, size=(height, width), mode="bilinear")


def start_near(fuser: FeatureFuser, first: float, second: float, *, size: float) -> None:
    """Let a new fuser begin near ``first`` times its first feature plus ``second`` times its second one.

    size  factor of what the residual units add
    """
    width = fuser.conv.out_channels
    one = torch.eye(width)
    with torch.no_grad():
        fuser.conv.weight.copy_(torch.cat([first * one, second * one], dim=1)[:, :, None, None])
        fuser.get_parameter("conv.bias").zero_()
        for number in range(len(fuser.body)):
            fuser.get_parameter(f"body.{number}.body.5.weight").mul_(size)
