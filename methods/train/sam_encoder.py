"""Recipe of the encoders of SAM's feature spaces: Parmar et al. 2022, sections 3.3 and 4. No code of them was released.

Each encoder is trained for itself, with its space everywhere: L2 and perceptual distance of the picture that its change gives,
and the size of the change (equations 5 to 8). The paper names no weights; these are those of the optimisation variant,
adobe-research/sam_inversion, whose mean in place of the printed sum of squares comes with the weight. The encoder of W+ is
e4e, trained before and frozen, from which that code starts; the paper's regularisers of W+ are therefore e4e's own.

No picture has out-of-domain extras, as in the recipes of the other encoders. Departures, for a budget of minutes: all in
``SHORTENED``, beside small networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.api import Inversion
from invbench.methods.common.losses import at_most, mse
from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.sam_encoders import SAMEncoders
from invbench.methods.sam import BLOCKS
from invbench.methods.sam_encoder import SPEC, SAMEncoder
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.encoding import FrozenEmbedder, Reconstruction
from invbench.methods.train.frozen import load_frozen
from invbench.options import make

RECIPES = {"sam_encoder": {"minutes": 10, "seed": 0, "help": "one encoder for each of SAM's feature spaces; needs e4e"}}

WEIGHTS = {"l2": 1.0, "lpips": 1.0, "feature": 5.0}  # SAM's of the optimisation
# What is not published anywhere, and chosen for minutes: rates that fall along a cosine, higher ones for the last layers, whose
# weights begin at zero; few pictures in a step; stages of few units, the deepest at the resolution of the space's feature.
SHORTENED: dict[str, Any] = {
    "lr": 2e-3,
    "head_lr": 5e-3,
    "batch": 8,
    "stages": {"F4": [[16, 1], [32, 2], [72, 2]], "F6": [[20, 1], [48, 3]]},
}


def architecture(generator: Any) -> dict[str, Any]:
    """Arguments of the reduced encoders for ``generator``."""
    encoders = {
        space: {"channels": generator.channels[BLOCKS[space]], "stages": stages}
        for space, stages in SHORTENED["stages"].items()
    }
    return {"size": generator.resolution, "encoders": encoders}


class Training(Recipe):
    """``lr`` is the peak rate, ``head_lr`` that of the last layers, ``batch`` the pictures in a step; ``zoo`` holds the
    frozen networks."""

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        head_lr: float = SHORTENED["head_lr"],
        batch: int = SHORTENED["batch"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch = batch
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.embedder: Any = FrozenEmbedder(load_frozen("e4e", device=device, zoo=zoo), self.generator)
        self.config = architecture(self.generator)
        with seeded(seed):
            self.network: SAMEncoders = SAMEncoders(**self.config)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.float32 = tuple(key for key in self.network.state_dict() if key.endswith(("running_mean", "running_var")))
        self.heads = nn.Module()
        self.rows = self._rows(self.network)
        last = {id(p) for name, p in self.network.named_parameters() if ".change." in name}
        self.optimisers = [
            Ranger([p for p in self.network.parameters() if id(p) not in last], lr),
            Ranger([p for p in self.network.parameters() if id(p) in last], head_lr),
        ]

    def step(self, index: int, progress: float) -> Step:
        target, _ = self.reconstruction.pictures(index, self.batch)
        reported: dict[str, float] = {}
        descend(self._losses(target, self.embedder(target), reported), self.optimisers, cosine(progress))
        return Step(self.batch, reported)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures of each space everywhere, under its name; ``psnr_before`` is that of the encoder of W+."""
        found: dict[str, float] = {}
        for space, row in self._rows(network).items():

            def invert(images: Tensor, row: SAMEncoder = row) -> Inversion:
                latents = self.embedder(images)
                return Inversion(latents, row.invert_single_space(images, latents))

            figures = self.reconstruction.validate_inversions(invert)
            found |= {f"{space}_{name}": figures[name] for name in ("psnr", "lpips", "id")}
        return {**found, "psnr_before": self.reconstruction.validate(self.embedder)["psnr"]}

    def _rows(self, network: nn.Module) -> dict[str, SAMEncoder]:
        """The method in each space alone."""
        networks = {"generator": self.generator, "encoder_sam": network}
        return {
            space: SAMEncoder(networks, make(SPEC, {"spaces": [space], "fused": []}), None) for space in self.config["encoders"]
        }

    def _losses(self, target: Tensor, latents: Tensor, reported: dict[str, float]) -> Iterator[Tensor]:
        """One space's loss after the other; their parts are put into ``reported``."""
        real = at_most(target, 256)
        for space, row in self.rows.items():
            change = self.network(row.seen(target, latents), [space])[space]
            output = at_most(row.changed(latents, {space: change}), 256)
            losses = {
                "l2": mse(output, real).mean(),
                "lpips": self.reconstruction.perceptual.distance(output, real).mean(),
                "feature": change.square().mean(),
            }
            reported |= {f"{space}_{name}": value.item() for name, value in losses.items()}
            yield torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()
