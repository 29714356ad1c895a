"""Spatially-adaptive multilayer inversion: each segment of the image uses the most editable space that reconstructs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from invbench.api import Clock, Edit, InvbenchError, Inversion
from invbench.methods.common.batching import PerImageAdam
from invbench.methods.common.curves import show
from invbench.methods.common.losses import PerceptualTarget, at_most, gaussian_prior, mse, ramp, size_at_most
from invbench.methods.common.resizing import lanczos
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.options import Options

SPEC = {
    "id": "sam",
    "class": "SAM",
    "title": "SAM",
    "family": "features",
    "paper": "Parmar et al., Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing",
    "venue": "CVPR 2022",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "segmenter", "invertibility", "directions"],
    "refines": ["w", "w+", "z", "z+"],
    "embedder": "e4e",
    "options": {
        "spaces": {
            "default": ["F4", "F6", "F8", "F10"],
            "unit": "",
            "choices": ["F0", "F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F12", "F13"],
            "help": "feature spaces besides W+ (or Z+), from the most to the least editable; F4 is the feature after the 16x16 "
            "block, F6 after 32x32, F8 after 64x64, F10 after 128x128; of BigGAN-deep, F2 is the feature after layers.2",
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
        "steps": {"default": 1001, "unit": "steps", "range": "[0, inf)", "help": "optimisation steps"},
        "lr": {"default": 0.05, "unit": "per step", "range": "(0, inf)", "help": "peak learning rate of Adam"},
        "lambda_mse": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss"},
        "lambda_lpips": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the perceptual loss"},
        "lambda_prior": {
            "default": 1e-8,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the Gaussian prior on the latents",
        },
        "lambda_delta": {
            "default": 1e-3,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the latents' distance from the first layer's",
        },
        "lambda_feature": {
            "default": 5.0,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the mean squared feature offset",
        },
        "squared_delta": {
            "default": False,
            "unit": "",
            "help": "square the latents' distance, as the paper prints it, and divide it by the spread of W: a distance of one "
            "spread costs the same in both forms",
        },
        "soft_masks": {
            "default": True,
            "unit": "",
            "help": "masks resized by Lanczos and clipped, as in the code; else bilinearly and made binary, as in the paper",
        },
    },
    "presets": {"released": {}, "paper": {"squared_delta": True, "soft_masks": False}},
    "summary": "The optimisation variant. Departures from the released code: noise is the stored one, where the code draws new "
    "noise at every forward pass, so that its results cannot be repeated; the prior has a ridge relative to the spread of W "
    "and a fixed size; the picture is made from the final latents, where the code keeps the one before the last update, whose "
    "rate is near 0; the resized target is not rounded to 8 bits. Departures of the preset paper from the text: equation 6 "
    "prints the covariance, this uses its inverse, as the code does; equation 8 has unpublished weights, this uses those of "
    "the code, one for each term of equation 6; equation 7 prints the sum of squared feature offsets, this uses their mean.",
}

BLOCKS = {"F4": 16, "F6": 32, "F8": 64, "F10": 128}  # space -> resolution of the block it follows


class Place(NamedTuple):
    """The feature of a space: the layer that gives it, its channels, its height and width."""

    layer: str
    channels: int
    size: tuple[int, int]


def feature_spaces(generator) -> dict[str, Place]:
    """The feature spaces of a generator by name: of a StyleGAN2 those of BLOCKS that a layer follows; others name their own."""
    if hasattr(generator, "feature_spaces"):
        return {space: Place(*found) for space, found in generator.feature_spaces.items()}
    sides = {space: side for space, side in BLOCKS.items() if side < generator.resolution}
    return {space: Place(f"b{side}.conv1", generator.channels[side], (side, side)) for space, side in sides.items()}


class SAM:
    """SAM (Parmar et al., CVPR 2022; adobe-research/sam_inversion): see :class:`invbench.api.Method`."""

    def __init__(self, networks, options: Options, embedder):
        """``embedder``: an :class:`invbench.api.Embedder`; None is enough for :meth:`invert_single_space`."""
        self.networks, self.options, self.embedder = networks, options, embedder
        self.generator = networks["generator"]
        self.places = feature_spaces(self.generator)
        for space in options.spaces:
            if space not in self.places:
                side = self.generator.resolution
                why = f"follows the {BLOCKS[space]}x{BLOCKS[space]} block, after which" if space in BLOCKS else "is no space:"
                found = f"{space} {why} a generator of {side}x{side} has no layer left"
                raise InvbenchError(f"spaces: {found}; expected some of {', '.join(self.places)}")
        classes = networks["segmenter"].classes if options.fused else ()  # inversions in a single space come without one
        unknown = [name for name in options.fused if name not in classes]
        if unknown:
            raise InvbenchError(f"fused: {unknown[0]!r} is no class of the segmenter ({', '.join(classes)})")

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        start = self.embedder.embed(images, clock)
        with clock.stage("segment"), torch.no_grad():
            masks = self._choose_spaces(images)
        with clock.stage("optimise"):
            found = self._optimise(images, start, masks, clock)
        latents = found.pop("latents")
        with clock.stage("synthesise"), torch.no_grad():
            output = self.generator.synthesis(latents, features=self._added(found, masks))
        state = {f"mask.{space}": mask for space, mask in masks.items()} | found
        state["domain_mask"] = 1 - self._claimed(masks, images)
        return Inversion(latents, output, state)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        """Section 3.4 of the paper: a segment of space F keeps the features of the unedited latents up to that layer.

        If a mask is soft, an edit of strength 0 differs slightly from the inversion, since the mask weights the offset
        twice, as in the released code.
        """
        spaces = self.options.spaces
        masks = {space: inversion.state[f"mask.{space}"] for space in spaces}
        offsets = {space: inversion.state[space] for space in spaces}
        with clock.stage("edit"), torch.no_grad():
            positions = [self._position(space) for space in spaces]
            _, features = self.generator.synthesis(
                inversion.latents, features=self._added(offsets, masks), return_features=positions
            )
            pasted = {p: FeatureEdit.blend(features[p], 1 - masks[s]) for s, p in zip(spaces, positions, strict=True)}
            return self.generator.synthesis(self.networks["directions"].move(inversion.latents, edit), features=pasted)

    def max_batch(self, memory: int) -> int:
        return min(self.embedder.max_batch(memory), self.generator.max_batch(memory))

    def invert_single_space(self, images: Tensor, start: Tensor) -> Tensor:
        """Reconstructions [N, 3, H, W] from ``start`` [N, L, D] with one space everywhere: the one of ``spaces``, or W+.

        The invertibility predictor learns their error. Raises ValueError if there are several spaces.
        """
        if len(self.options.spaces) > 1:
            raise ValueError(f"spaces: expected at most one beside W+, found {', '.join(self.options.spaces)}")
        masks = {space: images.new_ones(len(images), 1, *self.places[space].size) for space in self.options.spaces}
        found = self._optimise(images, start, masks)
        with torch.no_grad():
            return self.generator.synthesis(found.pop("latents"), features=self._added(found, masks))

    def _position(self, space: str) -> str:
        """The edit after the whole block; its ToRGB still reads the unedited feature."""
        return self.places[space].layer

    def _added(self, offsets: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, FeatureEdit]:
        return {self._position(space): FeatureEdit.add(offsets[space], masks[space]) for space in self.options.spaces}

    def _choose_spaces(self, images: Tensor) -> dict[str, Tensor]:
        """Masks [N, 1, r, r] of the feature spaces; pixels outside all of them are inverted in W+.

        The segments are those of the parsing. (The paper's text compares "invertibility" from above; its networks, and its
        code, predict error.)
        """
        errors = self.networks["invertibility"](images)
        latents = "W+" if "W+" in errors else "Z+"
        errors = torch.cat([errors[space] for space in (latents, *self.options.spaces)], dim=1)
        segments = self._segments(images)
        chosen = F.one_hot(most_editable(errors, segments, self.options.threshold), len(self.options.spaces) + 1).to(segments)
        by_space = self.generator.on_canvas(torch.einsum("nchw,nck->nkhw", segments, chosen)[:, 1:], outside=0.0)
        masks = {}
        for index, space in enumerate(self.options.spaces):
            size, full = self.places[space].size, by_space[:, index, None]
            if self.options.soft_masks:
                masks[space] = lanczos(full, size).clamp(0, 1)
            else:
                masks[space] = (F.interpolate(full, size=size, mode="bilinear", antialias=True) >= 0.5).to(full)
        return masks

    def _segments(self, images: Tensor) -> Tensor:
        """One-hot segments [N, C, H, W]: the parsing's classes, those in ``fused`` joined."""
        segmenter = self.networks["segmenter"]
        classes = segmenter(images).argmax(1)
        one_hot = F.one_hot(classes, len(segmenter.classes)).movedim(3, 1).to(images)
        return join_classes(one_hot, segmenter.classes, self.options.fused)

    def _claimed(self, masks: dict[str, Tensor], images: Tensor) -> Tensor:
        """The largest of the masks at each pixel [N, 1, H, W]; 0 everywhere without feature spaces."""
        canvas = (self.generator.resolution,) * 2
        full = [F.interpolate(mask, size=canvas, mode="nearest") for mask in masks.values()]
        greatest = torch.cat([images.new_zeros(len(images), 1, *canvas), *full], dim=1).amax(1, keepdim=True)
        return self.generator.off_canvas(greatest)

    def _optimise(
        self, images: Tensor, start: Tensor, masks: dict[str, Tensor], clock: Clock | None = None
    ) -> dict[str, Tensor]:
        """Latents and all feature offsets together -> "latents" [N, L, D] and one [N, C, r, r] for each space."""
        target = lanczos(images, size_at_most(images, 256)).clamp(-1, 1)  # the code resizes the file, and the output by area
        perceptual = PerceptualTarget(self.networks["perceptual_vgg"], target)
        places = {space: self.places[space] for space in self.options.spaces}
        offsets = {space: images.new_zeros(len(images), one.channels, *one.size) for space, one in places.items()}
        adam = PerImageAdam({"latents": start, **offsets}, self.options.lr)
        free = adam.parameters
        for step in range(self.options.steps):
            adam.lr = self.options.lr * ramp(step / self.options.steps)
            output = self.generator.synthesis(free["latents"], features=self._added(free, masks))
            show(clock, step, output)
            output = at_most(output, 256).clamp(-1, 1)
            loss = self.options.lambda_mse * mse(output, target)
            loss = loss + self.options.lambda_lpips * perceptual.distance(output)
            loss = loss + self.options.lambda_prior * self._prior(free["latents"])
            loss = loss + self.options.lambda_delta * self._delta(free["latents"])
            for space in self.options.spaces:
                loss = loss + self.options.lambda_feature * free[space].square().flatten(1).mean(1)
            adam.zero_grad()
            loss.sum().backward()
            adam.step()
        return adam.result()

    def _prior(self, latents: Tensor) -> Tensor:
        """The Gaussian prior of latents [N, L, D] -> [N]; statistics of other latents than those of W have one of their own."""
        stats = self.networks["latent_stats"]
        if hasattr(stats, "prior"):
            return stats.prior(latents)
        return gaussian_prior(latents, stats.prior_mean, stats.prior_factor)

    def _delta(self, latents: Tensor) -> Tensor:
        """Distance of the later layers' latents from the first layer's, summed over layers -> [N]."""
        distance = (latents[:, 1:] - latents[:, :1]).norm(dim=2)
        return (distance.square() / self.networks["latent_stats"].std if self.options.squared_delta else distance).sum(1)


def most_editable(errors: Tensor, segments: Tensor, threshold: float) -> Tensor:
    """For each segment the first space whose mean error in it is at most ``threshold``, else the last; int64 [N, C].

    ``errors`` [N, K, H, W] of K spaces, from the most to the least editable; ``segments`` [N, C, H, W] in {0, 1}.
    """
    area = segments.flatten(2).sum(2)
    means = torch.einsum("nchw,nkhw->nck", segments, errors) / area.clamp_min(1)[..., None]
    allowed = means <= threshold
    allowed[..., -1] = True
    return allowed.to(torch.uint8).argmax(2)


def join_classes(one_hot: Tensor, classes: Sequence[str], fused: Sequence[str]) -> Tensor:
    """Parsing [N, C, H, W], one-hot over ``classes`` -> segments: first the classes ``fused`` together, then each other one."""
    joined = [classes.index(name) for name in fused]
    rest = [i for i in range(len(classes)) if i not in joined]
    return torch.cat([one_hot[:, joined].sum(1, keepdim=True), one_hot[:, rest]], dim=1)
