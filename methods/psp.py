"""pSp: one pass of a feature-pyramid encoder into W+."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Inversion
from invbench.options import Options

SPEC = {
    "id": "psp",
    "class": "PSP",
    "title": "pSp",
    "family": "encoder",
    "paper": "Richardson et al., Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation",
    "venue": "CVPR 2021",
    "roles": ["generator", "encoder_psp", "directions"],
    "gives": "w+",
    "options": {},
    "presets": {"paper": {}, "released": {}},
    "summary": "A separate style vector for every layer, predicted in one pass; pictures are made with the stored noise. The "
    "encoders are trained without the paper's regulariser towards the mean latent, as the released command for inversion is.",
}


class PSP:
    """pSp (Richardson et al., CVPR 2021; eladrich/pixel2style2pixel): see :class:`invbench.api.Embedder`."""

    role = "encoder_psp"

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.generator = networks["generator"]
        self.encoder = networks[self.role]
        self.directions = networks["directions"]

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        with clock.stage("encode"), torch.no_grad():
            return self.encoder(images)

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embed(images, clock)
        with clock.stage("synthesise"), torch.no_grad():
            return Inversion(latents, self.generator.synthesis(latents))

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            return self.generator.synthesis(self.directions.move(inversion.latents, edit))

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)
