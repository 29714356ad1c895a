"""Recipe of the e4e encoder: Tov et al. 2021, section 4; omertov/encoder4editing, training/coach.py.

The losses are the reconstruction losses (invbench.methods.train.encoding), the norm of the offsets, weight 2e-4, and an
adversarial loss on single latent vectors, weight 0.1 (invbench.methods.train.adversary). The offsets are enabled one by one.

Departures, for a budget of minutes (the authors train 200,000 steps from a pretrained face network): the warm start of
invbench.methods.train.encoding, higher learning rates that fall along a cosine (published: 1e-4 and 2e-5, constant), batch 16
(8), and reduced widths. The schedule of the stages is relative to the time after the warm start: the first offset at 10 %, the
last one at 26 %.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.train.adversary import ADVERSARIAL_WEIGHT, DELTA_WEIGHT, Adversary, delta_norm, open_offsets
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import Reconstruction, after_warm_start, architecture, weighted

RECIPES = {"e4e": {"minutes": 15, "seed": 0, "help": "e4e encoder into W+ close to W"}}


class Training(Recipe):
    """``lr`` and ``discriminator_lr`` are peak rates, ``batch`` the pictures in a step; ``zoo`` holds frozen networks.

    ``reconstruction`` has pictures, generator and losses; None: those of procfaces, with the networks of ``zoo``.
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = 2e-3,
        discriminator_lr: float = 4e-4,
        batch: int = 16,
        zoo: Path = ZOO,
        reconstruction: Reconstruction | None = None,
    ) -> None:
        self.batch = batch
        self.reconstruction = reconstruction or Reconstruction(seed=seed, device=device, zoo=zoo)
        self.config = architecture(self.reconstruction.generator)
        with seeded(seed):
            self.network = E4EEncoder(**self.config)
            self.adversary = Adversary(self.reconstruction.generator, seed=seed, lr=discriminator_lr, device=device)
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = self.adversary.modules
        self.optimisers = [Ranger(self.network.parameters(), lr), self.adversary.optimiser]

    def step(self, index: int, progress: float) -> Step:
        published = after_warm_start(progress)
        target, w = self.reconstruction.pictures(index, self.batch, warm=published < 0)
        if published < 0:
            return self.reconstruction.learn_latents(self.network(target, 0), w, self.optimisers[0], scale=cosine(progress))
        stage = open_offsets(published, self.config["num_ws"])
        latents = self.network(target, stage)
        active = latents[:, : stage + 1]
        judged = self.adversary.train(active, index, cosine(progress))

        losses = self.reconstruction.losses(latents, target, index)
        delta, adversarial = delta_norm(active), self.adversary.loss(active)
        loss = weighted(losses) + DELTA_WEIGHT * delta + ADVERSARIAL_WEIGHT * adversarial
        descend(loss, self.optimisers[:1], cosine(progress))
        reported = {**losses, "delta": delta, "adversarial": adversarial, "discriminator": judged}
        return Step(self.batch, {name: value.item() for name, value in reported.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        return self.reconstruction.validate(network)
