"""Recipe of Diff-CAM's differential activation network: Song et al. 2022, section 3.3; HaoruiSong622/Editing-Out-of-Domain.

Published: each picture is inverted by pSp, one attribute, drawn uniformly, is edited at a fixed length, and the network tells
which it was by cross-entropy; Adam (0.9, 0.99) at 1e-4 along a cosine to 1e-7. Here the edits are those of the suite's
directions, in both senses, at a random strength.

For a budget of minutes: all in ``SHORTENED``, beside the reduced widths. The published start, a ResNet-101 trained on ImageNet,
has no equal here: it starts at random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import Edit
from invbench.methods.nets.diffcam import DiffCAM
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded, step_generator
from invbench.methods.train.encoding import FrozenEmbedder, Reconstruction
from invbench.methods.train.frozen import load_frozen

RECIPES = {"diffcam": {"minutes": 8, "seed": 0, "help": "Diff-CAM's differential activation network; needs psp"}}

EDIT = 2  # stream of randomness within one step, beside those of invbench.methods.train.encoding
HELD_OUT = range(1 << 20, (1 << 20) + 8)  # numbers of the steps whose pictures validate
VALIDATION_BATCH = 50
# The rate's peak (published 1e-4 for a trained start), pictures in a step (6), and strengths of edits (fixed at 20 lengths).
SHORTENED: dict[str, Any] = {"lr": 1e-3, "batch": 8, "strengths": (1.0, 3.0)}


def architecture(generator: Any, names: list[str]) -> dict[str, Any]:
    """Arguments of the reduced network: its last feature has 8 x 8 places, as the published one has at 256 pixels."""
    return {
        "attributes": {name: index for index, name in enumerate(names)},
        "outputs": len(names),
        "size": generator.resolution,
        "stages": [[6, 1], [12, 2], [20, 4], [32, 2]],
        "cut": 2,
        "reduce": False,
    }


class Edits:
    """Pictures, their inversions by pSp, and edits of random attributes, all drawn from a seed and a step's number.

    names      edits of the suite's directions
    strengths  least and largest size of a strength; the sign is random
    """

    def __init__(self, *, seed: int, device: torch.device | str, strengths: tuple[float, float], zoo: Path = ZOO) -> None:
        self.seed, self.strengths = seed, strengths
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.embedder: Any = FrozenEmbedder(load_frozen("psp", device=device, zoo=zoo), self.generator)
        self.directions = load_frozen("directions", device=device, zoo=zoo)
        self.names: list[str] = list(self.directions.names)

    @torch.no_grad()
    def drawn(self, index: int, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures [N, 3, H, W], their inversions, edited inversions, and the indices [N] of the attributes."""
        target, _ = self.reconstruction.pictures(index, batch)
        latents = self.embedder(target)
        draw = step_generator(self.seed, index, EDIT)
        chosen = torch.randint(len(self.names), (batch,), generator=draw)
        least, largest = self.strengths
        sizes = least + (largest - least) * torch.rand(batch, generator=draw)
        signs = torch.randint(2, (batch,), generator=draw) * 2 - 1
        edits = [Edit(self.names[int(i)], float(s)) for i, s in zip(chosen, sizes * signs)]
        moved = torch.cat([self.directions.move(w[None], edit) for w, edit in zip(latents, edits)])
        return target, self.generator.synthesis(latents), self.generator.synthesis(moved), chosen.to(target.device)


class Training(Recipe):
    """``lr`` is the peak rate, ``batch`` the pictures in a step, ``strengths`` as of :class:`Edits`; ``zoo`` as everywhere."""

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        batch: int = SHORTENED["batch"],
        strengths: tuple[float, float] = SHORTENED["strengths"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch = batch
        self.edits = Edits(seed=seed, device=device, strengths=strengths, zoo=zoo)
        self.config = architecture(self.edits.generator, self.edits.names)
        with seeded(seed):
            self.network: DiffCAM = DiffCAM(**self.config)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.heads = nn.Module()
        self.optimisers = [torch.optim.Adam(self.network.parameters(), lr, betas=(0.9, 0.99))]

    def step(self, index: int, progress: float) -> Step:
        _, inverted, edited, wanted = self.edits.drawn(index, self.batch)
        logits = self.network(inverted, edited)
        loss = F.cross_entropy(logits, wanted)
        descend(loss, self.optimisers, cosine(progress, floor=1e-3))
        return Step(self.batch, {"entropy": loss.item(), "right": (logits.argmax(1) == wanted).float().mean().item()})

    @torch.no_grad()
    def validate(self, network: Any) -> dict[str, float]:
        """Share of held-out edits that are told, and the mean mask over them."""
        right, masks = [], []
        for number in HELD_OUT:
            _, inverted, edited, wanted = self.edits.drawn(number, VALIDATION_BATCH)
            right.append((network(inverted, edited).argmax(1) == wanted).double().mean())
            masks.append(network.mask(inverted, edited, wanted).double().mean())
        return {"right": torch.stack(right).mean().item(), "mask": torch.stack(masks).mean().item()}
