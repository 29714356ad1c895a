"""ReStyle's encoders, which correct a latent code step by step: Alaluf et al., ICCV 2021 (yuval-alaluf/restyle-encoder).

Such an encoder sees six channels, the picture and what the generator draws from the present code, and gives what is to be
added to that code. All heads read the last map; there is no feature pyramid. The default arguments give the published network
for faces, with the module names of the public file; ``backbone="resnet"`` with the stages ``RESNET34`` that of the other
domains.

The first code is the mean latent, a buffer ``latent_avg``, zero until it is set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from invbench.methods.nets.encoders import StyleHead, base_and_offsets, resized
from invbench.metrics.nets.irse import IRSE50, stem, trunk
from invbench.metrics.nets.layers import Pointwise

RESNET34 = ((64, 3), (128, 4), (256, 6), (512, 3))
"""(width, number of blocks) of the four stages of the published backbone of the domains other than faces."""
CHANNELS = 6  # the picture's, and the present drawing's

Stages = Sequence[Sequence[int]]


def _irse(stages: Stages) -> dict[str, nn.Module]:
    return {"input_layer": stem(stages[0][0], channels=CHANNELS), "body": trunk(stages)}


def _resnet(stages: Stages) -> dict[str, nn.Module]:
    """ResNet without max-pooling: the stem halves the resolution, and so does every stage but the first."""
    width = stages[0][0]
    blocks: list[nn.Module] = []
    for number, (wider, count) in enumerate(stages):
        for i in range(count):
            stride = 2 if number and i == 0 else 1
            shortcut = nn.Sequential(Pointwise(width, wider, stride=stride), nn.BatchNorm2d(wider))
            blocks.append(BasicBlock(width, wider, stride, shortcut if stride > 1 else None))
            width = wider
    first = stages[0][0]
    return {
        "conv1": nn.Conv2d(CHANNELS, first, 7, 2, 3, bias=False),
        "bn1": nn.BatchNorm2d(first),
        "relu": nn.PReLU(first),
        "body": nn.Sequential(*blocks),
    }


BACKBONES: dict[str, Callable[[Stages], dict[str, nn.Module]]] = {"irse": _irse, "resnet": _resnet}


class ReStylePSPEncoder(nn.Module):
    """ReStyle over pSp: one independent head for each style vector.

    num_ws    number of style vectors n = 2 log2(generator resolution) - 2
    w_dim     width of a style vector
    size      pictures are resized to this many pixels at their longer side; a power of two, at least 32
    backbone  "irse" (faces) or "resnet"
    stages    (width, units) of the four stages of the backbone, which makes 1/16 of the resolution; the stages of a resnet
              must grow in width, since a stage that does not has no place for its shortcut's weights in the public files
    heads     width of the heads' convolutions

    Raises ValueError for arguments that the architecture cannot have.
    """

    def __init__(
        self,
        num_ws: int = 18,
        w_dim: int = 512,
        *,
        size: int = 256,
        backbone: str = "irse",
        stages: Stages = IRSE50,
        heads: int = 512,
    ) -> None:
        super().__init__()
        if size < 32 or size & (size - 1):
            raise ValueError(f"size: expected a power of two of at least 32, found {size}")
        if len(stages) != 4:
            raise ValueError(f"stages: expected 4 pairs (width, units), found {len(stages)}")
        if backbone not in BACKBONES:
            raise ValueError(f"backbone: expected one of {', '.join(BACKBONES)}, found {backbone!r}")
        self.num_ws, self.w_dim, self.size = num_ws, w_dim, size
        modules = BACKBONES[backbone](stages)
        self.trunk = tuple(modules)
        for name, module in modules.items():
            self.add_module(name, module)
        self.styles = nn.ModuleList(StyleHead(stages[-1][0], heads, w_dim, spatial=size >> 4) for _ in range(num_ws))
        self.latent_avg = nn.Buffer(torch.zeros(num_ws, w_dim))

    def forward(self, images: Tensor, drawn: Tensor, latents: Tensor) -> Tensor:
        """The next codes [N, num_ws, w_dim]: ``latents`` [N, num_ws, w_dim] and what brings their pictures nearer.

        images  [N, 3, H, W] in [-1, 1]
        drawn   [N, 3, h, w], what the generator draws from ``latents``, not clamped
        """
        features = self._features(images, drawn)
        return latents + torch.stack([head(features) for head in self.styles], dim=1)

    def start(self, count: int) -> Tensor:
        """The codes that the first step starts from, [count, num_ws, w_dim]: the mean latent."""
        return self.latent_avg.expand(count, -1, -1)

    def _features(self, images: Tensor, drawn: Tensor) -> Tensor:
        x = resized(images, self.size)
        # The public code averages what the generator drew (adaptive pooling), and resizes pictures through PIL.
        x = torch.cat([x, F.interpolate(drawn, size=x.shape[2:], mode="area")], dim=1)
        for name in self.trunk:
            x = self.get_submodule(name)(x)
        return x


class ReStyleE4EEncoder(ReStylePSPEncoder):
    """ReStyle over e4e: head 0 corrects all vectors alike, head i vector i in addition.

    ``forward(images, drawn, latents, stage)`` uses the heads 1 to ``stage`` only (progressive training); without it all.
    """

    def forward(self, images: Tensor, drawn: Tensor, latents: Tensor, stage: int | None = None) -> Tensor:
        features = self._features(images, drawn)
        return latents + base_and_offsets(lambda i: self.styles[i](features), self.num_ws, stage)
