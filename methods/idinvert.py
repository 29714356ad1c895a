"""In-domain inversion: an encoder trained through the generator, then codes optimised so that it would find them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Inversion
from invbench.methods.common.batching import PerImageAdam
from invbench.methods.common.curves import show
from invbench.methods.common.losses import PerceptualTarget, mse
from invbench.options import Options

SPEC = {
    "id": "idinvert",
    "class": "IDInvert",
    "title": "IDInvert",
    "family": "hybrid",
    "paper": "Zhu et al., In-Domain GAN Inversion for Real Image Editing",
    "venue": "ECCV 2020",
    "roles": ["generator", "encoder_idinvert", "features_idinvert", "directions"],
    "gives": "w+",
    "options": {
        "steps": {
            "default": 100,
            "unit": "steps",
            "range": "[0, inf)",
            "help": "steps of the in-domain optimisation, 100 in the released script; 0: the encoder alone",
        },
        "lr": {"default": 0.01, "unit": "per step", "range": "(0, inf)", "help": "learning rate of Adam, constant as released"},
        "perceptual_weight": {
            "default": 5e-5,
            "unit": "",
            "range": "[0, inf)",
            "help": "of the mean squared difference of features: VGG-16's relu4_3 of pictures in [0, 255]",
        },
        "domain_weight": {
            "default": 2.0,
            "unit": "",
            "range": "[0, inf)",
            "help": "of the domain term: the mean squared difference of a code from the encoder's code of what it draws",
        },
    },
    "presets": {"paper": {}, "released": {}, "encoder": {"steps": 0}},
    "summary": "Starts from the code of a domain-guided encoder and minimises squared error, a perceptual term and the domain "
    "term. The public code inverts and does not train; it draws with stored noise. Preset encoder: the paper's encoder alone.",
}


class IDInvert:
    """In-domain GAN inversion (Zhu et al., ECCV 2020; genforce/idinvert_pytorch): see :class:`invbench.api.Embedder`."""

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.options = options
        self.generator, self.encoder = networks["generator"], networks["encoder_idinvert"]
        self.perceptual, self.directions = networks["features_idinvert"], networks["directions"]

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        with clock.stage("encode"), torch.no_grad():
            start: Tensor = self.encoder(images)
        if self.options.steps == 0:
            return start
        with clock.stage("optimise"):
            return self._optimised(images, start, clock)

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embed(images, clock)
        with clock.stage("synthesise"), torch.no_grad():
            return Inversion(latents, self.generator.synthesis(latents))

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            images: Tensor = self.generator.synthesis(self.directions.move(inversion.latents, edit))
            return images

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)

    def _optimised(self, images: Tensor, start: Tensor, clock: Clock) -> Tensor:
        """Codes [N, L, D] after the in-domain optimisation (the paper's equation 5) from ``start`` [N, L, D]."""
        target = PerceptualTarget(self.perceptual, images)
        adam = PerImageAdam({"latents": start}, self.options.lr)
        codes = adam.parameters["latents"]
        for step in range(self.options.steps):
            drawn = self.generator.synthesis(codes)
            show(clock, step, drawn)
            loss = mse(drawn, images) + self.options.perceptual_weight * target.distance(drawn)
            if self.options.domain_weight:
                loss = loss + self.options.domain_weight * (codes - self.encoder(drawn)).square().mean((1, 2))
            adam.zero_grad()
            loss.sum().backward()
            adam.step()
        return adam.result()["latents"]
