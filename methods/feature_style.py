"""Feature-Style encoder: latents in W+, and a feature that takes the place of the generator's own one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, InvbenchError, Inversion
from invbench.methods.common.batching import image_generators, randn
from invbench.methods.nets.partial import up_to
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.options import Options

SPEC = {
    "id": "feature_style",
    "class": "FeatureStyle",
    "title": "Feature-Style",
    "family": "features",
    "paper": "Yao et al., A Style-Based GAN Encoder for High Fidelity Reconstruction of Images and Videos",
    "venue": "ECCV 2022",
    "roles": ["generator", "encoder_feature_style", "directions"],
    "options": {
        "feature_resolution": {
            "default": 16,
            "unit": "pixels",
            "choices": [8, 16, 32, 64, 128, 256, 512],
            "help": "resolution of the block whose output is replaced on its way to the next one; paper and code take 16",
        },
        "noise": {
            "default": "const",
            "unit": "",
            "choices": ["const", "random"],
            "help": '"const": the stored maps; "random": new maps for each picture, the same for its edits',
        },
        "seed": {"default": 0, "unit": "", "range": "[0, 4294967296)", "help": "seed of random noise"},
    },
    "presets": {"paper": {}, "released": {"noise": "random"}},
    "summary": "Preset released: the public code draws new noise at every pass, because it never says otherwise; the paper "
    "does not speak of noise. Edits shift the feature by what they change in the generator's own one.",
}


class FeatureStyle:
    """Feature-Style encoder (Yao et al., ECCV 2022; InterDigitalInc/FeatureStyleEncoder): see :class:`invbench.api.Method`.

    ``state`` of an inversion: ``feature`` [N, C, r, r], and ``noise_seed`` [N] where noise is random.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.options = options
        self.generator, self.encoder = networks["generator"], networks["encoder_feature_style"]
        self.directions = networks["directions"]
        size = options.feature_resolution
        if not 4 < size < self.generator.resolution or self.generator.channels[size] != self.encoder.feature:
            found = {one: width for one, width in self.generator.channels.items() if 4 < one < self.generator.resolution}
            raise InvbenchError(
                f"feature_style.feature_resolution: expected one of {list(found)} with {self.encoder.feature} channels, "
                f"found {size} with {found.get(size, 'none')}"
            )
        self.place = f"b{size}.conv1"
        self.lower = up_to(self.generator.synthesis, self.generator.config, size)

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("encode"), torch.no_grad():
            latents, feature = self.encoder(self.generator.on_canvas(images, outside=-1.0))
        expected = (len(images), *self.generator.synthesis.feature_shape[self.place])
        if tuple(feature.shape) != expected:
            raise InvbenchError(f"feature_style: expected a feature {expected} from the encoder, found {tuple(feature.shape)}")
        state = {"feature": feature.contiguous()}  # as it is when it was saved: another layout rounds otherwise
        if self.options.noise == "random":
            seeds = [draw.initial_seed() for draw in image_generators(images, self.options.seed)]
            state["noise_seed"] = torch.tensor(seeds, device=latents.device)
        with clock.stage("synthesise"), torch.no_grad():
            output = self._replaced(latents, state["feature"], self._noise(state, latents))
        return Inversion(latents, output, state)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            latents = self.directions.move(inversion.latents, edit)
            noise = self._noise(inversion.state, latents)
            before = inversion.latents.clone()  # matrix products round by where in memory a tensor starts: a file may shift it
            change = self._own(latents, noise) - self._own(before, noise)
            return self._replaced(latents, inversion.state["feature"] + change, noise)

    def max_batch(self, memory: int) -> int:
        return self.generator.max_batch(memory)

    def _replaced(self, latents: Tensor, feature: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """Pictures with ``feature`` in place of the generator's own; the block's own ToRGB reads the latter, as published."""
        whole = FeatureEdit.blend(feature, feature.new_zeros(1, 1, 1, 1))
        images: Tensor = self.generator.synthesis(latents, noise_maps=noise, features={self.place: whole})
        return images

    def _own(self, latents: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """The generator's own feature [N, C, r, r]."""
        own = {layer: maps for layer, maps in noise.items() if layer in self.lower.feature_shape}
        codes = latents[:, : self.lower.num_ws]
        feature: Tensor = self.lower(codes, noise_maps=own, return_features=[self.place])[1][self.place]
        return feature

    def _noise(self, state: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        """Noise maps of the pictures' own seeds, none for the stored maps."""
        if "noise_seed" not in state:
            return {}
        draws = [torch.Generator().manual_seed(seed) for seed in state["noise_seed"].tolist()]
        return {layer: randn(draws, 1, size, size, like=like) for layer, size in self.generator.noise_resolutions.items()}
