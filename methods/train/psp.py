"""Recipe of the pSp encoder: Richardson et al. 2021, section 3; losses and optimiser as published
(invbench.methods.train.encoding).

Departures, for a budget of minutes (the authors train 500,000 steps from a pretrained face network): the warm start of
invbench.methods.train.encoding, a higher learning rate that falls along a cosine (published: 1e-4, constant), batch 16 (8),
and reduced widths.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.encoders import PSPEncoder
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import Reconstruction, after_warm_start, architecture, weighted

# w_norm: weight of the paper's regulariser. The released command for inversion omits it; those for other tasks use 0.005.
RECIPES = {"psp": {"minutes": 15, "seed": 0, "help": "pSp encoder into W+", "options": {"w_norm": 0.0}}}


class Training(Recipe):
    """``lr`` is the peak rate per step, ``batch`` the number of pictures in a step; ``zoo`` holds the frozen networks.

    ``w_norm`` weighs the distance of a code from the mean latent, over all layers (equation 3 of the paper; criteria/w_norm.py
    of eladrich/pixel2style2pixel).
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        w_norm: float,
        device: torch.device | str = "cpu",
        lr: float = 2e-3,
        batch: int = 16,
        zoo: Path = ZOO,
    ) -> None:
        self.batch, self.w_norm = batch, w_norm
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.config = architecture(self.reconstruction.generator)
        with seeded(seed):
            self.network = PSPEncoder(**self.config)
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = nn.Module()
        self.optimisers = [Ranger(self.network.parameters(), lr)]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        if after_warm_start(progress) < 0:
            loss = self.reconstruction.latent_error(self.network(target), w)
            descend(loss, self.optimisers, cosine(progress))
            return Step(self.batch, {"latents": loss.item()})
        latents = self.network(target)
        losses = self.reconstruction.losses(latents, target, index)
        total = weighted(losses)
        if self.w_norm:
            losses["w_norm"] = (latents - self.reconstruction.generator.mean_latent).flatten(1).norm(dim=1).mean()
            total = total + self.w_norm * losses["w_norm"]
        descend(total, self.optimisers, cosine(progress))
        return Step(self.batch, {name: value.item() for name, value in losses.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        return self.reconstruction.validate(network)
