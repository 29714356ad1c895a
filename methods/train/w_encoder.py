"""Recipe of the encoder into W, from which HyperStyle and HyperInverter start.

Both papers take the published training of pSp or of e4e with one code for all layers (yuval-alaluf/hyperstyle: the code of
omertov/encoder4editing; VinAIResearch/HyperInverter: either). The losses are the reconstruction losses
(invbench.methods.train.encoding) and, as e4e's, an adversarial loss on the codes, weight 0.1
(invbench.methods.train.adversary); without that loss it is the training of pSp. One code has no offsets to weigh.

Departures, for a budget of minutes: all values in ``SHORTENED``, and the warm start of invbench.methods.train.encoding in place
of a pretrained face network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.w_encoder import WEncoder
from invbench.methods.train.adversary import Adversary
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import Reconstruction, after_warm_start, architecture, weighted

RECIPES = {"w_encoder": {"minutes": 12, "seed": 0, "help": "encoder into W", "options": {"adversarial": 0.1}}}
# Beside the reduced widths: rates that fall along a cosine from a higher peak (published: 1e-4 and 2e-5, constant), and twice
# the pictures in a step (published: 8).
SHORTENED: dict[str, Any] = {"lr": 2e-3, "discriminator_lr": 4e-4, "batch": 16}


class Training(Recipe):
    """``adversarial`` weighs the adversarial loss; 0: there is no discriminator, as in the training of pSp. ``lr`` and
    ``discriminator_lr`` are peak rates, ``batch`` the pictures in a step; ``zoo`` holds the frozen networks.
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        adversarial: float,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        discriminator_lr: float = SHORTENED["discriminator_lr"],
        batch: int = SHORTENED["batch"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch, self.adversarial = batch, adversarial
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        whole = architecture(self.generator)
        self.config = {key: whole[key] for key in ("w_dim", "size", "stages")}
        with seeded(seed):
            self.network = WEncoder(**self.config)
            self.adversary = Adversary(self.generator, seed=seed, lr=discriminator_lr, device=device)
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = self.adversary.modules if adversarial else nn.Module()
        self.optimisers = [Ranger(self.network.parameters(), lr), *([self.adversary.optimiser] if adversarial else [])]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        codes = self.network(target)[:, None]
        if after_warm_start(progress) < 0:
            return self.reconstruction.learn_latents(codes, w, self.optimisers[0], scale=cosine(progress))
        judged = {"discriminator": self.adversary.train(codes, index, cosine(progress))} if self.adversarial else {}
        losses = self.reconstruction.losses(self._repeated(codes), target, index)
        total = weighted(losses)
        if self.adversarial:
            losses["adversarial"] = self.adversary.loss(codes)
            total = total + self.adversarial * losses["adversarial"]
        descend(total, self.optimisers[:1], cosine(progress))
        return Step(self.batch, {name: value.item() for name, value in {**losses, **judged}.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        return self.reconstruction.validate(lambda images: self._repeated(network(images)[:, None]))

    def _repeated(self, codes: Tensor) -> Tensor:
        """Codes [N, 1, D] -> latents [N, L, D]."""
        return codes.expand(-1, self.generator.num_ws, -1)
