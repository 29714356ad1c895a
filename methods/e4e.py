"""e4e: an encoder whose codes are kept close to W, so that they can be edited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bench.api import Clock, Edit, Inversion

SPEC = {
    "id": "e4e",
    "class": "E4E",
    "title": "e4e",
    "family": "encoder",
    "paper": "Tov et al., Designing an Encoder for StyleGAN Image Manipulation",
    "venue": "SIGGRAPH 2021",
    "roles": ["generator", "encoder_e4e", "directions"],
    "options": {},
    "presets": {"paper": {}, "released": {}},
    "summary": "One W code and small offsets for each layer, predicted in one pass; pictures are made with the stored noise.",
}


class E4E:
    def __init__(self, networks: Mapping[str, Any]):
        self.generator = networks["generator"]
        self.encoder = networks["encoder_e4e"]
        self.directions = networks["directions"]

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("encode"), torch.no_grad():
            latents = self.encoder(images)
        with clock.stage("synthesise"), torch.no_grad():
            return Inversion(latents, self.generator.synthesis(latents))

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            return self.generator.synthesis(self.directions.move(inversion.latents, edit))

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)
