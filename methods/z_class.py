"""Inversion into z and the embedding of the class, for class-conditional generators such as BigGAN-deep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Inversion
from invbench.methods.common.batching import PerImageAdam
from invbench.methods.common.curves import show
from invbench.methods.common.losses import PerceptualTarget, at_most, mse, ramp
from invbench.options import Options

SPEC = {
    "id": "z_class",
    "class": "ZClass",
    "title": "Z and class",
    "family": "optimisation",
    "paper": "Huh et al., Transforming and Projecting Images into Class-conditional Generative Networks (the space)",
    "venue": "ECCV 2020",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "directions"],
    "gives": "z",
    "options": {
        "steps": {"default": 500, "unit": "steps", "range": "[0, inf)", "help": "optimisation steps"},
        "lr": {"default": 0.05, "unit": "per step", "range": "(0, inf)", "help": "peak learning rate of Adam"},
        "lambda_mse": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss"},
        "lambda_lpips": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the perceptual loss"},
        "lambda_prior": {
            "default": 1e-4,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the Gaussian prior on z and the embedding",
        },
    },
    "summary": "z and the class's embedding, the same in all layers, optimised from z = 0 and the mean embedding for squared "
    "and perceptual error. It is what SAM starts from on BigGAN-deep, for which the paper names no start; the paper named here "
    "searches z by CMA and optimises a transformation, too, which is left out.",
}


class ZClass:
    """Optimisation of z and class (Huh et al., ECCV 2020): see :class:`invbench.api.Embedder`."""

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.options = options
        self.generator, self.stats = networks["generator"], networks["latent_stats"]
        self.perceptual, self.directions = networks["perceptual_vgg"], networks["directions"]

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        with clock.stage("optimise"):
            return self.optimise(images, clock)

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

    def optimise(self, images: Tensor, clock: Clock | None = None) -> Tensor:
        """The conditions [N, L, D] of ``images`` [N, 3, H, W], the same in all layers."""
        options, seen = self.options, at_most(images, 256)
        target = PerceptualTarget(self.perceptual, seen)
        adam = PerImageAdam({"latents": self.generator.mean_latent.expand(len(images), 1, -1)}, options.lr)
        code = adam.parameters["latents"]
        for step in range(options.steps):
            adam.lr = options.lr * ramp(step / options.steps)
            drawn = self.generator.synthesis(code.expand(-1, self.generator.num_ws, -1))
            show(clock, step, drawn)
            drawn = at_most(drawn, 256)
            loss = options.lambda_mse * mse(drawn, seen) + options.lambda_lpips * target.distance(drawn)
            loss = loss + options.lambda_prior * self.stats.prior(code)
            adam.zero_grad()
            loss.sum().backward()
            adam.step()
        return adam.result()["latents"].expand(-1, self.generator.num_ws, -1).contiguous()
