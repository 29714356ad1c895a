"""Recipe of StyleRes' networks: Pehlivan et al. 2023. The training code is not public; what is known is its outline.

Known: e4e and the generator are frozen; without an edit the picture is to come back; and in a cycle the latents move towards a
random code, the result is inverted, the move is undone, and the picture is to come back, too. L2, LPIPS, identity, an
adversarial loss and a regulariser of the changes.

Chosen here: the weights of pSp's losses for both paths (invbench.methods.train.encoding); a move of a random share, up to a
half, of the way to the random code; 0.001 times the mean square of what the gates let through; no adversarial loss; the
stored noise, as the public inference has it. The gradient of the cycle goes through the edited picture and its inversion,
e4e included.

For a budget of minutes: all in ``SHORTENED``, beside the reduced widths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.styleres import GatedEdit, StyleResNetwork
from invbench.methods.styleres import StyleRes
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded, step_generator
from invbench.methods.train.encoding import Reconstruction, architecture, weighted
from invbench.methods.train.frozen import load_frozen
from invbench.options import Options

RECIPES = {"styleres": {"minutes": 15, "seed": 0, "help": "StyleRes' alignment, extraction and gates; needs e4e"}}

CHANGE_WEIGHT = 1e-3
FURTHEST = 0.5  # share of the way to a random code
MOVE = 2  # stream of randomness within one step, beside those of invbench.methods.train.encoding
# The rate's peak, from which it falls along a cosine; pictures in a step; the feature at 16 x 16, a quarter of the picture's
# size as 64 is of the 256 pixels that the encoder sees; the logits that the gates begin with, nearly closed.
SHORTENED: dict[str, Any] = {"lr": 1e-3, "batch": 8, "resolution": 16, "begin": -2.0}


class Training(Recipe):
    """``lr`` is the peak rate, ``batch`` the pictures in a step, ``resolution`` where the feature is changed, ``begin`` the
    gates' first logits; ``zoo`` holds the frozen networks.
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        batch: int = SHORTENED["batch"],
        resolution: int = SHORTENED["resolution"],
        begin: float = SHORTENED["begin"],
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.batch, self.device, self.resolution = seed, batch, torch.device(device), resolution
        self.place = f"b{resolution}.conv0"
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.config = {**architecture(self.generator), "channels": self.generator.channels[resolution]}
        with seeded(seed):
            self.network: StyleResNetwork = StyleResNetwork(**self.config)
        self.network.e4e.load_state_dict(load_frozen("e4e", device=device, zoo=zoo).state_dict())
        self.network.e4e.requires_grad_(False)
        with torch.no_grad():
            self.network.get_parameter("modify_feature_gates.convs2.2.res_layer.2.bias").fill_(begin)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.float32 = ("e4e.latent_avg",)
        self.heads = nn.Module()
        self.optimisers = [Ranger([one for one in self.network.parameters() if one.requires_grad], lr)]

    def step(self, index: int, progress: float) -> Step:
        self.network.e4e.eval()
        target, _ = self.reconstruction.pictures(index, self.batch)
        latents, lost = self._inverted(target)
        output, change = self._drawn(latents, lost)
        losses = self.reconstruction.distances(output, target)
        move = self._move(index, latents)
        edited, change_edited = self._drawn(latents + move, lost)
        again, lost_again = self._inverted(edited)
        undone, change_undone = self._drawn(again - move, lost_again)
        cycle = self.reconstruction.distances(undone, target)
        changes = torch.stack([one.square().mean() for one in (change, change_edited, change_undone)]).sum()
        descend(weighted(losses) + weighted(cycle) + CHANGE_WEIGHT * changes, self.optimisers, cosine(progress))
        reported = {**losses, **{f"cycle_{name}": value for name, value in cycle.items()}, "changes": changes}
        return Step(self.batch, {name: value.item() for name, value in reported.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself; ``psnr_before`` is that of the encoder."""
        networks = {"generator": self.generator, "styleres": network, "directions": None}
        row = StyleRes(networks, Options("styleres", {"fusion_resolution": self.resolution}))
        found = self.reconstruction.validate_method(row)
        return {**found, "psnr_before": self.reconstruction.validate(network.get_submodule("e4e"))["psnr"]}

    def _inverted(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [N, L, D] and what they lost [N, C, r, r]."""
        latents, encoded = self.network.encode(images)
        feature = self.generator.synthesis(latents, return_features=[self.place])[1][self.place]
        return latents, self.network.lost(encoded, feature)

    def _drawn(self, latents: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures, and what the gates let through."""
        edit = GatedEdit(self.network.modify_feature_gates, lost)
        images = self.generator.synthesis(latents, features={self.place: edit})
        return images, edit.let_through

    def _move(self, index: int, latents: Tensor) -> Tensor:
        """A random share of the way from latents [N, L, D] to random codes, the same for all layers of a code."""
        draw = step_generator(self.seed, index, MOVE)
        codes = self.generator.sample_w(len(latents), generator=draw)
        share = FURTHEST * torch.rand(len(latents), 1, 1, generator=draw).to(latents)
        return share * (self.generator.repeat(codes) - latents.detach())
