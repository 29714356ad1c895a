"""Recipe of the e4e encoder: Tov et al. 2021, section 4; omertov/encoder4editing, training/coach.py.

To the reconstruction losses (invbench.methods.train.encoding) come the norm of the offsets, weight 2e-4, and an adversarial
loss on
single latent vectors, weight 0.1: a discriminator learns to tell them from mapping(z), with R1 (gamma 10) in every 16th of
its steps and histories of 50 codes. The offsets open one after the other.

Departures, for a budget of minutes where the authors train 200,000 steps from a pretrained face network: the warm start
of invbench.methods.train.encoding, higher learning rates that fall along a cosine (published: 1e-4 and 2e-5, constant), batch
16 (8), and reduced widths.
The schedule of the stages keeps its shares of what follows the warm start: the first offset at 10 %, the last one at 26 %.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.nets.latent_discriminator import LatentDiscriminator, LatentPool
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, step_generator
from invbench.methods.train.encoding import Reconstruction, after_warm_start, architecture, weighted
from invbench.methods.train.ranger import Ranger

RECIPES = {"e4e": {"minutes": 15, "seed": 0, "help": "e4e encoder into W+ close to W"}}

DELTA_WEIGHT, ADVERSARIAL_WEIGHT = 2e-4, 0.1
R1_GAMMA, R1_EVERY = 10.0, 16
FIRST_OFFSET, LAST_OFFSET = 0.1, 0.26  # steps 20,000 and 52,000 of 200,000
CODES = 2  # stream of randomness within one step, beside those of invbench.methods.train.encoding


class Training(Recipe):
    """``lr`` and ``discriminator_lr`` are peak rates, ``batch`` the pictures in a step; ``zoo`` holds the frozen networks."""

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = 2e-3,
        discriminator_lr: float = 4e-4,
        batch: int = 16,
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.batch = seed, batch
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.config = architecture(self.reconstruction.generator)
        w_dim = self.config["w_dim"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = E4EEncoder(**self.config)
            self.discriminator = LatentDiscriminator(w_dim)
        self.true_codes, self.found_codes = LatentPool(w_dim), LatentPool(w_dim)
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = nn.ModuleList([self.discriminator, self.true_codes, self.found_codes]).to(device)
        self.optimisers = [
            Ranger(self.network.parameters(), lr),
            torch.optim.Adam(self.discriminator.parameters(), discriminator_lr),
        ]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        published = after_warm_start(progress)
        if published < 0:
            error = self.reconstruction.latent_error(self.network(target, 0), w)
            descend(error, self.optimisers[:1], cosine(progress))
            return Step(self.batch, {"latents": error.item()})
        stage = open_offsets(published, self.config["num_ws"])
        latents = self.network(target, stage)
        active = latents[:, : stage + 1]
        judged = self._train_discriminator(active.detach(), index, cosine(progress))

        losses = self.reconstruction.losses(latents, target, index)
        delta = (active[:, 1:] - active[:, :1]).norm(dim=2).mean(0).sum()
        self.discriminator.requires_grad_(False)
        adversarial = softplus(-self.discriminator(active.flatten(0, 1))).mean()
        self.discriminator.requires_grad_(True)
        loss = weighted(losses) + DELTA_WEIGHT * delta + ADVERSARIAL_WEIGHT * adversarial
        descend(loss, self.optimisers[:1], cosine(progress))
        reported = {**losses, "delta": delta, "adversarial": adversarial, "discriminator": judged}
        return Step(self.batch, {name: value.item() for name, value in reported.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        return self.reconstruction.validate(network)

    def _train_discriminator(self, active: Tensor, index: int, scale: float) -> Tensor:
        """One step on codes of mapping(z) and on one random active vector of every encoded image; returns its loss."""
        n, layers = active.shape[:2]
        random = step_generator(self.seed, index, CODES)
        true = self.reconstruction.generator.sample_w(n, generator=random)
        chosen = torch.randint(layers, (n,), generator=random).to(active.device)
        found = active[torch.arange(n, device=active.device), chosen]
        true, found = self.true_codes.exchange(true, random), self.found_codes.exchange(found, random)
        loss = softplus(-self.discriminator(true)).mean() + softplus(self.discriminator(found)).mean()
        descend(loss, self.optimisers[1:], scale)
        if index % R1_EVERY == 0:
            true.requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.discriminator(true).sum(), true, create_graph=True)
            penalty = R1_GAMMA / 2 * R1_EVERY * gradient.square().sum(1).mean()
            descend(penalty, self.optimisers[1:], scale)
        return loss.detach()


def open_offsets(progress: float, num_ws: int) -> int:
    """How many offsets Delta_1, Delta_2, ... are in use at ``progress`` in [0, 1)."""
    if progress < FIRST_OFFSET:
        return 0
    share = (progress - FIRST_OFFSET) / (LAST_OFFSET - FIRST_OFFSET)
    return min(1 + int(share * (num_ws - 2)), num_ws - 1)
