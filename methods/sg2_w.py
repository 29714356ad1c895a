"""StyleGAN2 projection into W, the method of the StyleGAN2 paper."""

from __future__ import annotations

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Inversion
from invbench.methods.common.projection import project, reduced
from invbench.options import Options

SPEC = {
    "id": "sg2_w",
    "class": "SG2W",
    "title": "StyleGAN2 W",
    "family": "optimisation",
    "paper": "Karras et al., Analyzing and Improving the Image Quality of StyleGAN, appendix D",
    "venue": "CVPR 2020",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "directions"],
    "options": {
        "steps": {"default": 1000, "unit": "steps", "range": "[1, inf)", "help": "projection steps"},
        "lr": {"default": 0.1, "unit": "per step", "range": "(0, inf)", "help": "peak learning rate of Adam"},
        "seed": {
            "default": 0,
            "unit": "",
            "range": "[0, 4294967296)",
            "help": "seed of the noise maps and of the latent's jitter",
        },
    },
    "presets": {"paper": {}, "released": {"steps": 600, "lr": 0.01}},
    "summary": "One latent code and the noise maps optimised for a perceptual loss. Preset released: the baseline of "
    "danielroich/PTI, 600 steps at 0.01.",
}


class SG2W:
    """Projection into W (Karras et al., CVPR 2020; NVlabs/stylegan2-ada-pytorch): see :class:`invbench.api.Method`."""

    space = "w"

    def __init__(self, networks, options: Options):
        self.options = options
        self.generator = networks["generator"]
        self.latent_stats = networks["latent_stats"]
        self.perceptual = networks["perceptual_vgg"]
        self.directions = networks["directions"]

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("optimise"):
            found = project(
                self.generator,
                images,
                latent_stats=self.latent_stats,
                perceptual=self.perceptual,
                view=reduced,
                space=self.space,
                steps=self.options.steps,
                lr=self.options.lr,
                seed=self.options.seed,
            )
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
