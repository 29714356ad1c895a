"""Recipe of ReStyle's encoders: Alaluf et al. 2021, section 3; yuval-alaluf/restyle-encoder, training/coach_restyle_*.py.

Each training step makes five passes. The first starts from the mean latent and its image, the others from the detached result
of the previous pass. Every pass has the losses of pSp (invbench.methods.train.encoding), over e4e also the norm of the offsets
and the adversarial loss (invbench.methods.train.adversary), whose discriminator learns once per step from the codes of a first
pass. The gradients of all passes are added for one step of the optimiser.

In the public code for ReStyle over e4e the identity loss overwrites the norm and the adversarial loss (``loss =`` instead of
``loss +=``); here all losses are added, as the paper says.

Departures, for a budget of minutes (the authors train 500,000 steps): all values in ``SHORTENED``. The published start, the
weights of a face recognition network, is replaced by the trunk of the trained encoder ``psp`` or ``e4e``: its three input
channels are copied into the first three of six, as published, and the others are drawn with equal variance (published: unit
variance). Then follows the warm start of invbench.methods.train.encoding, with first passes only, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.restyle import ReStyleE4EEncoder, ReStylePSPEncoder
from invbench.methods.restyle_e4e import ReStyleE4E
from invbench.methods.restyle_psp import ReStylePSP
from invbench.methods.train.adversary import ADVERSARIAL_WEIGHT, DELTA_WEIGHT, Adversary, delta_norm, open_offsets
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded, step_generator
from invbench.methods.train.encoding import (
    NOISE,
    Reconstruction,
    Untimed,
    after_warm_start,
    architecture,
    hold_statistics,
    weighted,
)
from invbench.methods.train.frozen import load_frozen
from invbench.options import Options

RECIPES = {
    "restyle_psp": {"minutes": 15, "seed": 0, "help": "ReStyle encoder over pSp", "options": {"over": "psp"}},
    "restyle_e4e": {"minutes": 15, "seed": 0, "help": "ReStyle encoder over e4e", "options": {"over": "e4e"}},
}

ITERATIONS = 5
OVER = {"psp": (ReStylePSPEncoder, ReStylePSP), "e4e": (ReStyleE4EEncoder, ReStyleE4E)}
# Departures beside the reduced widths: rates that fall along a cosine from a higher peak (published: 1e-4 and 2e-5, constant);
# half the pictures in a step (published: 8), for twice as many steps; and only the first pass in the first part of the budget
# (published: all five from the start), with as many pictures in a step as the encoders of one pass have. What five passes cost
# buys five times as many pictures there. From then on the normalisations use their running statistics (published: those of the
# batch): see :func:`invbench.methods.train.encoding.hold_statistics`.
SHORTENED: dict[str, Any] = {"lr": 2e-3, "discriminator_lr": 4e-4, "batch": 4, "first_passes": 0.6, "first_batch": 16}


class Training(Recipe):
    """``over`` is the underlying method, "psp" or "e4e", whose trained trunk is the start; ``zoo`` holds the frozen networks.

    ``lr`` and ``discriminator_lr`` are peak rates, ``batch`` is the number of pictures in a step.

    first_passes  share of the budget, warm start included, in which a step makes the first pass only
    first_batch   number of pictures in a step of that part
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        over: str,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        discriminator_lr: float = SHORTENED["discriminator_lr"],
        batch: int = SHORTENED["batch"],
        first_passes: float = SHORTENED["first_passes"],
        first_batch: int = SHORTENED["first_batch"],
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.batch, self.device = seed, batch, torch.device(device)
        self.first_passes, self.first_batch = first_passes, first_batch
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        generator = self.reconstruction.generator
        self.config = {key: value for key, value in architecture(generator).items() if key != "groups"}
        network, self.method = OVER[over]
        with seeded(seed):
            self.network = network(**self.config)
            start_from(self.network, load_frozen(over, zoo=zoo))
            found = Adversary(generator, seed=seed, lr=discriminator_lr, device=device) if over == "e4e" else None
        self.adversary = found
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = nn.Module() if found is None else found.modules
        self.optimisers = [Ranger(self.network.parameters(), lr), *([found.optimiser] if found else [])]
        with torch.no_grad():
            self.mean_latents: Tensor = generator.repeat(generator.mean_latent[None])
            self.mean_picture: Tensor = generator.synthesis(self.mean_latents)

    def step(self, index: int, progress: float) -> Step:
        early = progress < self.first_passes
        target, w = self.reconstruction.pictures(index, self.first_batch if early else self.batch)
        if not early:
            hold_statistics(self.network)
        drawn, latents = self.mean_picture.expand_as(target), self.mean_latents.expand(len(target), -1, -1)
        published = after_warm_start(progress)
        stage = self._stage(max(published, 0.0))
        if published < 0:
            found = self.network(target, drawn, latents, *stage)
            return self.reconstruction.learn_latents(found, w, self.optimisers[0], scale=cosine(progress))
        reported: dict[str, float] = {}
        if self.adversary is not None:
            with torch.no_grad():
                first = self.network(target, drawn, latents, *stage)[:, : stage[0] + 1]
            reported["discriminator"] = self.adversary.train(first, index, cosine(progress)).item()
        count = 1 if early else ITERATIONS
        passes = self._passes(target, drawn, latents, stage, index, reported, count=count)
        descend(passes, self.optimisers[:1], cosine(progress))
        return Step(len(target), reported)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures of the underlying encoder, after all passes; ``psnr_first`` is the PSNR in dB after the first pass."""
        whole = self.reconstruction.validate(self._encode(network, ITERATIONS))
        return {**whole, "psnr_first": self.reconstruction.validate(self._encode(network, 1))["psnr"]}

    def _stage(self, published: float) -> tuple[int, ...]:
        """The argument ``stage``, as a tuple; empty for an encoder without it."""
        return () if self.adversary is None else (open_offsets(published, self.config["num_ws"]),)

    def _passes(
        self,
        target: Tensor,
        drawn: Tensor,
        latents: Tensor,
        stage: tuple[int, ...],
        index: int,
        reported: dict[str, float],
        *,
        count: int,
    ) -> Iterator[Tensor]:
        """The weighted loss of each of ``count`` passes; at the end ``reported`` holds the losses of the last one."""
        noise = step_generator(self.seed, index, NOISE, self.device)
        for _ in range(count):
            latents = self.network(target, drawn, latents.detach(), *stage)
            drawn = self.reconstruction.drawn(latents, noise)
            losses = self.reconstruction.distances(drawn, target)
            total = weighted(losses)
            if self.adversary is not None:
                active = latents[:, : stage[0] + 1]
                losses |= {"delta": delta_norm(active), "adversarial": self.adversary.loss(active)}
                total = total + DELTA_WEIGHT * losses["delta"] + ADVERSARIAL_WEIGHT * losses["adversarial"]
            yield total
            drawn = drawn.detach()
            reported |= {name: value.item() for name, value in losses.items()}

    def _encode(self, network: nn.Module, iterations: int) -> Any:
        networks = {"generator": self.reconstruction.generator, self.method.role: network, "directions": None}
        row = self.method(networks, Options("restyle", {"iterations": iterations}))
        return lambda images: row.invert(images, Untimed()).latents


@torch.no_grad()
def start_from(network: Any, trained: Any) -> None:
    """Copy the trunk of ``trained``, with three input channels, into ``network``, with six; the others are random."""
    first, known = network.input_layer[0].weight, trained.input_layer[0].weight
    rest = torch.randn(first[:, 3:].shape) * known.std()
    stem = {**trained.input_layer.state_dict(), "0.weight": torch.cat([known, rest], dim=1)}
    network.input_layer.load_state_dict(stem)
    network.body.load_state_dict(trained.body.state_dict())
