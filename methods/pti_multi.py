"""PTI of several images at once: one generator, tuned around the pivots of all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from invbench.api import Clock
from invbench.methods.common.batching import PerImageAdam, image_generators
from invbench.methods.common.curves import show
from invbench.methods.common.losses import PerceptualTarget, mse
from invbench.methods.pti import PTI

SPEC = {
    "id": "pti_multi",
    "class": "MultiPTI",
    "title": "PTI, several images",
    "family": "weights",
    "paper": "Roich et al., Pivotal Tuning for Latent-based Editing of Real Images",
    "venue": "ACM TOG 2022",
    "roles": ["generator", "perceptual_alex", "directions"],
    "refines": ["w", "w+"],
    "embedder": {"released": "sg2_w:pivot", "paper": "sg2_w:pivot_paper"},
    "joint": True,
    "options": {
        "group": {
            "default": 4,
            "unit": "pictures",
            "range": "[1, inf)",
            "help": "pictures that share a generator: consecutive ones of a batch, whose last group may be smaller; take a "
            "--batch that is a multiple of it",
        },
        "steps": {"default": 350, "unit": "steps", "range": "[0, inf)", "help": "tuning steps for each picture"},
        "lr": {"default": 3e-4, "unit": "per step", "range": "(0, inf)", "help": "learning rate of the tuning"},
        "lambda_mse": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss"},
        "lambda_lpips": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the perceptual loss"},
        "locality": {"default": False, "unit": "", "help": "regularise the tuned generator around the pivots"},
        "locality_alpha": {
            "default": 30.0,
            "unit": "W+ distance",
            "range": "[0, inf)",
            "help": "distance from the pivot at which the regulariser samples latents",
        },
        "locality_lambda": {"default": 0.1, "unit": "", "range": "[0, inf)", "help": "weight of the locality regulariser"},
        "seed": {"default": 0, "unit": "", "range": "[0, 4294967296)", "help": "seed of the regulariser's samples"},
    },
    "presets": {"released": {}, "paper": {"locality": True}},
    "summary": "The multi-image coach of danielroich/PTI: as pti, but one generator for several images, which it sees in turn, "
    "an update each, and no stop at an LPIPS. A picture's result depends on those of its group. Latency is that of a group of "
    "one.",
}


class MultiPTI(PTI):
    """PTI of groups of images (Roich et al., TOG 2022; danielroich/PTI, multi_id_coach): see :class:`invbench.api.Method`.

    ``state`` of an inversion: the weights of each image's generator, equal within a group.
    """

    def max_batch(self, memory: int) -> int:
        """Whole groups, of which each has one set of weights."""
        size = self.options.group
        groups = self.generator.max_batch(memory, per_image_weights=True)
        return max(1, min(self.embedder.max_batch(memory), groups * size) // size) * size

    def _tune(self, images: Tensor, latents: Tensor, clock: Clock | None = None) -> dict[str, Tensor]:
        size = min(self.options.group, len(images))
        whole = len(images) // size * size
        parts = [slice(0, whole), slice(whole, len(images))] if whole < len(images) else [slice(0, whole)]
        found = [self._tune_groups(images[part], latents[part], part.start, clock) for part in parts]
        return {name: torch.cat([weights[name] for weights in found]) for name in found[0]}

    def _tune_groups(self, images: Tensor, latents: Tensor, first: int, clock: Clock | None) -> dict[str, Tensor]:
        """Tune a generator for each group of equal size; the groups are independent, as the images of ``pti`` are.

        ``first``: the place in the batch of the first image. In each step every image of a group has its turn.
        """
        size = min(self.options.group, len(images))
        adam = PerImageAdam(self.generator.per_image_parameters(len(images) // size), self.options.lr)
        draws = image_generators(images, self.options.seed + 1)
        targets = [PerceptualTarget(self.perceptual, images[turn::size]) for turn in range(size)]
        for step in range(self.options.steps):
            for turn, target in enumerate(targets):
                pivots = latents[turn::size]
                output = self.generator.synthesis(pivots, weights=adam.parameters)
                show(clock, step, output, rows=torch.arange(first + turn, first + len(images), size))
                loss = self.options.lambda_mse * mse(output, images[turn::size])
                loss = loss + self.options.lambda_lpips * target.distance(output)
                if self.options.locality:
                    loss = loss + self.options.locality_lambda * self._locality(pivots, adam, draws[turn::size])
                adam.zero_grad()
                loss.sum().backward()
                adam.step()
        return {name: weights.repeat_interleave(size, 0) for name, weights in adam.result().items()}
