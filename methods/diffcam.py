"""Diff-CAM: edits are composed with the original where the edit changed something, and drawn anew without ghosts."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Clock, Edit, Embedder, InvbenchError, Inversion
from invbench.options import Options

SPEC = {
    "id": "diffcam",
    "class": "DiffCAMEditing",
    "title": "Diff-CAM",
    "family": "hybrid",
    "paper": "Song et al., Editing Out-of-domain GAN Inversion via Differential Activations",
    "venue": "ECCV 2022",
    "roles": ["generator", "diffcam", "deghosting", "directions"],
    "refines": ["w", "w+"],
    "embedder": "psp",
    "options": {
        "normalise": {
            "default": "range",
            "unit": "",
            "choices": ["range", "max"],
            "help": "a mask is brought to [0, 1] by its range, as in the code, or divided by its largest, as in the paper",
        },
        "enlarge": {
            "default": "nearest",
            "unit": "",
            "choices": ["nearest", "bilinear"],
            "help": "how a mask comes to the size of the picture; the code takes nearest pixels",
        },
        "paste": {
            "default": False,
            "unit": "",
            "help": "put the original back outside of the mask after deghosting, as the paper can be read; the code does "
            "not, so that all of the picture passes the deghosting network's small input",
        },
    },
    "presets": {"released": {}, "paper": {"normalise": "max"}},
    "summary": "The inversion is the original drawn anew by the deghosting network, which is what an edit of strength 0 gives: "
    "a mask of pictures that do not differ is 0. The edits of a sum are made one after the other, each with a mask of its own, "
    "and the largest value of each pixel composes the last picture with the original (section 3.6; no code). Noise is the "
    "generator's stored one; the code draws it at random.",
}


class DiffCAMEditing:
    """Diff-CAM (Song et al., ECCV 2022; HaoruiSong622/Editing-Out-of-Domain): see :class:`invbench.api.Method`.

    ``state`` of an inversion: ``original`` [N, 3, H, W], the picture itself.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder):
        self.options, self.embedder = options, embedder
        self.generator, self.directions = networks["generator"], networks["directions"]
        self.network, self.deghosting = networks["diffcam"], networks["deghosting"]
        if self.deghosting.out_size != self.generator.resolution:
            raise InvbenchError(
                f"diffcam: expected a deghosting network for {self.generator.resolution} pixels, found one for "
                f"{self.deghosting.out_size}"
            )

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("refine"), torch.no_grad():
            original = images.clone(memory_format=torch.contiguous_format)  # as it is when it was saved
            return Inversion(latents, self.deghosting(original, self.generator), {"original": original})

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        for part in edit.parts:
            if part.plain.name not in self.network.attributes:
                known = ", ".join(self.network.attributes)
                raise InvbenchError(f"diffcam: edit {part.plain.name!r}: its network was trained for {known}")
        original, latents = inversion.state["original"], inversion.latents
        with clock.stage("edit"), torch.no_grad():
            edited, masks = self.generator.synthesis(latents), []
            for part in edit.parts:  # section 3.6: a mask from each picture to the next one, and their largest values
                before, latents = edited, self.directions.move(latents, part)
                edited = self.generator.synthesis(latents)
                masks.append(self._mask(before, edited, part))
            mask = functools.reduce(torch.maximum, masks)
            output = self.deghosting(torch.lerp(original, edited, mask), self.generator)
            return torch.lerp(original, output, mask) if self.options.paste and edit.strength else output

    def max_batch(self, memory: int) -> int:
        return min(self.embedder.max_batch(memory), self.generator.max_batch(memory))

    def _mask(self, inverted: Tensor, edited: Tensor, edit: Edit) -> Tensor:
        """Where the edit changed the picture, [N, 1, H, W] in [0, 1]."""
        output = torch.full((len(inverted),), self.network.attributes[edit.plain.name], device=inverted.device)
        mask: Tensor = self.network.mask(inverted, edited, output, normalise=self.options.normalise)
        size = inverted.shape[-2:]
        if self.options.enlarge == "nearest":
            return F.interpolate(mask, size=size, mode="nearest")
        return F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
