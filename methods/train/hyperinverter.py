"""Recipe of HyperInverter's second phase: Dinh et al. 2022, section 3; VinAIResearch/HyperInverter, training/coach.py.

The first phase, the encoder into W, is trained before, and frozen. Losses as in the first phase
(invbench.methods.train.encoding), without random noise; after 200,000 of 500,000 steps the adversarial loss comes in with
weight 0.005 (invbench.methods.train.image_adversary; R1 gamma 10), and a step has 4 pictures in place of 8. Adam, 1e-4, for
encoder, hypernetworks and discriminator. Published for churches: identity 0.5 by MoCo, adversarial 0.15, gamma 100, from step
100,000 on.

Departures, for a budget of minutes: all in ``SHORTENED``. The published start of the second encoder, the weights of a face
recognition network, has its place taken by the trunk of the trained encoder ``psp``. The generator of this domain was fitted to
renders and has no discriminator to start from: one learns beside the network before its loss is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.hyperinverter import HyperInverter
from invbench.methods.nets.hyperinverter import HyperInverterNetwork
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import FrozenEmbedder, Reconstruction, weighted
from invbench.methods.train.encoding import architecture as encoder_architecture
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.image_adversary import ImageAdversary
from invbench.options import Options

# targets: a set of invbench.methods.nets.hyperinverter.SETS, as released; hidden: D, 256 in the paper, 128 as released; drawn,
# layer_wise: both True but in variants of the paper's table 3, which `invbench sweep hyperinverter-ablation` asks for.
RECIPES = {
    "hyperinverter": {
        "minutes": 15,
        "seed": 0,
        "help": "HyperInverter's second phase; needs w_encoder and psp",
        "options": {"targets": "conv_without_bias", "hidden": 32, "drawn": True, "layer_wise": True},
    }
}

ADVERSARIAL_WEIGHT, R1_GAMMA = 0.005, 10.0  # of faces
ADVERSARIAL_FROM = 0.4  # share of the steps
BATCH, ADVERSARIAL_BATCH = 8, 4
DISCRIMINATOR = {4: 64, 8: 64, 16: 64, 32: 32, 64: 16}  # channels of the discriminator
# What is not as published, beside the reduced widths and the D of 32: rates that fall along a cosine from a higher peak (1e-4,
# constant), and the share of the budget from which the discriminator, which starts at random, learns.
SHORTENED: dict[str, Any] = {"lr": 1e-3, "discriminator_lr": 1e-3, "discriminator_from": 0.3}


def architecture(generator: Any) -> dict[str, Any]:
    """Arguments of the reduced network for ``generator``; the trunk is that of the encoder ``psp``."""
    encoder = encoder_architecture(generator)
    return {
        "resolution": generator.resolution,
        "channels": dict(generator.channels),
        "w_dim": generator.w_dim,
        "fused": 24,
        "size": encoder["size"],
        "stages": encoder["stages"],
        "width": 48,
        "grid": 4,  # 8 of 256 pixels: here the coarsest tap has 4 x 4
    }


class Training(Recipe):
    """``lr`` and ``discriminator_lr`` are peak rates; ``zoo`` holds the frozen networks.

    targets     the weights that are predicted
    hidden      D of the paper
    drawn       whether the first phase's drawing is read
    layer_wise  whether each style vector has maps of its own
    discriminator_from  share of the budget from which the discriminator learns
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        targets: str,
        hidden: int,
        drawn: bool,
        layer_wise: bool,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        discriminator_lr: float = SHORTENED["discriminator_lr"],
        discriminator_from: float = SHORTENED["discriminator_from"],
        zoo: Path = ZOO,
    ) -> None:
        self.discriminator_from = discriminator_from
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.embedder: Any = FrozenEmbedder(load_frozen("w_encoder", device=device, zoo=zoo), self.generator)
        self.config = {**architecture(self.generator), "targets": targets, "hidden": hidden}
        self.config |= {"drawn": drawn, "layer_wise": layer_wise}
        with seeded(seed):
            network = HyperInverterNetwork(**self.config)
            channels = {resolution: DISCRIMINATOR[resolution] for resolution in self.generator.channels}
            self.adversary = ImageAdversary(
                self.generator.resolution, channels, lr=discriminator_lr, gamma=R1_GAMMA, device=device
            )
        start_from(network.w_bar_encoder, load_frozen("psp", zoo=zoo))
        self.network: nn.Module = network.to(device)
        self.heads = self.adversary.network
        self.optimisers = [torch.optim.Adam(self.network.parameters(), lr), self.adversary.optimiser]

    def step(self, index: int, progress: float) -> Step:
        adversarial = progress >= ADVERSARIAL_FROM
        target, _ = self.reconstruction.pictures(index, ADVERSARIAL_BATCH if adversarial else BATCH)
        drawn = self._draw(target)
        losses = self.reconstruction.distances(drawn, target)
        total = weighted(losses)
        if adversarial:
            losses["adversarial"] = self.adversary.loss(drawn)
            total = total + ADVERSARIAL_WEIGHT * losses["adversarial"]
        descend(total, self.optimisers[:1], cosine(progress))
        if progress >= self.discriminator_from:
            losses["discriminator"] = self.adversary.train(drawn, target, index, 1.0)
        return Step(len(target), {name: value.item() for name, value in losses.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself; ``psnr_first_phase`` is that of the encoder into W."""
        networks = {"generator": self.generator, "hypernet_hyperinverter": network, "directions": None}
        row = HyperInverter(networks, Options("hyperinverter", {"targets": "all", "edit_scale": 1.0}), self.embedder)
        found = self.reconstruction.validate_method(row)
        return {**found, "psnr_first_phase": self.reconstruction.validate(self.embedder)["psnr"]}

    def _draw(self, target: Tensor) -> Tensor:
        """What the generator draws with the predicted weights, [N, 3, H, W]."""
        latents = self.embedder(target)
        with torch.no_grad():
            first = self.generator.synthesis(latents)
        added = self.network(target, first)
        weights = {name: self.generator.synthesis.get_parameter(name) + value for name, value in added.items()}
        drawn: Tensor = self.generator.synthesis(latents, weights=weights)
        return drawn


@torch.no_grad()
def start_from(encoder: Any, trained: Any) -> None:
    """Give the second encoder the trunk of a trained one."""
    encoder.input_layer.load_state_dict(trained.input_layer.state_dict())
    encoder.body.load_state_dict(trained.body.state_dict())
