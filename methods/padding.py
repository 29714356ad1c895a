"""Padding-space inversion: latents in W+, and maps in place of the constant input and of the zeros around features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Inversion
from invbench.methods.nets.padding import padded
from invbench.options import Options

SPEC = {
    "id": "padding",
    "class": "Padding",
    "title": "PadInv",
    "family": "features",
    "paper": "Bai et al., High-fidelity GAN Inversion with Padding Space",
    "venue": "ECCV 2022",
    "roles": ["generator", "encoder_padding", "directions"],
    "options": {},
    "presets": {"paper": {}, "released": {}},
    "summary": "pSp's latents, a constant input, and borders of the same-size convolutions at 4, 8, 16 and 32, in one pass. "
    "The style does not multiply the borders. No encoder was released, and no script for edits by directions: here they move "
    "the latents, and the maps stay. Pictures are made with the stored noise.",
}


class Padding:
    """Padding-space inversion (Bai et al., ECCV 2022; EzioBy/padinv): see :class:`invbench.api.Method`.

    ``state`` of an inversion: the constant ``b4.const`` [N, C, 4, 4], and the borders ``b4.conv1.border`` [N, C, 6, 6], ...
    """

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.generator, self.encoder = padded(networks["generator"]), networks["encoder_padding"]
        self.directions = networks["directions"]

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("encode"), torch.no_grad():
            latents, maps = self.encoder(self.generator.on_canvas(images, outside=-1.0))
        with clock.stage("synthesise"), torch.no_grad():
            maps = {name: one.contiguous() for name, one in maps.items()}  # as they are when they were saved
            return Inversion(latents, self.generator.synthesis(latents, weights=maps), maps)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            latents = self.directions.move(inversion.latents, edit)
            images: Tensor = self.generator.synthesis(latents, weights=inversion.state)
            return images

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)
