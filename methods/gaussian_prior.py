"""Optimisation in W+ under the Gaussian prior of Wulff and Torralba, a baseline of SAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from invbench.api import Clock
from invbench.methods.hybrid_wplus import HybridWPlus
from invbench.methods.psp import PSP
from invbench.options import Options

SPEC = {
    "id": "gaussian_prior",
    "class": "GaussianPrior",
    "title": "W+ with Gaussian prior",
    "family": "optimisation",
    "paper": "Wulff and Torralba, Improving Inversion and Generation Diversity in StyleGAN using a Gaussianized Latent Space",
    "venue": "arXiv 2020",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "directions"],
    "gives": "w+",
    "options": {
        "steps": {"default": 1001, "unit": "steps", "range": "[0, inf)", "help": "optimisation steps"},
        "lr": {"default": 0.05, "unit": "per step", "range": "(0, inf)", "help": "peak learning rate of Adam"},
        "lambda_mse": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss"},
        "lambda_lpips": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the perceptual loss"},
        "lambda_prior": {
            "default": 1e-8,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the squared length of the latents in the Gaussian's units; neither paper nor code of SAM tells "
            "that of this row, this one stands in the code of SAM itself",
        },
    },
    "presets": {"paper": {}, "released": {}},
    "summary": "Starts from the mean latent; the prior is that of SAM, a Gaussian of latents before the mapping's last leaky "
    "ReLU. No code of this row was released: loss, steps and rate are those of adobe-research/sam_inversion in the one space "
    "W+, as in hybrid_wplus, without its distance between layers. Noise is the stored one.",
}


class GaussianPrior(PSP):
    """A row of SAM's table (Wulff and Torralba, 2020; Parmar et al., CVPR 2022): see :class:`invbench.api.Embedder`."""

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.generator, self.directions = networks["generator"], networks["directions"]
        self.mean = networks["latent_stats"].mean
        self.search = HybridWPlus(networks, Options("gaussian_prior", {**options, "lambda_delta": 0.0}), None)

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        with clock.stage("optimise"):
            return self.search.found(images, self.mean.expand(len(images), self.generator.num_ws, -1), clock)
