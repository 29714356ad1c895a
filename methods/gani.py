"""GANI: small networks, trained for each image, turn the gradient of every convolution's weight into its change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from invbench.api import Clock, Edit, Embedder, InvbenchError, Inversion
from invbench.methods.common.batching import image_generators, randn
from invbench.methods.common.curves import show
from invbench.methods.common.losses import PerceptualTarget, at_most, mse
from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.gradient_modification import GradientModification
from invbench.options import Options

SPEC = {
    "id": "gani",
    "class": "GANI",
    "title": "GANI",
    "family": "weights",
    "paper": "Sheffi et al., Gradient Adjusting Networks for Domain Inversion",
    "venue": "SCIA 2023",
    "roles": ["generator", "perceptual_alex", "directions"],
    "optional": {"identity": "similarity=identity", "moco": "similarity=moco", "parsing": "parsing=True"},
    "refines": ["w", "w+"],
    "embedder": "e4e",
    "options": {
        "steps": {"default": 300, "unit": "steps", "range": "[0, inf)", "help": "optimisation steps of the modules"},
        "lr": {"default": 1e-3, "unit": "per step", "range": "(0, inf)", "help": "learning rate of Ranger"},
        "blocks": {
            "default": 1,
            "unit": "blocks",
            "range": "[1, inf)",
            "help": "residual blocks of a module; the paper's tables do not say theirs, and fit 1 of its Table 7",
        },
        "norm_inputs": {
            "default": "none",
            "unit": "",
            "choices": ["none", "scale", "instance"],
            "help": "norm of a module's input: PreNorm of the paper's Table 8",
        },
        "norm_blocks": {
            "default": "scale",
            "unit": "",
            "choices": ["none", "scale", "instance"],
            "help": "norm within its blocks: PostNorm of the paper's Table 8",
        },
        "lambda_image": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the loss on the picture"},
        "lambda_locality": {
            "default": 0.2,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the same loss between what both generators draw of a random latent in W, one a step, without "
            "truncation (which the paper does not mention)",
        },
        "pixel": {"default": "l2", "unit": "", "choices": ["l2", "smooth_l1"], "help": "pixel loss"},
        "smooth_beta": {"default": 0.1, "unit": "of [-1, 1]", "range": "(0, inf)", "help": "width of smooth L1"},
        "lambda_pixel": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss"},
        "lambda_lpips": {"default": 0.8, "unit": "", "range": "[0, inf)", "help": "weight of the perceptual loss"},
        "similarity": {
            "default": "identity",
            "unit": "",
            "choices": ["identity", "moco", "none"],
            "help": "network of the similarity loss: a face recognition network, or MoCo where there are no faces",
        },
        "lambda_similarity": {"default": 0.1, "unit": "", "range": "[0, inf)", "help": "weight of the similarity loss"},
        "parsing": {"default": True, "unit": "", "help": "use the face-parsing loss"},
        "lambda_parsing": {
            "default": 1.0,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the face-parsing loss, the sum over its feature maps of one minus their cosine",
        },
        "loss_size": {
            "default": 256,
            "unit": "pixels",
            "range": "[16, inf)",
            "help": "pictures are area-reduced to this size for all losses; the paper does not say its own",
        },
        "seed": {"default": 0, "unit": "", "range": "[0, 4294967296)", "help": "seed of modules and random latents"},
    },
    "presets": {"paper": {}},
    "summary": "No code is public. Readings: the gradients are those at the generator's own weights in every step, as in "
    "Algorithm 1, so they are computed once; all 3 x 3 convolutions change, and nothing else; InstanceNorm normalises the "
    "vectors that ScaleNorm does.",
}


class Likeness:
    """The loss of equation 1 against fixed pictures [N, 3, H, W] in [-1, 1]; pictures of that shape -> [N]."""

    def __init__(self, networks: Mapping[str, Any], options: Options, images: Tensor):
        self.options, self.images = options, at_most(images, options.loss_size)
        self.perceptual = PerceptualTarget(networks["perceptual_alex"], self.images)
        self.similarity, self.parsing = networks.get(options.similarity), networks.get("parsing")
        with torch.no_grad():
            self.embedding = None if self.similarity is None else self.similarity(self.images)
            self.maps = [] if self.parsing is None else self.parsing.features(self.images)

    def __call__(self, images: Tensor) -> Tensor:
        images = at_most(images, self.options.loss_size)
        loss = self.options.lambda_pixel * self._pixel(images) + self.options.lambda_lpips * self.perceptual.distance(images)
        if self.similarity is not None:
            loss = loss + self.options.lambda_similarity * (1 - (self.similarity(images) * self.embedding).sum(1))
        if self.parsing is not None:
            pairs = zip(self.parsing.features(images), self.maps, strict=True)
            unlike = [1 - F.cosine_similarity(found.flatten(1), wanted.flatten(1), dim=1) for found, wanted in pairs]
            loss = loss + self.options.lambda_parsing * torch.stack(unlike).sum(0)
        return loss

    def _pixel(self, images: Tensor) -> Tensor:
        if self.options.pixel == "l2":
            return mse(images, self.images)
        error = F.smooth_l1_loss(images, self.images, reduction="none", beta=self.options.smooth_beta)
        return error.flatten(1).mean(1)


class GANI:
    """GANI (Sheffi et al., SCIA 2023): changes of the convolutions' weights, found for each image by modules of its own.

    ``state`` of an inversion: the changed weights, name -> [N, c_out, c_in, 3, 3]. See :class:`invbench.api.Method`.
    """

    def __init__(self, networks: Mapping[str, Any], options: Options, embedder: Embedder):
        self.networks, self.options, self.embedder = networks, options, embedder
        self.generator = networks["generator"]
        wanted = [role for role in (options.similarity,) if role != "none"] + ["parsing"] * options.parsing
        for role in wanted:
            if role not in networks:
                raise InvbenchError(f"gani: expected a network {role!r} of the suite, found none; its loss can be switched off")
        own = self.generator.synthesis.named_parameters()
        self.shapes = {name: tuple(value.shape) for name, value in own if value.shape[2:] == (3, 3)}
        self.modules = GradientModification(
            self.shapes, blocks=options.blocks, inputs=options.norm_inputs, inner=options.norm_blocks
        )

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("refine"):
            weights = self._tune(images, latents, clock)
        with clock.stage("synthesise"), torch.no_grad():
            output = self.generator.synthesis(latents, weights=weights)
        return Inversion(latents, output, weights)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            latents = self.networks["directions"].move(inversion.latents, edit)
            return self.generator.synthesis(latents, weights=inversion.state)

    def max_batch(self, memory: int) -> int:
        return min(self.embedder.max_batch(memory), self.generator.max_batch(memory, per_image_weights=True))

    def _tune(self, images: Tensor, latents: Tensor, clock: Clock) -> dict[str, Tensor]:
        """Algorithm 1: the weights [N, ...] of the convolutions, changed for every image."""
        likeness = Likeness(self.networks, self.options, images)
        weights = self.generator.per_image_parameters(len(images), list(self.shapes))
        loss = likeness(self.generator.synthesis(latents, weights=weights)).sum()
        gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
        weights = {name: value.detach() for name, value in weights.items()}
        draws = image_generators(images, self.options.seed)
        parameters = self.modules.initial(draws, latents)
        ranger = Ranger(parameters.values(), self.options.lr, stacked=True)
        for step in range(self.options.steps):
            changed = self._changed(weights, gradients, parameters)
            output = self.generator.synthesis(latents, weights=changed)
            show(clock, step, output)
            loss = self.options.lambda_image * likeness(output).sum()
            if self.options.lambda_locality > 0:
                loss = loss + self.options.lambda_locality * self._locality(changed, draws).sum()
            ranger.zero_grad(set_to_none=True)
            loss.backward()
            ranger.step()
        with torch.no_grad():
            return self._changed(weights, gradients, parameters) if self.options.steps else weights

    def _changed(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Equation 2: weights * (1 + change)."""
        changes = self.modules.changes(gradients, parameters)
        return {name: torch.addcmul(value, value, changes[name]).contiguous() for name, value in weights.items()}

    def _locality(self, changed: Mapping[str, Tensor], draws: list[torch.Generator]) -> Tensor:
        """The second term of equation 5 -> [N]: both generators draw a random latent in W alike."""
        with torch.no_grad():
            w = self.generator.mapping(randn(draws, self.generator.z_dim, like=self.generator.mean_latent))
            latents = self.generator.repeat(w)
            before = Likeness(self.networks, self.options, self.generator.synthesis(latents))
        return before(self.generator.synthesis(latents, weights=changed))
