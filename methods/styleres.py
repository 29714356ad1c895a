"""StyleRes: what the latents lost changes a feature while the picture is drawn, as gates that see the edited picture let it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, InvbenchError, Inversion
from invbench.methods.nets.styleres import GatedEdit
from invbench.options import Options

SPEC = {
    "id": "styleres",
    "class": "StyleRes",
    "title": "StyleRes",
    "family": "features",
    "paper": "Pehlivan et al., StyleRes: Transforming the Residuals for Real Image Editing with StyleGAN",
    "venue": "CVPR 2023",
    "roles": ["generator", "styleres", "directions"],
    "options": {
        "fusion_resolution": {
            "default": 64,
            "unit": "pixels",
            "choices": [8, 16, 32, 64, 128, 256, 512],
            "help": "resolution of the up-convolution after which the feature is changed; the code takes 64",
        },
    },
    "presets": {"released": {}, "paper": {}},
    "summary": "Two passes of the generator: one gives the feature of the unedited latents, from which comes what they lost; "
    "in the other one gates see the feature of the picture that is drawn. Starts from the e4e in its own file. Edits have full "
    "strength.",
}


class StyleRes:
    """StyleRes (Pehlivan et al., CVPR 2023; hamzapehlivan/StyleRes): see :class:`invbench.api.Method`.

    ``state`` of an inversion: ``lost`` [N, C, r, r], what the unedited latents lost.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.generator, self.network = networks["generator"], networks["styleres"]
        self.directions = networks["directions"]
        size = options.fusion_resolution
        if self.generator.channels.get(size) != self.network.channels:
            raise InvbenchError(
                f"styleres.fusion_resolution: expected a resolution of the generator with {self.network.channels} channels, "
                f"found {size} with {self.generator.channels.get(size, 'none')}"
            )
        self.place = f"b{size}.conv0"

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("encode"), torch.no_grad():
            latents, encoded = self.network.encode(self.generator.on_canvas(images, outside=-1.0))
        with clock.stage("synthesise"), torch.no_grad():
            feature = self.generator.synthesis(latents, return_features=[self.place])[1][self.place]
        with clock.stage("refine"), torch.no_grad():
            lost = self.network.lost(encoded, feature).contiguous()  # as it is when it was saved
        with clock.stage("synthesise"), torch.no_grad():
            return Inversion(latents, self._drawn(latents, lost), {"lost": lost})

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            lost = inversion.state["lost"].clone()  # products round by where in memory a tensor starts: a file may shift it
            return self._drawn(self.directions.move(inversion.latents, edit), lost)

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)

    def _drawn(self, latents: Tensor, lost: Tensor) -> Tensor:
        edit = GatedEdit(self.network.modify_feature_gates, lost)
        images: Tensor = self.generator.synthesis(latents, features={self.place: edit})
        return images
