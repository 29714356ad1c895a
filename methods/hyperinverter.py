"""HyperInverter: an encoder into W, then one pass of hypernetworks that add to the generator's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Embedder, Inversion
from invbench.methods.common import predicted_weights
from invbench.methods.common.moves import scaled_move
from invbench.options import Options

SPEC = {
    "id": "hyperinverter",
    "class": "HyperInverter",
    "title": "HyperInverter",
    "family": "weights",
    "paper": "Dinh et al., HyperInverter: Improving StyleGAN Inversion via Hypernetwork",
    "venue": "CVPR 2022",
    "roles": ["generator", "hypernet_hyperinverter", "directions"],
    "refines": ["w"],
    "embedder": "w_encoder:hyperinverter",
    "options": {
        "targets": {
            "default": "all",
            "unit": "",
            "choices": ["all", "main"],
            "help": "weights that are changed: all that the network predicts, or only those of convolutions. The paper's text "
            "names the main convolutional layers; its figure 8, the released command and files have ToRGB as well",
        },
        "edit_scale": {
            "default": 1.0,
            "unit": "of a direction",
            "range": "(0, inf)",
            "help": "factor on edits that add a direction; the paper has w + strength * direction, the released code half of "
            "it. Edits to a position are never scaled",
        },
    },
    "presets": {"paper": {}, "released": {"edit_scale": 0.5}},
    "summary": "The encoder into W is the first phase. The second reads the picture and the first phase's drawing of it, and "
    "predicts what is added to the weights. D, 256 in the paper and 128 in the released commands, is read from the file; the "
    "style vector whose map a layer's hypernetwork reads is that of the public code's table. Edits keep the weights.",
}


class HyperInverter:
    """HyperInverter (Dinh et al., CVPR 2022; VinAIResearch/HyperInverter): see :class:`invbench.api.Method`.

    ``state`` of an inversion: each changed weight under its parameter's name, [N, *shape].
    """

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder):
        self.generator = networks["generator"]
        self.network = networks["hypernet_hyperinverter"]
        self.directions = networks["directions"]
        self.options, self.embedder = options, embedder
        predicted_weights.check_targets("hyperinverter", self.network.targets, self.generator)
        everything = options.targets == "all"
        self.names = [name for name in self.network.targets if everything or ".conv" in name and ".affine." not in name]

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("synthesise"), torch.no_grad():
            drawn = self.generator.synthesis(latents)
        with clock.stage("refine"), torch.no_grad():
            added = self.network(images, drawn)
            weights = {name: self.generator.synthesis.get_parameter(name) + added.pop(name) for name in self.names}
        with clock.stage("synthesise"), torch.no_grad():
            return Inversion(latents, self.generator.synthesis(latents, weights=weights), weights)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            return self.generator.synthesis(self.move_latents(inversion.latents, edit), weights=inversion.state)

    def move_latents(self, latents: Tensor, edit: Edit) -> Tensor:
        """Edited latents [N, L, D]: equation of section 4.3, scaled by ``edit_scale`` unless the edit goes to a position."""
        return scaled_move(self.directions, latents, edit, self.options.edit_scale)

    def interpolate(self, a: Inversion, b: Inversion, t: float) -> Inversion:
        """Latents and weights between those of two inversions: t 0 is ``a``, 1 is ``b``."""
        return predicted_weights.interpolated(self.generator, a, b, t, names=self.names)

    def max_batch(self, memory: int) -> int:
        own = predicted_weights.max_batch(self.generator, self.network.targets, memory)
        return min(self.embedder.max_batch(memory), own)
