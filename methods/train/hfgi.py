"""Recipe of HFGI's networks: Wang et al. 2022, section 4; Tengfei-Wang/HFGI, training/coach.py and train.sh.

The encoder e4e is trained before, and frozen. What its inversion lost is distorted by a random perspective (scale 0.15, for
90 % of the pictures); one network learns to undo that, beside the drawing it belongs to, and the other what the feature needs.
Losses as for e4e without those of latents, and L1 of the aligned difference, weight 0.1. The generator draws with random
noise. The adversarial loss of the paper is not in the public code (its weight is an option that nothing reads).

Departures, for a budget of minutes where the authors train 100,000 steps: all in ``SHORTENED``, beside the reduced widths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import perspective

from invbench.methods.common.ranger import Ranger
from invbench.methods.hfgi import HFGI
from invbench.methods.nets.hfgi import HFGINetwork
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded, step_generator, step_rng
from invbench.methods.train.encoding import NOISE, FrozenEmbedder, Reconstruction, weighted
from invbench.methods.train.frozen import load_frozen
from invbench.options import Options

RECIPES = {"hfgi": {"minutes": 12, "seed": 0, "help": "HFGI's residue encoder and aligner; needs e4e"}}

ALIGNMENT_WEIGHT = 0.1
DISTORTION, DISTORTED = 0.15, 0.9  # scale, and share of the pictures
WARP = 2  # stream of randomness within one step, beside those of invbench.methods.train.encoding
# What is not as published: rates that fall along a cosine from higher peaks (1e-4, constant), higher still in the equalised
# layers, whose steps count less; a start near the encoder's picture (``begin``) in place of one from random last layers; and
# the feature lies at 16 x 16, a quarter of the picture's size as 64 is of the 256 pixels that the networks see.
SHORTENED: dict[str, Any] = {"lr": 2e-3, "head_lr": 2e-2, "batch": 8, "resolution": 16, "begin": 0.1}


def architecture(generator: Any, resolution: int) -> dict[str, Any]:
    """Arguments of the reduced networks for ``generator``; the feature is the one of ``resolution``."""
    channels = generator.channels[resolution]
    return {"channels": channels, "size": generator.resolution, "residue": [12, 24, 40], "aligner": [8, 12, 16, 24]}


class Training(Recipe):
    """``lr`` is the peak rate, ``head_lr`` that of the layers that give scale and shift, ``batch`` the pictures in a step.

    resolution  where the feature is changed
    begin       size of the first aligned differences; the first scales and shifts are zero. 1 starts from random ones
    zoo         holds the frozen networks
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        head_lr: float = SHORTENED["head_lr"],
        batch: int = SHORTENED["batch"],
        resolution: int = SHORTENED["resolution"],
        begin: float = SHORTENED["begin"],
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.batch, self.device, self.resolution = seed, batch, torch.device(device), resolution
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.embedder: Any = FrozenEmbedder(load_frozen("e4e", device=device, zoo=zoo), self.generator)
        self.config = architecture(self.generator, resolution)
        with seeded(seed):
            self.network: HFGINetwork = HFGINetwork(**self.config)
        if begin != 1:
            start_small(self.network, begin)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.heads = nn.Module()
        residue = self.network.residue
        heads = [*residue.condition_scale3.parameters(), *residue.condition_shift3.parameters()]
        chosen = {id(one) for one in heads}
        self.optimisers = [
            Ranger([one for one in self.network.parameters() if id(one) not in chosen], lr),
            Ranger(heads, head_lr),
        ]

    def step(self, index: int, progress: float) -> Step:
        target, _ = self.reconstruction.pictures(index, self.batch)
        latents = self.embedder(target)
        noise = step_generator(self.seed, index, NOISE, self.device)
        with torch.no_grad():
            drawn = self.reconstruction.drawn(latents, noise)
            residual = self.network.residual(target, drawn)
            moved = distorted(residual, step_rng(self.seed, index, WARP))
        aligned = self.network.grid_align(moved, self.network.seen(drawn))
        fusion = FeatureEdit.scale_shift(*self.network.conditions(aligned, self.resolution))
        output = self.generator.synthesis(
            latents, noise="random", generator=noise, features={f"b{self.resolution}.conv0": fusion}
        )
        losses = self.reconstruction.distances(output, target)
        total = weighted(losses)
        losses["alignment"] = (aligned - residual).abs().mean()
        descend(total + ALIGNMENT_WEIGHT * losses["alignment"], self.optimisers, cosine(progress))
        return Step(self.batch, {name: value.item() for name, value in losses.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself; ``psnr_before`` is that of the encoder."""
        networks = {"generator": self.generator, "hfgi": network, "directions": None}
        options = Options("hfgi", {"fusion_resolution": self.resolution, "align_edits": True})
        row = HFGI(networks, options, self.embedder)
        found = self.reconstruction.validate_method(row)
        return {**found, "psnr_before": self.reconstruction.validate(self.embedder)["psnr"]}


@torch.no_grad()
def start_small(network: Any, size: float) -> None:
    """Scales and shifts of zero, aligned differences of about ``size``: the last normalisation of each path gets that gain."""
    for head in (network.residue.condition_scale3, network.residue.condition_shift3):
        head[-1].weight.zero_()
    before, last = network.grid_align.dconv_layer3[-2:]
    for normalisation in (before.shortcut_layer[-1], before.res_layer[-1], last.res_layer[-1]):
        normalisation.weight.mul_(size)


def distorted(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images [N, C, H, W], each in a random perspective or, with probability 1 - DISTORTED, as it is; black beside it.

    A corner moves inwards by at most DISTORTION / 2 of each side, as in torchvision's RandomPerspective. The public code draws
    one perspective for a batch.
    """
    height, width = images.shape[2:]
    reach = np.array([int(DISTORTION * (width // 2)), int(DISTORTION * (height // 2))])
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    found = []
    for image in images:
        if rng.random() < DISTORTED:
            moved = corners + inwards * rng.integers(0, reach + 1, size=(4, 2))
            image = perspective(image, corners.tolist(), moved.tolist())
        found.append(image)
    return torch.stack(found)
