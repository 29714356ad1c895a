"""Hybrid W+: optimisation of the codes that an encoder gives, in W+ alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Embedder, Inversion
from invbench.methods.sam import SAM
from invbench.options import Options

SPEC = {
    "id": "hybrid_wplus",
    "class": "HybridWPlus",
    "title": "Hybrid W+",
    "family": "optimisation",
    "paper": "a baseline of Parmar et al., Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing",
    "venue": "CVPR 2022",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "directions"],
    "refines": ["w", "w+"],
    "embedder": "e4e",
    "options": {
        "steps": {"default": 1001, "unit": "steps", "range": "[0, inf)", "help": "optimisation steps"},
        "lr": {"default": 0.05, "unit": "per step", "range": "(0, inf)", "help": "peak learning rate of Adam"},
        "lambda_mse": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss"},
        "lambda_lpips": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the perceptual loss"},
        "lambda_prior": {
            "default": 1e-8,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the Gaussian prior on the latents",
        },
        "lambda_delta": {
            "default": 1e-3,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the latents' distance from the first layer's",
        },
    },
    "presets": {"paper": {}, "released": {}},
    "summary": "Starts from e4e. The paper names no settings of this baseline; these are those of the nearest code, the "
    "inversion of adobe-research/sam_inversion in the one space W+. It draws new noise at every pass, here noise is the stored "
    "one.",
}


class HybridWPlus(SAM):
    """A row of SAM's table (Parmar et al., CVPR 2022): see :class:`invbench.api.Method`."""

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder | None):
        """``embedder``: None is enough for :meth:`found`."""
        super().__init__(networks, Options("hybrid_wplus", {**options, **ALONE}), embedder)

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        start = self.embedder.embed(images, clock)
        with clock.stage("optimise"):
            latents = self.found(images, start, clock)
        with clock.stage("synthesise"), torch.no_grad():
            return Inversion(latents, self.generator.synthesis(latents))

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            images: Tensor = self.generator.synthesis(self.networks["directions"].move(inversion.latents, edit))
            return images

    def found(self, images: Tensor, start: Tensor, clock: Clock | None = None) -> Tensor:
        """Latents [N, L, D] of ``images`` [N, 3, H, W], from ``start`` [N, L, D]."""
        return self._optimise(images, start, {}, clock)["latents"]


# Of SAM's options: no space of features, no segments, the distance of codes as in the code.
ALONE: dict[str, Any] = {"spaces": (), "fused": (), "squared_delta": False}
