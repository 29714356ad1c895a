"""Recipe of the padding-space encoder: Bai et al. 2022, section 3; EzioBy/padinv, runners/padinv_runner.py and its scripts.

Losses of pSp (invbench.methods.train.encoding), and 0.003 times the distance of a code from the mean latent over all layers, as
for faces: without an adversarial term. The generator draws with its stored noise. Adam.

Departures, for a budget of minutes where the authors see 6.4 million pictures: all in ``SHORTENED``, beside the reduced
widths. The published start, the weights of a face recognition network, has its place taken by the first three stages of the
trained encoder ``psp``; from a random one 11,700 pictures reached 18.2 dB. In the warm start of invbench.methods.train.encoding
the maps learn what they replace: the constant input, and zeros.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.nets.padding import CONSTANT, PaddingEncoder, padded
from invbench.methods.padding import Padding
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import Reconstruction, after_warm_start, weighted
from invbench.methods.train.encoding import architecture as encoder_architecture
from invbench.methods.train.frozen import load_frozen
from invbench.options import Options

RECIPES = {"padding": {"minutes": 15, "seed": 0, "help": "encoder of latents and padding maps; needs psp"}}

NORM_WEIGHT = 0.003
# What is not as published: a rate that falls along a cosine from a higher peak (1e-4, constant), fewer pictures in a step
# (64). Maps come from the finest level of the pyramid, which has 16 x 16 cells here, where the published middle one has 32 x
# 32, and so padding ends at 16 and not at 32: a map has two cells more than it is made from, and its middle holds all that the
# constant input of 4 x 4 needs. Maps of 34 from 16 or 8 cells cannot draw that constant: codes then fell back to the mean.
SHORTENED: dict[str, Any] = {"lr": 2e-3, "batch": 16, "level": 2, "padded": 3}
TRUNK = 3  # stages of the backbone, of four, that start as those of the encoder ``psp``


def architecture(generator: Any, *, level: int = SHORTENED["level"], padded: int = SHORTENED["padded"]) -> dict[str, Any]:
    """Arguments of the reduced encoder for ``generator``: as wide at its end as the constant input that it replaces."""
    channels = [generator.channels[4 << number] for number in range(padded)]
    encoder = encoder_architecture(generator)
    return {
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "size": generator.resolution,
        "stages": [*encoder["stages"][:TRUNK], [channels[0], 1]],
        "heads": generator.num_ws,
        "width": 32,
        "level": level,
        "channels": channels,
    }


class Training(Recipe):
    """``lr`` is the peak rate, ``batch`` the pictures in a step, ``level`` the one of the pyramid that maps are made from;
    ``zoo`` holds the frozen networks.
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        batch: int = SHORTENED["batch"],
        level: int = SHORTENED["level"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch = batch
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = padded(self.reconstruction.generator)
        self.config = architecture(self.generator, level=level)
        with seeded(seed):
            self.network = PaddingEncoder(**self.config)
        start_from(self.network, load_frozen("psp", zoo=zoo))
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = nn.Module()
        self.optimisers = [torch.optim.Adam(self.network.parameters(), lr)]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        latents, maps = self.network(target)
        if after_warm_start(progress) < 0:
            losses = {"latents": self.reconstruction.latent_error(latents, w), "maps": self._map_error(maps)}
            total = losses["latents"] + losses["maps"]
        else:
            losses = self.reconstruction.distances(self.generator.synthesis(latents, weights=maps), target)
            total = weighted(losses)
            losses["norm"] = (latents - self.generator.mean_latent).flatten(1).norm(dim=1).mean()
            total = total + NORM_WEIGHT * losses["norm"]
        descend(total, self.optimisers, cosine(progress))
        return Step(self.batch, {name: value.item() for name, value in losses.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself; ``psnr_latents`` is that of the latents alone, with the generator as it was."""
        networks = {"generator": self.reconstruction.generator, "encoder_padding": network, "directions": None}
        row = Padding(networks, Options("padding", {}))
        found = self.reconstruction.validate_method(row)
        return {**found, "psnr_latents": self.reconstruction.validate(lambda images: network(images)[0])["psnr"]}

    def _map_error(self, maps: dict[str, Tensor]) -> Tensor:
        """Mean squared error of the maps against the constant input and against zeros, in units of the constant's power."""
        constant = self.generator.synthesis.get_parameter(CONSTANT)
        errors = [(one - (constant if name == CONSTANT else 0)).square().mean() for name, one in maps.items()]
        return torch.stack(errors).mean() / constant.square().mean()


@torch.no_grad()
def start_from(encoder: Any, trained: Any) -> None:
    """Give the backbone the stem and the first stages of a trained one, which has its units in one row."""
    encoder.input_layer.load_state_dict(trained.input_layer.state_dict())
    units = [unit for stage in encoder.backbone_stages[:TRUNK] for unit in stage]
    for unit, known in zip(units, trained.body, strict=False):
        unit.load_state_dict(known.state_dict())
