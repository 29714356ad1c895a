"""Pivotal Tuning Inversion: tune the generator's weights around a pivot, separately for every image."""

from __future__ import annotations

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Embedder, Inversion
from invbench.methods.common.batching import PerImageAdam, image_generators, randn
from invbench.methods.common.curves import show
from invbench.methods.common.losses import PerceptualTarget, mse
from invbench.options import Options

SPEC = {
    "id": "pti",
    "class": "PTI",
    "title": "PTI",
    "family": "weights",
    "paper": "Roich et al., Pivotal Tuning for Latent-based Editing of Real Images",
    "venue": "ACM TOG 2022",
    "roles": ["generator", "perceptual_alex", "directions"],
    "refines": ["w", "w+"],
    "embedder": {"released": "sg2_w:pivot", "paper": "sg2_w:pivot_paper"},
    "options": {
        "steps": {"default": 350, "unit": "steps", "range": "[0, inf)", "help": "largest number of tuning steps"},
        "lr": {"default": 3e-4, "unit": "per step", "range": "(0, inf)", "help": "learning rate of the tuning"},
        "lpips_stop": {
            "default": 0.06,
            "unit": "LPIPS",
            "range": "[0, inf)",
            "help": "tuning of an image stops at this LPIPS",
        },
        "lambda_mse": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss"},
        "lambda_lpips": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the perceptual loss"},
        "locality": {"default": False, "unit": "", "help": "regularise the tuned generator around the pivot"},
        "locality_alpha": {
            "default": 30.0,
            "unit": "W+ distance",
            "range": "[0, inf)",
            "help": "distance from the pivot at which the regulariser samples latents",
        },
        "locality_lambda": {"default": 0.1, "unit": "", "range": "[0, inf)", "help": "weight of the locality regulariser"},
        "seed": {
            "default": 0,
            "unit": "",
            "range": "[0, 4294967296)",
            "help": "seed of the regulariser's samples",
        },
    },
    "presets": {"released": {}, "paper": {"locality": True}},
    "summary": "Preset released: danielroich/PTI, whose locality regulariser is off for single images.",
}

TRUNCATION = 0.5  # of the latents sampled by the locality regulariser


class PTI:
    """PTI (Roich et al., TOG 2022; danielroich/PTI): pivot and weight offsets per image; see :class:`invbench.api.Method`."""

    def __init__(self, networks, options: Options, embedder: Embedder):
        self.networks, self.options, self.embedder = networks, options, embedder
        self.generator = networks["generator"]
        self.perceptual = networks["perceptual_alex"]

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("refine"):
            weights = self._tune(images, latents, clock)
        with clock.stage("synthesise"), torch.no_grad():
            output = self.generator.synthesis(latents, weights=weights)
        return Inversion(latents, output, weights)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            latents = self.networks["directions"].move(inversion.latents, edit)
            return self.generator.synthesis(latents, weights=inversion.state)

    def max_batch(self, memory: int) -> int:
        return min(self.embedder.max_batch(memory), self.generator.max_batch(memory, per_image_weights=True))

    def _tune(self, images: Tensor, latents: Tensor, clock: Clock | None = None) -> dict[str, Tensor]:
        """Equation 3 of the paper, with separate weights for every image; a finished image leaves the batch."""
        adam = PerImageAdam(self.generator.per_image_parameters(images.shape[0]), self.options.lr)
        draws = image_generators(images, self.options.seed + 1)
        target = PerceptualTarget(self.perceptual, images)
        for step in range(self.options.steps):
            output = self.generator.synthesis(latents[adam.kept], weights=adam.parameters)
            show(clock, step, output, rows=adam.kept)
            distance = target.distance(output)
            done = distance.detach() <= self.options.lpips_stop
            if done.all():
                break
            loss = self.options.lambda_mse * mse(output, images[adam.kept]) + self.options.lambda_lpips * distance
            if self.options.locality:
                loss = loss + self.options.locality_lambda * self._locality(latents[adam.kept], adam, draws)
            adam.zero_grad()
            loss[~done].sum().backward()
            adam.retire(done)
            target.keep(~done)
            adam.step()
        return adam.result()

    def _locality(self, latents: Tensor, adam: PerImageAdam, draws: list[torch.Generator]) -> Tensor:
        """Section 3.3 of the paper: difference of the tuned and the original generator near the pivot -> [N]."""
        z = randn([draws[i] for i in adam.kept.tolist()], self.generator.z_dim, like=latents)
        with torch.no_grad():
            mean = self.generator.mean_latent
            sampled = mean + TRUNCATION * (self.generator.mapping(z) - mean)
            offset = sampled[:, None] - latents
            near = latents + self.options.locality_alpha * offset / offset.flatten(1).norm(dim=1)[:, None, None]
            before = self.generator.synthesis(near, noise="none")
        after = self.generator.synthesis(near, noise="none", weights=adam.parameters)
        distance = self.perceptual.distance(after, before)
        return self.options.lambda_mse * mse(after, before) + self.options.lambda_lpips * distance
