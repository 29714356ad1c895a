"""SAM with one space for the whole picture: the single-space rows of its trade-off between reconstruction and editing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Embedder, Inversion
from invbench.methods.sam import BLOCKS, SAM
from invbench.options import Options

SPECS = [
    {
        "class": "SingleSpace",
        "family": "features",
        "paper": "Parmar et al., Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, figure 3",
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
            "lambda_feature": {
                "default": 5.0,
                "unit": "",
                "range": "[0, inf)",
                "help": "weight of the mean squared feature offset",
            },
            "squared_delta": {
                "default": False,
                "unit": "",
                "help": "square the latents' distance, as the paper prints it, and divide it by the spread of W",
            },
        },
        "presets": {"released": {}, "paper": {"squared_delta": True}},
        "summary": "As sam, whose text lists the departures, without segments and without a predictor: one offset of one "
        "feature everywhere. An edit keeps the feature of the unedited latents, so it acts in the layers above it only. The "
        "space W+ alone is hybrid_wplus.",
        "variants": [
            {
                "id": "sam_f4",
                "title": "SAM, F4 alone",
                "options": {"space": {"default": "F4", "unit": "", "choices": ["F4"], "help": "the space of this row"}},
            },
            {
                "id": "sam_f6",
                "title": "SAM, F6 alone",
                "options": {"space": {"default": "F6", "unit": "", "choices": ["F6"], "help": "the space of this row"}},
            },
            {
                "id": "sam_f8",
                "title": "SAM, F8 alone",
                "options": {"space": {"default": "F8", "unit": "", "choices": ["F8"], "help": "the space of this row"}},
            },
            {
                "id": "sam_f10",
                "title": "SAM, F10 alone",
                "options": {"space": {"default": "F10", "unit": "", "choices": ["F10"], "help": "the space of this row"}},
            },
        ],
    },
]


class SingleSpace(SAM):
    """SAM in one space (Parmar et al., CVPR 2022; adobe-research/sam_inversion): see :class:`invbench.api.Method`.

    ``state`` of an inversion: ``mask.F4`` [N, 1, r, r], 1 everywhere, and the offset ``F4`` [N, C, r, r], by the space's name.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder | None):
        super().__init__(networks, Options("sam", {**options, "spaces": (options.space,), "fused": ()}), embedder)

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        start = self.embedder.embed(images, clock)
        space = self.options.space
        masks = {space: images.new_ones(len(images), 1, BLOCKS[space], BLOCKS[space])}
        with clock.stage("optimise"):
            found = self._optimise(images, start, masks, clock)
        latents = found.pop("latents")
        with clock.stage("synthesise"), torch.no_grad():
            output = self.generator.synthesis(latents, features=self._added(found, masks))
        return Inversion(latents, output, {f"mask.{space}": masks[space], space: found[space]})
