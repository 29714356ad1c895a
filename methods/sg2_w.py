"""StyleGAN2 projection into W, the method of the StyleGAN2 paper."""

from __future__ import annotations

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Inversion
from invbench.methods.common.projection import Projection, project, reduced, sampled_spread
from invbench.options import Options

SPEC = {
    "id": "sg2_w",
    "class": "SG2W",
    "title": "StyleGAN2 W",
    "family": "optimisation",
    "paper": "Karras et al., Analyzing and Improving the Image Quality of StyleGAN, appendix D",
    "venue": "CVPR 2020",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "directions"],
    "gives": "w",
    "options": {
        "steps": {"default": 1000, "unit": "steps", "range": "[1, inf)", "help": "projection steps"},
        "lr": {"default": 0.1, "unit": "per step", "range": "(0, inf)", "help": "peak learning rate of Adam"},
        "samples": {
            "default": 0,
            "unit": "latents",
            "range": "[0, inf)",
            "help": "number of sampled latents: the projection starts from their mean, their spread scales its jitter; "
            "0: the suite's latent statistics are used",
        },
        "seed": {
            "default": 0,
            "unit": "",
            "range": "[0, 4294967296)",
            "help": "seed of the noise maps and of the latent's jitter",
        },
    },
    "presets": {
        "paper": {},
        "released": {"steps": 600, "lr": 0.01},
        "pivot": {"steps": 450, "lr": 0.01, "samples": 600},
        "pivot_paper": {"steps": 450, "lr": 5e-3},
    },
    "summary": "One latent code and the noise maps optimised for a perceptual loss. Preset released: the baseline of "
    "danielroich/PTI, 600 steps at 0.01. Presets pivot and pivot_paper: what PTI starts from in its two presets; its projector "
    "peaks at 0.01 whatever is configured and starts from the mean of 600 latents.",
}


class SG2W:
    """Projection into W (Karras et al., CVPR 2020; NVlabs/stylegan2-ada-pytorch): see :class:`invbench.api.Embedder`."""

    space = "w"

    def __init__(self, networks, options: Options):
        self.options = options
        self.generator = networks["generator"]
        self.latent_stats = networks["latent_stats"]
        self.perceptual = networks["perceptual_vgg"]
        self.directions = networks["directions"]

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        """The noise maps are dropped: who goes on from the latents has the generator's own noise."""
        with clock.stage("optimise"):
            return self._project(images, clock).latents

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("optimise"):
            found = self._project(images, clock)
        with clock.stage("synthesise"), torch.no_grad():
            output = self.generator.synthesis(found.latents, noise_maps=found.noise_maps)
        return Inversion(found.latents, output, found.noise_maps)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        """Keeps the optimised noise maps: an edit at strength 0 is the inversion."""
        with clock.stage("edit"), torch.no_grad():
            latents = self.directions.move(inversion.latents, edit)
            return self.generator.synthesis(latents, noise_maps=inversion.state)

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)

    def _project(self, images: Tensor, clock: Clock) -> Projection:
        samples = self.options.samples
        return project(
            self.generator,
            images,
            latent_stats=sampled_spread(self.generator, samples) if samples else self.latent_stats,
            perceptual=self.perceptual,
            view=reduced,
            space=self.space,
            steps=self.options.steps,
            lr=self.options.lr,
            seed=self.options.seed,
            clock=clock,
        )
