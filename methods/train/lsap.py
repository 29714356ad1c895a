"""Recipe of LSAP's encoder: Cao et al. 2022; caopulan/GANInverter, training/encoder_trainer.py and configs/lsap.

e4e's network and training without its discriminator: the reconstruction losses (invbench.methods.train.encoding), the norm of
the offsets, weight 2e-4, and, weight 0.5, the inner products of the normalised style vectors in use with their anchors, added
over layers (invbench.methods.nets.style_space). The offsets are enabled after a tenth of the training one by one, as in the
released code every 100 of 200,000 steps: nearly at once.

Departures, for a budget of minutes: all values in ``SHORTENED``, and the warm start of invbench.methods.train.encoding in place
of a pretrained face network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.nets.style_space import measure
from invbench.methods.train.adversary import DELTA_WEIGHT, FIRST_OFFSET, delta_norm
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import Reconstruction, after_warm_start, architecture, weighted

RECIPES = {"lsap": {"minutes": 12, "seed": 0, "help": "LSAP encoder into W+ close to the styles of W"}}

ALIGNMENT_WEIGHT = 0.5
EACH_OFFSET = 100 / 200_000  # share of the training from one offset to the next; 2,000 steps stand commented out in the code
# Beside the reduced widths: a rate that falls along a cosine from a higher peak (published: 1e-4, constant), twice the pictures
# in a step (published: 8), and anchors of fewer latents (published: 100,000), whose codes here have 128 numbers, not 512.
SHORTENED: dict[str, Any] = {"lr": 2e-3, "batch": 16, "samples": 20_000}


class Training(Recipe):
    """``lr`` is the peak rate, ``batch`` the pictures in a step, ``samples`` the latents that anchors are the mean of; ``zoo``
    holds the frozen networks.
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        batch: int = SHORTENED["batch"],
        samples: int = SHORTENED["samples"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch = batch
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.config = architecture(self.reconstruction.generator)
        self.styles = measure(self.reconstruction.generator, samples=samples, seed=seed)[0].to(device)
        with seeded(seed):
            self.network = E4EEncoder(**self.config)
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = nn.Module()
        self.optimisers = [Ranger(self.network.parameters(), lr)]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        published = after_warm_start(progress)
        if published < 0:
            return self.reconstruction.learn_latents(self.network(target, 0), w, self.optimisers[0], scale=cosine(progress))
        stage = open_offsets(published, self.config["num_ws"])
        latents = self.network(target, stage)
        active = latents[:, : stage + 1]
        losses = self.reconstruction.losses(latents, target, index)
        delta, aligned = delta_norm(active), self.styles(active).mean(0).sum()
        descend(weighted(losses) + DELTA_WEIGHT * delta - ALIGNMENT_WEIGHT * aligned, self.optimisers, cosine(progress))
        reported = {**losses, "delta": delta, "alignment": -aligned}
        return Step(self.batch, {name: value.item() for name, value in reported.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        return self.reconstruction.validate(network)


def open_offsets(progress: float, num_ws: int) -> int:
    """Number of offsets in use at ``progress`` in [0, 1)."""
    return 0 if progress < FIRST_OFFSET else min(1 + int((progress - FIRST_OFFSET) / EACH_OFFSET), num_ws - 1)
