"""ReStyle over pSp: an encoder that corrects its own result in several passes, five by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Clock, Edit, Inversion
from invbench.methods.common.curves import show
from invbench.methods.common.losses import size_at_most
from invbench.options import Options

SPEC = {
    "id": "restyle_psp",
    "class": "ReStylePSP",
    "title": "ReStyle (pSp)",
    "family": "encoder",
    "paper": "Alaluf et al., ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement",
    "venue": "ICCV 2021",
    "roles": ["generator", "encoder_restyle_psp", "directions"],
    "gives": "w+",
    "options": {
        "iterations": {
            "default": 5,
            "unit": "steps",
            "help": "passes of the encoder, as many as in training; 5 in paper and code",
            "range": "[1, inf)",
        },
    },
    "presets": {"paper": {}, "released": {}},
    "summary": "Starts from the mean latent. Each pass sees the picture and the generator's image of the current latent, and "
    "corrects the latent. Images are made with the stored noise. The result of every pass is kept.",
}


class ReStylePSP:
    """Iterative encoder of T passes.

    The ``state`` of an inversion holds the results after each pass, the last included: ``latents_of_steps`` [N, T, L, D] and
    ``images_of_steps`` [N, T, 3, h, w] as the encoder sees them, at most ``encoder.size`` pixels at the longer side.
    """

    role = "encoder_restyle_psp"

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.generator = networks["generator"]
        self.encoder = networks[self.role]
        self.directions = networks["directions"]
        self.iterations = options.iterations

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        codes, _ = self._passes(images, clock)
        return codes[-1]

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        codes, pictures = self._passes(images, clock)
        with clock.stage("synthesise"), torch.no_grad():
            drawn = self.generator.synthesis(codes[-1])
            pictures.append(self._seen(drawn))
        steps = {"latents_of_steps": torch.stack(codes, 1), "images_of_steps": torch.stack(pictures, 1)}
        return Inversion(codes[-1], drawn, steps)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            return self.generator.synthesis(self.directions.move(inversion.latents, edit))

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)

    def _passes(self, images: Tensor, clock: Clock) -> tuple[list[Tensor], list[Tensor]]:
        """The codes [N, L, D] after each of the T passes, and the pictures of all but the last of them."""
        latents = self.encoder.start(len(images))
        with clock.stage("synthesise"), torch.no_grad():
            drawn = self.generator.synthesis(latents[:1]).expand(len(images), -1, -1, -1)
        show(clock, 0, drawn)
        codes, pictures = [], []
        for step in range(self.iterations):
            if step:
                with clock.stage("synthesise"), torch.no_grad():
                    drawn = self.generator.synthesis(latents)
                    pictures.append(self._seen(drawn))
                    show(clock, step, drawn)
            with clock.stage("encode"), torch.no_grad():
                latents = self.encoder(images, drawn, latents)
            codes.append(latents)
        return codes, pictures

    def _seen(self, drawn: Tensor) -> Tensor:
        """A picture as the encoder sees it."""
        return F.interpolate(drawn, size=size_at_most(drawn, self.encoder.size), mode="area")
