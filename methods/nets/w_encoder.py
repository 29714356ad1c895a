"""The encoder into W of pSp, HyperStyle and HyperInverter: backbone, global mean, equalised linear layer.

eladrich/pixel2style2pixel (BackboneEncoderUsingLastLayerIntoW), yuval-alaluf/hyperstyle (WEncoder) and
VinAIResearch/HyperInverter (its first phase) have the same network; for churches HyperInverter has it over a ResNet-34. The
default arguments give the published network for faces, with the module names of the public files; ``backbone="resnet"`` with
the stages ``RESNET34`` of :mod:`invbench.methods.nets.restyle` gives the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invbench.methods.nets.encoders import resized
from invbench.methods.nets.equalised import EqualLinear
from invbench.methods.nets.restyle import BACKBONES
from invbench.metrics.nets.irse import IRSE50, stem


class WEncoder(nn.Module):
    """One code of a picture, an offset from the mean latent, which is a buffer ``latent_avg``, zero until it is set.

    w_dim     width of the code
    size      pictures are resized to this many pixels at their longer side
    backbone  "irse" or "resnet"
    stages    (width, units) of the stages of the backbone

    Raises ValueError for another backbone.
    """

    def __init__(
        self, w_dim: int = 512, *, size: int = 256, backbone: str = "irse", stages: Sequence[Sequence[int]] = IRSE50
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone: expected one of {', '.join(BACKBONES)}, found {backbone!r}")
        self.size, width = size, stages[0][0]
        modules = BACKBONES[backbone](stages)
        if backbone == "irse":  # ReStyle's, but for the first layer: it sees one picture, not two
            modules["input_layer"] = stem(width, channels=3)
        else:
            modules["conv1"] = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.trunk = tuple(modules)
        for name, module in modules.items():
            self.add_module(name, module)
        self.linear = EqualLinear(stages[-1][0], w_dim)
        self.latent_avg = nn.Buffer(torch.zeros(w_dim))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> latents [N, w_dim]."""
        x = resized(images, self.size)
        for name in self.trunk:
            x = self.get_submodule(name)(x)
        latents: Tensor = self.latent_avg + self.linear(x.mean((2, 3)))
        return latents
