"""e4e's adversarial loss on latent codes: Tov et al. 2021, section 4.2; omertov/encoder4editing, training/coach.py.

A discriminator learns to distinguish encoded style vectors from mapping(z), with R1 (gamma 10) in every 16th of its steps and
histories of 50 codes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from invbench.methods.nets.latent_discriminator import LatentDiscriminator, LatentPool
from invbench.methods.train.common import descend, step_generator

DELTA_WEIGHT, ADVERSARIAL_WEIGHT = 2e-4, 0.1
R1_GAMMA, R1_EVERY = 10.0, 16
FIRST_OFFSET, LAST_OFFSET = 0.1, 0.26  # steps 20,000 and 52,000 of 200,000
CODES = 2  # random stream within a step; invbench.methods.train.encoding uses 0 and 1


class Adversary:
    """The discriminator, its histories and its optimiser; ``modules`` goes into checkpoints. Seed torch before building it."""

    def __init__(self, generator: Any, *, seed: int, lr: float, device: torch.device | str) -> None:
        self.generator, self.seed = generator, seed
        self.discriminator = LatentDiscriminator(generator.w_dim)
        self.true_codes, self.found_codes = LatentPool(generator.w_dim), LatentPool(generator.w_dim)
        self.modules = nn.ModuleList([self.discriminator, self.true_codes, self.found_codes]).to(device)
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), lr)

    def loss(self, active: Tensor) -> Tensor:
        """Non-saturating loss of codes [N, k, D], mean over their k vectors; the discriminator gets no gradient."""
        self.discriminator.requires_grad_(False)
        found = softplus(-self.discriminator(active.flatten(0, 1))).mean()
        self.discriminator.requires_grad_(True)
        return found

    def train(self, active: Tensor, index: int, scale: float) -> Tensor:
        """One discriminator step on mapping(z) and on one random vector of each encoded image [N, k, D]. Returns its loss."""
        n, layers = active.shape[:2]
        random = step_generator(self.seed, index, CODES)
        true = self.generator.sample_w(n, generator=random)
        chosen = torch.randint(layers, (n,), generator=random).to(active.device)
        found = active.detach()[torch.arange(n, device=active.device), chosen]
        true, found = self.true_codes.exchange(true, random), self.found_codes.exchange(found, random)
        loss = softplus(-self.discriminator(true)).mean() + softplus(self.discriminator(found)).mean()
        descend(loss, [self.optimiser], scale)
        if index % R1_EVERY == 0:
            true.requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.discriminator(true).sum(), true, create_graph=True)
            penalty = R1_GAMMA / 2 * R1_EVERY * gradient.square().sum(1).mean()
            descend(penalty, [self.optimiser], scale)
        return loss.detach()


def delta_norm(active: Tensor) -> Tensor:
    """Sum over the vectors of codes [N, k, D] of their mean distance from the first vector."""
    return (active[:, 1:] - active[:, :1]).norm(dim=2).mean(0).sum()


def open_offsets(progress: float, num_ws: int) -> int:
    """Number of offsets Delta_1, Delta_2, ... in use at ``progress`` in [0, 1): e4e's stages as shares of 200,000 steps."""
    if progress < FIRST_OFFSET:
        return 0
    share = (progress - FIRST_OFFSET) / (LAST_OFFSET - FIRST_OFFSET)
    return min(1 + int(share * (num_ws - 2)), num_ws - 1)
