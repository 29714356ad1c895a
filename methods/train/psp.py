"""Recipe of the pSp encoder: Richardson et al. 2021, section 3; losses and optimiser as published
(invbench.methods.train.encoding).

Departures, all for a budget of minutes where the authors train 500,000 steps from a pretrained face network: the warm start
of invbench.methods.train.encoding, a higher learning rate that falls along a cosine (published: 1e-4, constant), batch 16
(8), and reduced widths.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from invbench.methods.nets.encoders import PSPEncoder
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend
from invbench.methods.train.encoding import Reconstruction, after_warm_start, architecture, weighted
from invbench.methods.train.ranger import Ranger

RECIPES = {"psp": {"minutes": 15, "seed": 0, "help": "pSp encoder into W+"}}


class Training(Recipe):
    """``lr`` is the peak rate per step, ``batch`` the pictures in a step; ``zoo`` holds the frozen networks."""

    def __init__(
        self, *, seed: int, device: torch.device | str = "cpu", lr: float = 2e-3, batch: int = 16, zoo: Path = ZOO
    ) -> None:
        self.batch = batch
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.config = architecture(self.reconstruction.generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
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
        losses = self.reconstruction.losses(self.network(target), target, index)
        descend(weighted(losses), self.optimisers, cosine(progress))
        return Step(self.batch, {name: value.item() for name, value in losses.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        return self.reconstruction.validate(network)
