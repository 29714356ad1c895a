"""Recipe of HyperStyle's hypernetwork: Alaluf et al. 2022, section 4; yuval-alaluf/hyperstyle, training/coach_hyperstyle.py.

The encoder into W is trained before, and frozen. Each step makes five passes: the encoder's picture first, then what the pass
before drew, cut from its gradient, as the sum of the changes so far is. Every pass has the losses of pSp
(invbench.methods.train.encoding); their gradients add up to one step of Ranger. The generator draws with its stored noise.

Departures, for a budget of minutes where the authors train 500,000 steps: all in ``SHORTENED``. The published start of the
backbone, a ResNet-34 trained on ImageNet, has no equal here: it starts at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.common.ranger import Ranger
from invbench.methods.hyperstyle import HyperStyle
from invbench.methods.nets.hyperstyle import HyperStyleNetwork
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import FrozenEmbedder, Reconstruction, Untimed, hold_statistics, weighted
from invbench.methods.train.frozen import load_frozen
from invbench.options import Options

RECIPES = {"hyperstyle": {"minutes": 15, "seed": 0, "help": "HyperStyle's hypernetwork; needs w_encoder"}}

ITERATIONS = 5
# What is not as published, beside the reduced widths: a rate that falls along a cosine from a higher peak (1e-4, constant),
# half the pictures in a step (8), only the first pass in the first part of the budget (all five from the start) with statistics
# of the normalisations that stand still from then on (invbench.methods.train.encoding.hold_statistics), and last layers that
# begin at a tenth. After 480 pictures of first passes, five passes gave 21.3 dB so, and 18.4 dB with the published start, whose
# random changes of the weights they add up (the encoder into W alone: 20.7 dB).
SHORTENED: dict[str, Any] = {"lr": 2e-3, "batch": 4, "first_passes": 0.5, "start": 0.1}


def architecture(generator: Any) -> dict[str, Any]:
    """Arguments of the reduced hypernetwork for ``generator``."""
    return {
        "resolution": generator.resolution,
        "channels": dict(generator.channels),
        "size": generator.resolution,
        "stages": [[16, 1], [32, 2], [64, 2], [96, 1]],
        "code": 48,
        "inner": [48, 64],
    }


class Training(Recipe):
    """``lr`` is the peak rate, ``batch`` the pictures in a step; ``zoo`` holds the frozen networks.

    first_passes  share of the budget in which a step makes the first pass only
    start         factor on the last layers' initial values
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        batch: int = SHORTENED["batch"],
        first_passes: float = SHORTENED["first_passes"],
        start: float = SHORTENED["start"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch, self.first_passes = batch, first_passes
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.embedder: Any = FrozenEmbedder(load_frozen("w_encoder", device=device, zoo=zoo), self.generator)
        self.config = architecture(self.generator)
        with seeded(seed):
            network = HyperStyleNetwork(**self.config)
        with torch.no_grad():
            for value in network.last_parameters():
                value.mul_(start)
        self.network: nn.Module = network.to(device)
        self.heads = nn.Module()
        self.optimisers = [Ranger(self.network.parameters(), lr)]

    def step(self, index: int, progress: float) -> Step:
        target, _ = self.reconstruction.pictures(index, self.batch)
        reported: dict[str, float] = {}
        count = 1 if progress < self.first_passes else ITERATIONS
        if count > 1:
            hold_statistics(self.network)
        descend(self._passes(target, count, reported), self.optimisers, cosine(progress))
        return Step(self.batch, reported)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself; ``psnr_first`` is that of the first pass, ``psnr_pivot`` that of the encoder into W."""
        found = self.reconstruction.validate_inversions(self._invert(network, ITERATIONS))
        first = self.reconstruction.validate_inversions(self._invert(network, 1))
        pivot = self.reconstruction.validate(self.embedder)
        return {**found, "psnr_first": first["psnr"], "psnr_pivot": pivot["psnr"]}

    def _passes(self, target: Tensor, count: int, reported: dict[str, float]) -> Iterator[Tensor]:
        """The weighted loss of every pass; ``reported`` is left with the figures of the last one."""
        latents = self.embedder(target)
        with torch.no_grad():
            drawn = self.generator.synthesis(latents)
        change: dict[str, Tensor] = {}
        for _ in range(count):
            found = self.network(target, drawn)
            change = {name: found[name] + change[name].detach() if name in change else found[name] for name in found}
            weights = {name: self.generator.synthesis.get_parameter(name) * (1 + delta) for name, delta in change.items()}
            drawn = self.generator.synthesis(latents, weights=weights)
            losses = self.reconstruction.distances(drawn, target)
            yield weighted(losses)
            drawn = drawn.detach()
            reported |= {name: value.item() for name, value in losses.items()}

    def _invert(self, network: nn.Module, iterations: int) -> Any:
        networks = {"generator": self.generator, "hypernet_hyperstyle": network, "directions": None}
        row = HyperStyle(networks, Options("hyperstyle", {"iterations": iterations}), self.embedder)
        return lambda images: row.invert(images, Untimed())
