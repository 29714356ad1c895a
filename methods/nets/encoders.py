"""Encoders of the pSp family into W+: pSp and e4e; invbench.methods.nets.w_encoder has the one into W.

pSp: Richardson et al., "Encoding in Style", CVPR 2021 (eladrich/pixel2style2pixel).
e4e: Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", SIGGRAPH 2021 (omertov/encoder4editing).

The default arguments give the published networks for 256 px input, with the module names of the public files.
Smaller networks differ in arguments only. One of 64 px halves the resolution in the same four places, so that its three
taps lie at 16, 8 and 4 px where the published ones lie at 64, 32 and 16. The split of the style vectors counts from the
first one whatever their number, as published: 0-2 coarse, 3-6 middle, the rest (7-9 of 10) fine.

The networks predict offsets from a mean latent. The public files store it beside the network as ``latent_avg``; here it
is a buffer of that name, zero until it is set, and added once, in ``forward``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.equalised import EqualLinear
from invbench.metrics.nets.irse import IRSE50, stage_ends, stem, trunk


class StyleHead(nn.Module):
    """map2style: strided convolutions from [N, width_in, spatial, spatial] down to 1x1, then one style vector [N, w_dim]."""

    def __init__(self, width_in: int, width: int, w_dim: int, *, spatial: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(int(math.log2(spatial))):
            layers += [nn.Conv2d(width_in, width, 3, 2, 1), nn.LeakyReLU(0.01)]
            width_in = width
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(width, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, width_in, spatial, spatial] -> style vectors [N, w_dim]."""
        style: Tensor = self.linear(self.convs(x).flatten(1))
        return style


class PSPEncoder(nn.Module):
    """IR-SE backbone, feature pyramid and one head per style vector.

    num_ws   number of style vectors n = 2 log2(generator resolution) - 2
    w_dim    width of a style vector
    size     pictures are resized to this many pixels at their longer side; a power of two, at least 32
    stages   (width, units) of the four stages of the backbone; every stage halves the resolution
    heads    width of the heads' convolutions; the pyramid itself is as wide as the last stage
    groups   heads before groups[0] read the coarse tap, those before groups[1] the middle one, the rest the fine one

    ``forward(images)`` takes [N, 3, H, W] in [-1, 1] and gives latent codes [N, num_ws, w_dim].
    Raises ValueError for a size or a number of stages that the architecture cannot have.
    """

    def __init__(
        self,
        num_ws: int = 18,
        w_dim: int = 512,
        *,
        size: int = 256,
        stages: Sequence[Sequence[int]] = IRSE50,
        heads: int = 512,
        groups: Sequence[int] = (3, 7),
    ) -> None:
        super().__init__()
        if size < 32 or size & (size - 1):
            raise ValueError(f"size: expected a power of two of at least 32, found {size}")
        if len(stages) != 4:
            raise ValueError(f"stages: expected 4 pairs (width, units), found {len(stages)}")
        self.num_ws, self.w_dim, self.size = num_ws, w_dim, size
        self.groups = tuple(groups)
        self.taps = stage_ends(stages)[1:]
        fine, middle, coarse = (width for width, _ in stages[1:])
        self.input_layer = stem(stages[0][0], channels=3)
        self.body = trunk(stages)
        self.styles = nn.ModuleList(
            StyleHead(coarse, heads, w_dim, spatial=size >> (4 - self._level(i))) for i in range(num_ws)
        )
        self.latlayer1 = nn.Conv2d(middle, coarse, 1)
        self.latlayer2 = nn.Conv2d(fine, coarse, 1)
        self.latent_avg = nn.Buffer(torch.zeros(num_ws, w_dim))

    def _level(self, index: int) -> int:
        """0, 1, 2 = coarse, middle, fine: the tap that head ``index`` reads."""
        return sum(index >= border for border in self.groups)

    def _taps(self, images: Tensor) -> list[Tensor]:
        """[coarse, middle, fine] features of ``images`` [N, 3, H, W]."""
        x, kept = self.input_layer(resized(images, self.size)), []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in self.taps:
                kept.append(x)
        fine, middle, coarse = kept
        middle = _upsample_add(coarse, self.latlayer1(middle))
        return [coarse, middle, _upsample_add(middle, self.latlayer2(fine))]

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> latents [N, num_ws, w_dim]."""
        taps = self._taps(images)
        return self.latent_avg + torch.stack([head(taps[self._level(i)]) for i, head in enumerate(self.styles)], dim=1)


class E4EEncoder(PSPEncoder):
    """The same network, predicting one code and offsets: head 0 gives w_0 for all vectors, head i adds Delta_i to vector i.

    ``forward(images, stage=k)`` uses Delta_1 to Delta_k only (progressive training, e4e section 4.1); without ``stage``
    all of them.
    """

    def forward(self, images: Tensor, stage: int | None = None) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> latents [N, num_ws, w_dim], with the offsets 1 to ``stage``; None: all offsets."""
        taps = self._taps(images)
        return self.latent_avg + base_and_offsets(lambda i: self.styles[i](taps[self._level(i)]), self.num_ws, stage)


def base_and_offsets(head: Callable[[int], Tensor], num_ws: int, stage: int | None) -> Tensor:
    """e4e's combination of heads, ``head(i)`` [N, D] -> [N, num_ws, D]: head 0 for all vectors, plus head i for vector i.

    Heads beyond ``stage`` are not computed, so that early training is cheap; None means all heads.
    """
    last = num_ws - 1 if stage is None else min(stage, num_ws - 1)
    base = head(0)
    zero = torch.zeros_like(base)
    deltas = [head(i) for i in range(1, last + 1)]
    return base[:, None] + torch.stack([zero, *deltas, *[zero] * (num_ws - 1 - last)], dim=1)


def resized(images: Tensor, size: int) -> Tensor:
    """[N, 3, H, W] -> ``size`` pixels at the longer side: 256 x 256 for faces, 192 x 256 for the car generator's 384 x 512.

    Antialiased bilinear, as the public code does through PIL.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected shape [N, 3, H, W], found {list(images.shape)}")
    height, width = images.shape[2:]
    longer = max(height, width)
    if longer == size:
        return images
    target = (round(height * size / longer), round(width * size / longer))
    return F.interpolate(images, size=target, mode="bilinear", antialias=True)


def _upsample_add(small: Tensor, large: Tensor) -> Tensor:
    """``small`` enlarged to the size of ``large``, plus ``large``. The published pyramid aligns corners."""
    return F.interpolate(small, size=large.shape[2:], mode="bilinear", align_corners=True) + large
