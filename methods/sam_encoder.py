"""SAM with encoders: one encoder predicts the latents, and one for each feature space the change of its feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Embedder, InvbenchError, Inversion
from invbench.methods.sam import BLOCKS, SAM
from invbench.options import Options

SPEC = {
    "id": "sam_encoder",
    "class": "SAMEncoder",
    "title": "SAM, encoder",
    "family": "features",
    "paper": "Parmar et al., Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing",
    "venue": "CVPR 2022",
    "roles": ["generator", "encoder_sam", "segmenter", "invertibility", "directions"],
    "refines": ["w", "w+"],
    "embedder": "e4e",
    "options": {
        "spaces": {
            "default": ["F4", "F6", "F8", "F10"],
            "unit": "",
            "choices": ["F4", "F6", "F8", "F10"],
            "help": "feature spaces besides W+, from the most to the least editable, as in sam",
        },
        "threshold": {
            "default": 0.225,
            "unit": "LPIPS",
            "range": "[0, inf)",
            "help": "highest predicted error at which a space may be used",
        },
        "fused": {
            "default": ["skin", "l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear", "nose", "mouth", "u_lip", "l_lip", "neck"],  # noqa: E501
            "unit": "",
            "help": "classes of the segmenter that are joined to one segment",
        },
        "soft_masks": {
            "default": False,
            "unit": "",
            "help": "masks resized by Lanczos and clipped, as in the code of the optimisation variant; else bilinearly and "
            "made binary, as in the paper",
        },
    },
    "presets": {"paper": {}},
    "summary": "The encoder variant, of which no code was released; the paper says that a separate encoder is trained for each "
    "latent space, and no more. Read so: e4e is the encoder of W+; that of a feature space sees the picture, and what the "
    "latents' drawing lacks of it, and predicts the change of its feature; each is trained with its space everywhere; at last "
    "the predicted changes are put together by the same invertibility map as in sam. One pass, no optimisation.",
}


class SAMEncoder(SAM):
    """SAM, encoder variant (Parmar et al., CVPR 2022, section 3.3): see :class:`invbench.api.Method`.

    ``state`` of an inversion: as of SAM, ``mask.F4`` [N, 1, r, r] and the change ``F4`` [N, C, r, r] for each space, and
    ``domain_mask`` [N, 1, H, W]. Raises InvbenchError for a space without an encoder of the generator's shape.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder | None):
        super().__init__(networks, options, embedder)
        self.encoders = networks["encoder_sam"]
        for space in options.spaces:
            wanted = (self.generator.channels[BLOCKS[space]], BLOCKS[space], BLOCKS[space])
            found = self.encoders.shape(space) if space in self.encoders.spaces else "none"
            if found != wanted:
                raise InvbenchError(f"sam_encoder.spaces: expected an encoder of {space} with features {wanted}, found {found}")

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("segment"), torch.no_grad():
            masks = self._choose_spaces(images)
        with clock.stage("synthesise"), torch.no_grad():
            seen = self.seen(images, latents)
        with clock.stage("encode"), torch.no_grad():
            changes = {space: one.contiguous() for space, one in self.encoders(seen, self.options.spaces).items()}  # as saved
        with clock.stage("synthesise"), torch.no_grad():
            output = self.generator.synthesis(latents, features=self._added(changes, masks))
        state = {f"mask.{space}": mask for space, mask in masks.items()} | changes
        state["domain_mask"] = 1 - self._claimed(masks, images)
        return Inversion(latents, output, state)

    def invert_single_space(self, images: Tensor, start: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] of the latents ``start`` [N, L, D], with the change of every space of ``spaces`` everywhere."""
        with torch.no_grad():
            return self.changed(start, self.encoders(self.seen(images, start), self.options.spaces))

    def seen(self, images: Tensor, latents: Tensor) -> Tensor:
        """What the encoders see of ``images`` [N, 3, H, W] beside what ``latents`` [N, L, D] draw: [N, 6, s, s]."""
        with torch.no_grad():
            drawn = self.generator.synthesis(latents)
        pictures, drawings = (self.generator.on_canvas(x, outside=-1.0) for x in (images, drawn))
        found: Tensor = self.encoders.seen(pictures, drawings)
        return found

    def changed(self, latents: Tensor, changes: Mapping[str, Tensor]) -> Tensor:
        """Pictures [N, 3, H, W] of ``latents`` [N, L, D] with ``changes`` of features [N, C, r, r] everywhere."""
        masks = {space: one.new_ones(len(one), 1, BLOCKS[space], BLOCKS[space]) for space, one in changes.items()}
        pictures: Tensor = self.generator.synthesis(latents, features=self._added(dict(changes), masks))
        return pictures
