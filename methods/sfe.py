"""StyleFeatureEditor: a predicted feature in the generator, and a network that edits it as e4e's picture would change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Clock, Edit, InvbenchError, Inversion
from invbench.methods.common.moves import scaled_move
from invbench.methods.nets.partial import up_to
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.options import Options

SPEC = {
    "id": "sfe",
    "class": "StyleFeatureEditor",
    "title": "StyleFeatureEditor",
    "family": "features",
    "paper": "Bobkov et al., The Devil is in the Details: StyleFeatureEditor for Detail-Rich StyleGAN Inversion and High "
    "Quality Image Editing",
    "venue": "CVPR 2024",
    "roles": ["generator", "sfe", "encoder_e4e", "directions"],
    "optional": {"parser": "keep=background"},
    "options": {
        "feature_resolution": {
            "default": 64,
            "unit": "pixels",
            "choices": [8, 16, 32, 64, 128, 256, 512],
            "help": "resolution of the block whose output is replaced on its way to the next one; the code takes 64",
        },
        "phase": {
            "default": "editor",
            "unit": "",
            "choices": ["editor", "inverter"],
            "help": '"editor": the whole method; "inverter": the first phase alone, whose edits keep its feature',
        },
        "edit_scale": {
            "default": 1.0,
            "unit": "of a direction",
            "range": "(0, inf)",
            "help": "factor on edits that add a direction; the released code has half of InterFaceGAN's. Edits to a position "
            "are never scaled",
        },
        "keep": {
            "default": "nothing",
            "unit": "",
            "choices": ["nothing", "background"],
            "help": "where the feature is not to be edited: nowhere, or in the background that a parser finds, as the code can",
        },
        "background_threshold": {
            "default": 0.995,
            "unit": "of the sigmoid of the parser's score",
            "range": "[0, 1]",
            "help": "from which on a pixel is background; 0.995 in the code's class and README, 0.095 in its script",
        },
    },
    "presets": {"paper": {}, "released": {"edit_scale": 0.5}, "inverter": {"phase": "inverter"}},
    "summary": "The inverter gives latents and, fused with the generator's own, a feature. The editor changes it by the "
    "difference of e4e's two features, the unedited minus the edited one; the inversion is its result for no difference. "
    "Preset inverter is the first phase, which the authors release as well. Their masks come from FaRL's parser.",
}


class StyleFeatureEditor:
    """StyleFeatureEditor (Bobkov et al., CVPR 2024; ControlGenAI/StyleFeatureEditor): see :class:`invbench.api.Method`.

    ``state`` of an inversion: ``fused`` [N, C, r, r], the inverter's feature; with the editor ``latents_e4e`` [N, L, D]; with
    ``keep`` also ``background`` [N, 1, r, r] in [0, 1].
    """

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.options, self.generator, self.network = options, networks["generator"], networks["sfe"]
        self.encoder, self.directions = networks["encoder_e4e"], networks["directions"]
        self.edits_features = options.phase == "editor"
        size = options.feature_resolution
        if size >= self.generator.resolution or self.generator.channels[size] != self.network.feature:
            found = {one: width for one, width in self.generator.channels.items() if 4 < one < self.generator.resolution}
            raise InvbenchError(
                f"sfe.feature_resolution: expected one of {list(found)} with {self.network.feature} channels, "
                f"found {size} with {found.get(size, 'none')}"
            )
        self.parser = networks.get("parser") if options.keep == "background" else None
        if options.keep == "background" and (self.parser is None or "background" not in self.parser.classes):
            raise InvbenchError("sfe.keep: expected a suite whose role parser has a class background, found none")
        self.place = f"b{size}.conv1"
        self.lower = up_to(self.generator.synthesis, self.generator.config, size)

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("encode"), torch.no_grad():
            latents, predicted = self.network.inverter(self.generator.on_canvas(images, outside=-1.0))
            codes = {"latents_e4e": self.network.codes(self.encoder, images)} if self.edits_features else {}
        expected = (len(images), *self.generator.synthesis.feature_shape[self.place])
        if tuple(predicted.shape) != expected:
            raise InvbenchError(f"sfe: expected a feature {expected} from the inverter, found {tuple(predicted.shape)}")
        masks = {} if self.parser is None else {"background": self._background(images, clock)}
        with clock.stage("synthesise"), torch.no_grad():
            own = self._own(latents)
        with clock.stage("refine"), torch.no_grad():
            fused = self.network.inverter.fuser(predicted, own).contiguous()  # as it is when it was saved
            feature = self.network.editor(fused, torch.zeros_like(fused)) if self.edits_features else fused
        with clock.stage("synthesise"), torch.no_grad():
            return Inversion(latents, self._replaced(latents, feature), {"fused": fused, **codes, **masks})

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            latents = self.move_latents(inversion.latents, edit)
            fused = inversion.state["fused"].clone()  # products round by where in memory a tensor starts: a file may shift it
            if not self.edits_features:
                return self._replaced(latents, fused)
            codes = inversion.state["latents_e4e"].clone()
            change = self._own(codes) - self._own(self.move_latents(codes, edit))
            if self.parser is not None:
                change = change * (1 - inversion.state["background"])
            return self._replaced(latents, self.network.editor(fused, change))

    def move_latents(self, latents: Tensor, edit: Edit) -> Tensor:
        """Edited latents [N, L, D], of the inverter or of e4e."""
        return scaled_move(self.directions, latents, edit, self.options.edit_scale)

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)

    def _replaced(self, latents: Tensor, feature: Tensor) -> Tensor:
        """Pictures with ``feature`` in place of the generator's own; the block's own ToRGB reads the latter, as published."""
        whole = FeatureEdit.blend(feature, feature.new_zeros(1, 1, 1, 1))
        images: Tensor = self.generator.synthesis(latents, features={self.place: whole})
        return images

    def _own(self, latents: Tensor) -> Tensor:
        """The generator's own feature [N, C, r, r]."""
        feature: Tensor = self.lower(latents[:, : self.lower.num_ws], return_features=[self.place])[1][self.place]
        return feature

    def _background(self, images: Tensor, clock: Clock) -> Tensor:
        """Share of background [N, 1, r, r] of the feature's cells, which are those of the canvas."""
        assert self.parser is not None
        with clock.stage("segment"), torch.no_grad():
            scores = self.parser(images)[:, self.parser.classes.index("background"), None].sigmoid()
            found = (scores >= self.options.background_threshold).to(images)
            size = self.options.feature_resolution
            return F.interpolate(self.generator.on_canvas(found, outside=1.0), size=(size, size), mode="bilinear")
