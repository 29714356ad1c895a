"""HFGI: what an encoder's inversion lost changes one feature of the generator, after it was aligned with the edited picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Embedder, InvbenchError, Inversion
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.options import Options

SPEC = {
    "id": "hfgi",
    "class": "HFGI",
    "title": "HFGI",
    "family": "features",
    "paper": "Wang et al., High-Fidelity GAN Inversion for Image Attribute Editing",
    "venue": "CVPR 2022",
    "roles": ["generator", "hfgi", "directions"],
    "refines": ["w", "w+"],
    "embedder": "e4e_hfgi",
    "options": {
        "fusion_resolution": {
            "default": 64,
            "unit": "pixels",
            "choices": [8, 16, 32, 64, 128, 256, 512],
            "help": "resolution of the up-convolution after which the feature is changed; paper and code take 64",
        },
        "align_edits": {
            "default": True,
            "unit": "",
            "help": "align what was lost with the edited picture, as paper and script do; off: edits keep the scale and "
            "shift of the inversion, as the authors' public demo does",
        },
    },
    "presets": {"paper": {}, "released": {}},
    "summary": "The difference of the picture and its inversion is seen at 256 pixels, is aligned by one network and becomes "
    "the scale and shift of a feature by another one. Results keep the generator's size; the public script saves them at "
    "256 pixels. The paper's adversarial loss is not in the public training code, and not in ours.",
}


class HFGI:
    """HFGI (Wang et al., CVPR 2022; Tengfei-Wang/HFGI): see :class:`invbench.api.Method`.

    ``state`` of an inversion: ``residual`` [N, 3, s, s], the picture minus what its latents draw, before it is aligned;
    without ``align_edits`` also ``scale`` and ``shift`` [N, C, r, r] of the feature.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder):
        self.options, self.embedder = options, embedder
        self.generator, self.network = networks["generator"], networks["hfgi"]
        self.directions = networks["directions"]
        size = options.fusion_resolution
        if size not in self.generator.channels:
            known = ", ".join(str(one) for one in self.generator.channels if one > 4)
            raise InvbenchError(f"hfgi.fusion_resolution: expected a resolution of the generator ({known}), found {size}")
        if self.generator.channels[size] != self.network.channels:
            raise InvbenchError(
                f"hfgi.fusion_resolution: expected a feature of {self.network.channels} channels, as the network changes, "
                f"found {self.generator.channels[size]} at {size} x {size}"
            )

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("synthesise"), torch.no_grad():
            drawn = self._canvas(self.generator.synthesis(latents))
        with clock.stage("refine"), torch.no_grad():
            residual = self.network.residual(self._canvas(images), drawn).contiguous()  # as it is when it was saved
            scale, shift = self._conditions(residual, drawn)
        with clock.stage("synthesise"), torch.no_grad():
            output = self._fused(latents, scale, shift)
        kept = {} if self.options.align_edits else {"scale": scale, "shift": shift}
        return Inversion(latents, output, {"residual": residual, **kept})

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            latents = self.directions.move(inversion.latents, edit)
            if not self.options.align_edits:
                return self._fused(latents, inversion.state["scale"], inversion.state["shift"])
            drawn = self._canvas(self.generator.synthesis(latents))
            return self._fused(latents, *self._conditions(inversion.state["residual"], drawn))

    def max_batch(self, memory: int) -> int:
        return min(self.embedder.max_batch(memory), self.generator.max_batch(memory))

    def _conditions(self, residual: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift [N, C, r, r] from a difference [N, 3, s, s], aligned with drawings [N, 3, H, H]."""
        aligned = self.network.grid_align(residual, self.network.seen(drawn))
        found: tuple[Tensor, Tensor] = self.network.conditions(aligned, self.options.fusion_resolution)
        return found

    def _fused(self, latents: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        place = f"b{self.options.fusion_resolution}.conv0"
        images: Tensor = self.generator.synthesis(latents, features={place: FeatureEdit.scale_shift(scale, shift)})
        return images

    def _canvas(self, images: Tensor) -> Tensor:
        """Pictures on the square of the features, black beside them."""
        square: Tensor = self.generator.on_canvas(images, outside=-1.0)
        return square
