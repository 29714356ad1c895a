"""HyperStyle: a hypernetwork changes the generator's weights to fit each picture, in five passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Clock, Edit, Embedder, Inversion
from invbench.methods.common import predicted_weights
from invbench.methods.common.curves import show
from invbench.methods.common.losses import size_at_most
from invbench.options import Options

SPEC = {
    "id": "hyperstyle",
    "class": "HyperStyle",
    "title": "HyperStyle",
    "family": "weights",
    "paper": "Alaluf et al., HyperStyle: StyleGAN Inversion with HyperNetworks for Real Image Editing",
    "venue": "CVPR 2022",
    "roles": ["generator", "hypernet_hyperstyle", "directions"],
    "refines": ["w"],
    "embedder": "w_encoder",
    "options": {
        "iterations": {
            "default": 5,
            "unit": "steps",
            "help": "passes of the hypernetwork, as many as in training; paper and code take 5",
            "range": "[1, inf)",
        },
    },
    "presets": {"paper": {}, "released": {}},
    "summary": "The code stays that of the encoder into W. Each pass sees the picture beside what is drawn at present and adds "
    "to Delta; weights are W (1 + Delta). Layers to tune are read from the file: the released network for faces leaves out the "
    "three convolutions up to 8 x 8 that the public training command tunes. Edits keep Delta; the noise is the stored one.",
}


class HyperStyle:
    """HyperStyle (Alaluf et al., CVPR 2022; yuval-alaluf/hyperstyle): see :class:`invbench.api.Method`.

    ``state`` of an inversion: each tuned weight under its parameter's name, [N, O, I, k, k], and ``images_of_steps``
    [N, T, 3, h, w], what was drawn after each of the T passes, as the hypernetwork sees it.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder):
        self.generator = networks["generator"]
        self.network = networks["hypernet_hyperstyle"]
        self.directions = networks["directions"]
        self.iterations, self.embedder = options.iterations, embedder
        predicted_weights.check_targets("hyperstyle", self.network.targets, self.generator)

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("synthesise"), torch.no_grad():
            drawn = self.generator.synthesis(latents)
        change: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        pictures = []
        for step in range(self.iterations):
            show(clock, step, drawn)
            with clock.stage("refine"), torch.no_grad():
                found = self.network(images, drawn)
                # One layer at a time, so that only one has its old, new and total change in memory at once.
                for name in self.network.targets:
                    delta = found.pop(name)
                    change[name] = change[name] + delta if name in change else delta
                    weights[name] = self.generator.synthesis.get_parameter(name) * (1 + change[name])
            with clock.stage("synthesise"), torch.no_grad():
                drawn = self.generator.synthesis(latents, weights=weights)
                pictures.append(F.interpolate(drawn, size=size_at_most(drawn, self.network.size), mode="area"))
        return Inversion(latents, drawn, {**weights, "images_of_steps": torch.stack(pictures, 1)})

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            weights = {name: inversion.state[name] for name in self.network.targets}
            return self.generator.synthesis(self.directions.move(inversion.latents, edit), weights=weights)

    def interpolate(self, a: Inversion, b: Inversion, t: float) -> Inversion:
        """Latents and weights between those of two inversions: t 0 is ``a``, 1 is ``b``."""
        return predicted_weights.interpolated(self.generator, a, b, t, names=list(self.network.targets))

    def max_batch(self, memory: int) -> int:
        own = predicted_weights.max_batch(self.generator, self.network.targets, memory)
        return min(self.embedder.max_batch(memory), own)
