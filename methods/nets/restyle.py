"""ReStyle's encoders, which correct a latent step by step: Alaluf et al., ICCV 2021 (yuval-alaluf/restyle-encoder).

Such an encoder sees six channels, the picture and the generator's image of the current latent, and gives the correction of that
latent. All heads read the last map; there is no feature pyramid. The default arguments give the published network for faces,
with the module names of the public file; ``backbone="resnet"`` with the stages ``RESNET34`` gives that of the other domains.

The first latent is the mean latent, a buffer ``latent_avg``, which is zero until it is set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.encoders import StyleHead, base_and_offsets, resized
from invbench.metrics.nets.irse import IRSE50, stem, trunk
from invbench.metrics.nets.layers import Pointwise

RESNET34 = ((64, 3), (128, 4), (256, 6), (512, 3))
"""(width, number of blocks) of the four stages of the published backbone for domains other than faces."""
CHANNELS = 6  # those of the picture and of the generator's image

Stages = Sequence[Sequence[int]]


def _irse(stages: Stages) -> dict[str, nn.Module]:
    return {"input_layer": stem(stages[0][0], channels=CHANNELS), "body": trunk(stages)}


def _resnet(stages: Stages) -> dict[str, nn.Module]:
    """ResNet without max-pooling: the stem halves the resolution, and so does every stage but the first."""
    from torchvision.models.resnet import BasicBlock  # loads all of torchvision, which the other backbone does without

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
    stages    (width, units) of the four stages of the backbone, whose output has 1/16 of the resolution; the stages of a
              resnet must grow in width, since the public files have shortcut weights only for stages that do
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
        """The next latents [N, num_ws, w_dim]: ``latents`` [N, num_ws, w_dim] plus the correction.

        images  [N, 3, H, W] in [-1, 1]
        drawn   [N, 3, h, w], the generator's images of ``latents``, about [-1, 1], not clamped
        """
        features = self._features(images, drawn)
        return latents + torch.stack([head(features) for head in self.styles], dim=1)

    def start(self, count: int) -> Tensor:
        """The latents before the first step, [count, num_ws, w_dim]: the mean latent, repeated."""
        return self.latent_avg.expand(count, -1, -1)

    def _features(self, images: Tensor, drawn: Tensor) -> Tensor:
        x = resized(images, self.size)
        # The public code averages the generator's images (adaptive pooling), and resizes pictures with PIL.
        x = torch.cat([x, F.interpolate(drawn, size=x.shape[2:], mode="area")], dim=1)
        for name in self.trunk:
            x = self.get_submodule(name)(x)
        return x


class ReStyleE4EEncoder(ReStylePSPEncoder):
    """ReStyle over e4e: head 0 gives one correction for all vectors, and head i adds one to vector i."""

    def forward(self, images: Tensor, drawn: Tensor, latents: Tensor, stage: int | None = None) -> Tensor:
        """As for pSp, with the heads 1 to ``stage`` only (progressive training); None: all heads."""
        features = self._features(images, drawn)
        return latents + base_and_offsets(lambda i: self.styles[i](features), self.num_ws, stage)
