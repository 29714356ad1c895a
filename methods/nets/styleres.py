"""StyleRes: Pehlivan et al., "StyleRes: Transforming the Residuals for Real Image Editing with StyleGAN", CVPR 2023
(hamzapehlivan/StyleRes).

A map of the encoder and a feature of the generator, both of the picture as it is, give what the latents lost; while the edited
picture is drawn, gates say where and how it changes the feature. The default arguments give the published networks, with the
module names of the public file.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.encoders import E4EEncoder
from invbench.metrics.nets.irse import IRSE50
from invbench.metrics.nets.layers import Pointwise

SLOPE = 0.2


class ResLayer(nn.Module):
    """Two convolutions beside a shortcut, not normalised."""

    def __init__(self, width_in: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        same = width_in == width and stride == 1
        self.shortcut_layer: nn.Module = nn.Identity() if same else nn.Sequential(Pointwise(width_in, width, stride=stride))
        self.res_layer = nn.Sequential(
            nn.Conv2d(width_in, width, 3, 1, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, width, 3, stride, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, width_in, H, W] -> [N, width, H / stride, W / stride]."""
        y: Tensor = self.shortcut_layer(x) + self.res_layer(x)
        return y


def _layers(width: int, count: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*(ResLayer(width, width, stride=1 if i else stride) for i in range(count)))


class Alignment(nn.Module):
    """Encoder's map and generator's feature -> one map of the feature's width."""

    def __init__(self, encoded: int, width: int) -> None:
        super().__init__()
        self.first_layer = nn.Conv2d(encoded + width, width, 1)
        self.conv1 = _layers(width, 1)
        self.conv2 = _layers(width, 2, stride=2)
        self.conv3 = _layers(width, 2, stride=2)
        self.dconv1, self.dconv2 = _layers(width, 2), _layers(width, 2)
        self.dconv3 = _layers(width, 2)  # in the public file, and used by nothing
        self.out_layer = nn.Conv2d(width, width, 1)

    def forward(self, encoded: Tensor, feature: Tensor) -> Tensor:
        """[N, E, r, r] and [N, C, r, r] -> [N, C, r, r]."""
        full = self.conv1(self.first_layer(torch.cat([encoded, feature], dim=1)))
        half = self.conv2(full)
        x = self.dconv1(_enlarged(self.conv3(half), half) + half)
        x = self.dconv2(_enlarged(x, full) + full)
        aligned: Tensor = self.out_layer(x)
        return aligned


def _enlarged(small: Tensor, large: Tensor) -> Tensor:
    return F.interpolate(small, size=large.shape[2:], mode="bilinear", align_corners=True)


class Extraction(nn.Module):
    """What the latents lost, from the aligned map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_layer = nn.Conv2d(width, width, 1)
        self.convs = _layers(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, r, r] -> [N, C, r, r]."""
        y: Tensor = self.convs(self.first_layer(x))
        return y


class Gates(nn.Module):
    """The change of a feature, and how much of it counts where."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down1, self.down2 = (nn.Conv2d(width, width // 2, 3, 1, 1) for _ in range(2))
        self.convs = _layers(width, 3)
        self.convs2 = nn.Sequential(ResLayer(width, width), ResLayer(width, width), ResLayer(width, 1))

    def forward(self, feature: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
        """Feature of the picture that is drawn, and what was lost, [N, C, r, r] -> change [N, C, r, r], logits [N, 1, r, r]."""
        both = torch.cat([self.down1(feature), self.down2(lost)], dim=1)
        return self.convs(both), self.convs2(both)


class StyleResNetwork(nn.Module):
    """``e4e`` and the three modules beside the generator's up-convolution.

    num_ws, w_dim, size, stages, heads, groups  as of :class:`invbench.methods.nets.encoders.E4EEncoder`
    channels                                    of the feature that is changed, an even number
    """

    def __init__(
        self,
        num_ws: int = 18,
        w_dim: int = 512,
        *,
        channels: int = 512,
        size: int = 256,
        stages: Sequence[Sequence[int]] = IRSE50,
        heads: int = 512,
        groups: Sequence[int] = (3, 7),
    ) -> None:
        super().__init__()
        self.num_ws, self.size, self.channels = num_ws, size, channels
        self.e4e = E4EEncoder(num_ws, w_dim, size=size, stages=stages, heads=heads, groups=groups)
        self.modify_feature_alignment = Alignment(stages[1][0], channels)
        self.modify_feature_extraction = Extraction(channels)
        self.modify_feature_gates = Gates(channels)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Square images [N, 3, H, H] in [-1, 1] -> latents [N, L, D], the encoder's map [N, E, size / 4, size / 4]."""
        if images.shape[-1] != self.size:  # PIL's default in the public code
            images = F.interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True)
        x = self.e4e.input_layer(images)
        for unit in self.e4e.body[: self.e4e.taps[0] + 1]:
            x = unit(x)
        return self.e4e(images), x

    def lost(self, encoded: Tensor, feature: Tensor) -> Tensor:
        """What latents lost, from the encoder's map, resized where it has not the size of their feature [N, C, r, r]."""
        if encoded.shape[-1] != feature.shape[-1]:
            encoded = _enlarged(encoded, feature)
        found: Tensor = self.modify_feature_extraction(self.modify_feature_alignment(encoded, feature))
        return found


class GatedEdit:
    """The change of a feature F by what was lost [N, C, r, r], as the gates let it through: F + gate * change.

    For ``features`` of the synthesis, as :class:`invbench.methods.nets.stylegan2.FeatureEdit`. ``let_through`` is the last
    product, once a picture was drawn.
    """

    into_rgb = False
    let_through: Tensor

    def __init__(self, gates: Gates, lost: Tensor) -> None:
        self.gates, self.lost = gates, lost

    def __call__(self, feature: Tensor, layer: str) -> Tensor:
        change, logits = self.gates(feature, self.lost)
        self.let_through = logits.sigmoid() * change
        return feature + self.let_through
