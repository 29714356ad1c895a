"""Padding-space inversion: Bai et al., "High-fidelity GAN Inversion with Padding Space", ECCV 2022 (EzioBy/padinv).

The encoder is pSp's with one branch more, whose maps take the place of the generator's constant input and of the zeros around
the features in its same-size convolutions. The default arguments give the published network, with the module names of its
files.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.encoders import StyleHead
from invbench.methods.nets.equalised import SQRT2, demodulation
from invbench.methods.nets.feature_style import averaged
from invbench.methods.nets.fused import StyledActivation
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.stylegan2_layers import StyledConv, below
from invbench.metrics.nets.irse import IRSE50, Unit, stem

CONSTANT = "b4.const"
LEVELS = 3  # of the pyramid
PADDED = 4  # resolutions whose same-size convolution is padded: 4, 8, 16 and 32


def border_name(resolution: int) -> str:
    """The parameter of a padded generator that holds the border of the same-size convolution at ``resolution``."""
    return f"b{resolution}.conv1.border"


class Pyramid(nn.Module):
    """Maps of ``widths``, of which each is half as large as the one before, made as wide as the last one and summed upwards."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.lateral_layers = nn.ModuleList(nn.Conv2d(one, widths[-1], 1) for one in widths[:-1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[N, C, h, w] from fine to coarse -> [N, widths[-1], h, w] from coarse to fine."""
        found = [maps[-1]]
        for lateral, own in zip(reversed(self.lateral_layers), reversed(maps[:-1]), strict=True):
            found.append(lateral(own) + F.interpolate(found[-1], size=own.shape[2:], mode="bilinear", align_corners=True))
        return found


class PaddingEncoder(nn.Module):
    """IR-SE backbone, feature pyramid, heads of style vectors, and the branch of padding maps.

    num_ws    number of style vectors that are given; published networks have ``heads`` 18 whatever the generator
    w_dim     width of a style vector
    size      pictures are averaged to this many pixels at their longer side; a power of two, at least 32
    stages    (width, units) of the four stages; every stage halves the resolution
    heads     number of heads; those beyond ``num_ws`` are idle
    width     of the heads' convolutions
    groups    heads before groups[0] read the coarse map, those before groups[1] the middle one, the rest the fine one
    level     of the pyramid that the padding is made from: 0 coarse, 1 middle, 2 fine
    channels  of the generator's features at the padded resolutions 4, 8, ...; at 4 the width of the last stage. None: that
              width at 4, 8, 16 and 32

    ``latent_avg`` [w_dim] is a buffer, zero until it is set, which is added to the latents.
    Raises ValueError for arguments that do not fit each other.
    """

    def __init__(
        self,
        num_ws: int = 18,
        w_dim: int = 512,
        *,
        size: int = 256,
        stages: Sequence[Sequence[int]] = IRSE50,
        heads: int = 18,
        width: int = 512,
        groups: Sequence[int] = (3, 7),
        level: int = 1,
        channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        pyramid = stages[-1][0]
        channels = [pyramid] * PADDED if channels is None else list(channels)
        if num_ws > heads:
            raise ValueError(f"num_ws: expected at most {heads}, one for each head, found {num_ws}")
        if not 0 < len(channels) <= PADDED or channels[0] != pyramid:
            raise ValueError(f"channels: expected 1 to {PADDED} numbers, the first {pyramid}, found {channels}")
        if len(stages) != 4 or not 0 <= level < LEVELS:
            raise ValueError(f"stages, level: expected 4 and 0 to {LEVELS - 1}, found {len(stages)} and {level}")
        self.num_ws, self.w_dim, self.size, self.level = num_ws, w_dim, size, level
        self.groups = tuple(groups)
        self.input_layer = stem(stages[0][0], channels=3)
        before = [stages[0][0], *(one for one, _ in stages)]
        self.backbone_stages = nn.ModuleList(
            nn.Sequential(*(Unit(width if i else before[k], width, stride=1 if i else 2) for i in range(count)))
            for k, (width, count) in enumerate(stages)
        )
        self.padding_extractor = nn.Sequential(*(Unit(pyramid, pyramid, stride=1) for _ in range(2)))
        self.padding_modulation_heads = nn.ModuleList(nn.Conv2d(pyramid, one, 1) for one in channels)
        self.fpn = Pyramid([one for one, _ in stages[1:]])
        self.latent_heads = nn.ModuleList(
            StyleHead(pyramid, width, w_dim, spatial=size >> (4 - self._level(i))) for i in range(heads)
        )
        self.latent_avg = nn.Buffer(torch.zeros(w_dim))

    def _level(self, index: int) -> int:
        """0, 1, 2 = coarse, middle, fine: the map that head ``index`` reads."""
        return sum(index >= border for border in self.groups)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Images [N, 3, H, H] in [-1, 1] -> latents [N, num_ws, w_dim], and parameters of a :func:`padded` generator.

        These are, by name, the constant [N, C, 4, 4], and a border [N, C, r + 2, r + 2] for each resolution r, whose middle
        does not count.
        """
        maps = self._pyramid(images)
        latents = torch.stack([self.latent_heads[i](maps[self._level(i)]) for i in range(self.num_ws)], dim=1)
        return self.latent_avg + latents, self._padding(maps[self.level])

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        """[coarse, middle, fine], all as wide as the last stage."""
        x, kept = self.input_layer(averaged(images, self.size)), []
        for stage in self.backbone_stages:
            x = stage(x)
            kept.append(x)
        found: list[Tensor] = self.fpn(kept[1:])
        return found

    def maps(self, images: Tensor) -> list[Tensor]:
        """The whole maps, of which :meth:`forward` takes the middle: the constant's, then those of the padded resolutions.

        [N, C, r + 2, r + 2] for the largest of these, r: 34 as published, from features of 32 x 32.
        """
        whole = self._whole(self._pyramid(images)[self.level])
        return [whole, *(head(whole) for head in self.padding_modulation_heads)]

    def _whole(self, features: Tensor) -> Tensor:
        side = 2 ** (len(self.padding_modulation_heads) + 1) + 2
        return F.interpolate(self.padding_extractor(features), size=(side, side), mode="bicubic", align_corners=True)

    def _padding(self, features: Tensor) -> dict[str, Tensor]:
        """The heads see one cell at a time: each need only see the middle that is taken of what it gives."""
        whole = self._whole(features)
        found = {CONSTANT: _middle(whole, 4)}
        for number, head in enumerate(self.padding_modulation_heads):
            resolution = 4 << number
            found[border_name(resolution)] = head(_middle(whole, resolution + 2))
        return found


def _middle(maps: Tensor, size: int) -> Tensor:
    start = (maps.shape[-1] - size) // 2
    return maps[:, :, start : start + size, start : start + size]


class PaddedConv(StyledConv):
    """A same-size convolution of the generator, around whose input stands ``border`` [I, r + 2, r + 2] instead of zeros.

    It shares the tensors of ``conv``. The style multiplies the feature and not the border: a convolution whose *weights* are
    modulated multiplies both, and gives another picture. The middle of the border does not count.
    """

    def __init__(self, conv: StyledConv) -> None:
        n_out, n_in = conv.weight.shape[:2]
        size = conv.noise_const.shape[-1]
        with torch.device("meta"):
            super().__init__(n_in, n_out, w_dim=conv.affine.weight.shape[1], resolution=size, up=False, clamp=conv.clamp)
        self.affine, self.weight, self.bias = conv.affine, conv.weight, conv.bias
        self.noise_strength, self.noise_const = conv.noise_strength, conv.noise_const
        self.border = nn.Parameter(conv.weight.new_zeros(n_in, size + 2, size + 2), requires_grad=conv.weight.requires_grad)
        ring = F.pad(conv.weight.new_zeros(size, size), (1, 1, 1, 1), value=1.0)
        self.register_buffer("ring", ring, persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, overrides: Mapping[str, Tensor]) -> Tensor:
        weight, bias = overrides.get("weight", self.weight), overrides.get("bias", self.bias)
        style = self.affine(w, below("affine", overrides))
        border = self.get_buffer("ring") * overrides.get("border", self.border)
        y = F.conv2d(F.pad(x * style[:, :, None, None], (1, 1, 1, 1)) + border, weight)
        factor = (SQRT2 * demodulation(weight, style))[:, :, None, None]  # the gain of the activation, as in StyledConv
        if noise is not None:
            noise = SQRT2 * overrides.get("noise_strength", self.noise_strength).reshape(-1, 1, 1, 1) * noise
        y = StyledActivation.apply(y, factor, SQRT2 * bias.reshape(-1, len(self.bias), 1, 1), noise)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


def padded(generator: Generator) -> Generator:
    """A generator with the tensors of ``generator`` itself, whose same-size convolutions at 4, 8, 16 and 32 are padded.

    Borders are zero unless ``weights`` of the synthesis names others: ``b4.conv1.border``, ... These convolutions take no
    kernels of a picture's own.
    """
    shared = {id(one): one for one in itertools.chain(generator.parameters(), generator.buffers())}
    found = copy.deepcopy(generator, shared)
    for number in range(PADDED):
        block = found.synthesis.get_submodule(f"b{4 << number}")
        block.conv1 = PaddedConv(block.get_submodule("conv1"))  # type: ignore[arg-type]
    return found
