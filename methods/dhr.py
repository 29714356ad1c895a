"""Domain-specific hybrid refinement: tuned weights for the in-domain part of a picture, a stored feature for the
out-of-domain part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from skimage.segmentation import slic
from torch import Tensor

from invbench.api import Clock, Edit, Embedder, InvbenchError, Inversion
from invbench.methods.common.batching import PerImageAdam
from invbench.methods.common.beside import started
from invbench.methods.common.curves import show
from invbench.methods.common.losses import PerceptualTarget, region_mean
from invbench.methods.common.projection import LOSS_SIZE, project
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.options import Options

SPEC = {
    "id": "dhr",
    "class": "DHR",
    "title": "DHR",
    "family": "hybrid",
    "paper": "Cao et al., What Decreases Editing Capability? Domain-Specific Hybrid Refinement for Improved GAN Inversion",
    "venue": "WACV 2024",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "perceptual_alex", "parser", "directions"],
    "refines": ["w", "w+"],
    "embedder": "e4e",
    "options": {
        "coarse_steps": {
            "default": 40,
            "unit": "steps",
            "range": "[1, inf)",
            "help": "projection steps of the coarse inversion in W",
        },
        "coarse_lr": {
            "default": 0.1,
            "unit": "per step",
            "range": "(0, inf)",
            "help": "peak learning rate of the coarse inversion",
        },
        "segments": {"default": 200, "unit": "superpixels", "range": "[1, inf)", "help": "superpixels requested of SLIC"},
        "compactness": {"default": 30.0, "unit": "", "range": "(0, inf)", "help": "SLIC compactness"},
        "sigma": {"default": 1.0, "unit": "pixels", "range": "[0, inf)", "help": "smoothing before SLIC"},
        "error_at": {
            "default": "map",
            "unit": "",
            "choices": ["map", "picture"],
            "help": '"map": superpixels are reduced to the size of each error map (nearest); one without a cell is '
            'out-of-domain; "picture": the maps are enlarged (nearest), so that every superpixel has an error',
        },
        "outside": {
            "default": ["background", "cloth", "hat", "ear_r", "neck_l"],
            "unit": "",
            "help": "parsing classes that are always out-of-domain (the last two: earring and necklace)",
        },
        "face": {"default": ["skin"], "unit": "", "help": "parsing classes under threshold_face"},
        "parts": {
            "default": ["l_ear", "r_ear", "l_brow", "r_brow", "l_eye", "r_eye", "nose", "mouth", "u_lip", "l_lip"],
            "unit": "",
            "help": "parsing classes under threshold_parts",
        },
        "threshold_face": {
            "default": 0.7,
            "unit": "LPIPS",
            "range": "[0, inf)",
            "help": "a superpixel of the face with an error below this is in-domain",
        },
        "threshold_parts": {"default": 0.8, "unit": "LPIPS", "range": "[0, inf)", "help": "the same for the parts of the face"},
        "threshold_rest": {"default": 0.6, "unit": "LPIPS", "range": "[0, inf)", "help": "the same for all other classes"},
        "feature_resolution": {
            "default": 128,
            "unit": "pixels",
            "choices": [4, 8, 16, 32, 64, 128, 256, 512],
            "help": "resolution of the block whose output is stored",
        },
        "feature_steps": {"default": 100, "unit": "steps", "range": "[0, inf)", "help": "optimisation steps of the feature"},
        "feature_lr": {"default": 0.09, "unit": "per step", "range": "(0, inf)", "help": "learning rate of the feature"},
        "weight_steps": {
            "default": 50,
            "unit": "steps",
            "range": "[0, inf)",
            "help": "number of these steps, from the first, that also tune the weights",
        },
        "weight_lr": {"default": 1.5e-3, "unit": "per step", "range": "(0, inf)", "help": "learning rate of the weights"},
        "lambda_lpips": {
            "default": 1.0,
            "unit": "",
            "range": "[0, inf)",
            "help": "weight of the perceptual loss in both regions",
        },
        "lambda_mse": {"default": 1.0, "unit": "", "range": "[0, inf)", "help": "weight of the pixel loss in both regions"},
        "seed": {"default": 0, "unit": "", "range": "[0, 4294967296)", "help": "seed of the coarse inversion"},
    },
    "presets": {"released": {}, "paper": {"threshold_rest": 0.7}},
    "summary": "Preset released: caopulan/GANInverter, whose third threshold, 0.6, the paper does not name. "
    "Not taken over: without a face, its parser calls all of a picture background; a region without a pixel makes its loss "
    "undefined (here 0); and the variance of its noise maps is divided by n - 1.",
}


def clamped(images: Tensor) -> Tensor:
    """The view of the coarse inversion: images [N, 3, H, W] clamped to [-1, 1], bilinearly reduced to at most 256 pixels."""
    images, longer = images.clamp(-1, 1), max(images.shape[-2:])
    height, width = (round(side * LOSS_SIZE / longer) for side in images.shape[-2:])
    return F.interpolate(images, size=(height, width), mode="bilinear") if longer > LOSS_SIZE else images


def superpixel_means(labels: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Mean of ``error`` [h, w] over each superpixel of ``labels`` [H, W], reduced to [h, w] by nearest; inf without a cell."""
    rows, columns = (np.arange(small) * large // small for small, large in zip(error.shape, labels.shape, strict=True))
    reduced, count = labels[np.ix_(rows, columns)].ravel(), labels.max() + 1
    area = np.bincount(reduced, minlength=count)
    total = np.bincount(reduced, weights=error.ravel(), minlength=count)
    return np.divide(total, area, out=np.full(count, np.inf), where=area > 0)


class DHR:
    """DHR (Cao et al., WACV 2024; caopulan/GANInverter): hybrid refinement of latents; see :class:`invbench.api.Method`."""

    def __init__(self, networks, options: Options, embedder: Embedder):
        self.networks, self.options, self.embedder = networks, options, embedder
        self.generator = networks["generator"]
        self.perceptual = networks["perceptual_alex"]
        if options.feature_resolution >= self.generator.resolution:
            raise InvbenchError(
                f"dhr.feature_resolution: expected less than the generator's {self.generator.resolution}, "
                f"found {options.feature_resolution}"
            )
        self.position = f"b{options.feature_resolution}.conv1"
        classes = networks["parser"].classes
        for name in (*options.outside, *options.face, *options.parts):
            if name not in classes:
                raise InvbenchError(f"dhr: {name!r} is no class of the parser ({', '.join(classes)})")
        self.outside = [classes.index(name) for name in options.outside]
        thresholds = dict.fromkeys(options.parts, options.threshold_parts) | dict.fromkeys(options.face, options.threshold_face)
        self.thresholds = np.array([thresholds.get(name, options.threshold_rest) for name in classes])

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        latents = self.embedder.embed(images, clock)
        with clock.stage("segment"):
            domain = self._segment(images)
        with clock.stage("refine"):
            feature, weights = self._refine(images, latents, domain, clock)
        state = {f"weights.{name}": value for name, value in weights.items()} | {"feature": feature, "domain_mask": domain}
        with clock.stage("synthesise"), torch.no_grad():
            output = self._synthesise(latents, state)
        return Inversion(latents, output, state)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        with clock.stage("edit"), torch.no_grad():
            return self._synthesise(self.networks["directions"].move(inversion.latents, edit), inversion.state)

    def max_batch(self, memory: int) -> int:
        return min(self.embedder.max_batch(memory), self.generator.max_batch(memory, per_image_weights=True))

    def _synthesise(self, latents: Tensor, state) -> Tensor:
        weights = {name.removeprefix("weights."): value for name, value in state.items() if name.startswith("weights.")}
        pasted = FeatureEdit.blend(state["feature"], self._at_feature(state["domain_mask"]))
        return self.generator.synthesis(latents, weights=weights, features={self.position: pasted})

    def _at_feature(self, domain: Tensor) -> Tensor:
        """The domain mask [N, 1, H, W] at the feature's resolution; soft at its borders."""
        return F.adaptive_avg_pool2d(self.generator.on_canvas(domain, outside=1.0), self.options.feature_resolution)

    # ---- domain-specific segmentation (section 3.2 of the paper)

    def _segment(self, images: Tensor) -> Tensor:
        """Domain mask [N, 1, H, W]: 1 = in-domain, where the coarse inversion's error is small and there are no extras."""
        pictures = ((images.movedim(1, 3) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
        superpixels = started(self._superpixels, pictures, device=images.device)
        coarse = project(
            self.generator,
            images,
            latent_stats=self.networks["latent_stats"],
            perceptual=self.networks["perceptual_vgg"],
            view=clamped,
            space="w",
            steps=self.options.coarse_steps,
            lr=self.options.coarse_lr,
            seed=self.options.seed,
        )
        with torch.no_grad():
            errors = self.networks["perceptual_vgg"].maps(coarse.last_images, images)
            if self.options.error_at == "picture":
                errors = [F.interpolate(e, size=images.shape[-2:], mode="nearest") for e in errors]
            errors = [e[:, 0].double().cpu().numpy() for e in errors]
            scores = self.networks["parser"](images).softmax(1)
        scores_np = scores.double().cpu().numpy()
        masks = [self._in_domain(found(), [e[i] for e in errors], scores_np[i]) for i, found in enumerate(superpixels)]
        by_error = torch.from_numpy(np.stack(masks)).to(images)[:, None]
        by_parsing = (scores[:, self.outside].sum(1, keepdim=True) < 0.5).to(images)
        return by_error * by_parsing

    def _superpixels(self, picture: np.ndarray) -> np.ndarray:
        """The number [H, W] of each pixel's superpixel in a picture uint8 [H, W, 3]."""
        labels: np.ndarray = slic(
            picture[..., ::-1],  # the released code passes a BGR picture to SLIC
            n_segments=self.options.segments,
            compactness=self.options.compactness,
            sigma=self.options.sigma,
            start_label=0,
            channel_axis=2,
        )
        return labels

    def _in_domain(self, labels: np.ndarray, errors: list[np.ndarray], scores: np.ndarray) -> np.ndarray:
        """Superpixels [H, W] whose error, summed over the perceptual layers, is below the threshold of their class.

        ``labels`` [H, W] numbers of superpixels; ``errors`` [h, w] of each layer; ``scores`` [C, H, W]. A superpixel without a
        cell in some layer is out-of-domain.
        """
        error = sum(superpixel_means(labels, e) for e in errors)
        votes = np.stack([np.bincount(labels.ravel(), weights=s.ravel()) for s in scores])
        return (error < self.thresholds[votes.argmax(0)])[labels]

    # ---- hybrid modulation refinement (section 3.3 of the paper)

    def _refine(
        self, images: Tensor, latents: Tensor, domain: Tensor, clock: Clock | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The feature [N, C, r, r], optimised by the out-of-domain loss, and the weights, tuned by the in-domain loss.

        Both losses come from the same forward pass, made before either step.
        """
        with torch.no_grad():
            _, features = self.generator.synthesis(latents, return_features=[self.position])
        feature = PerImageAdam({"feature": features[self.position]}, self.options.feature_lr)
        weights = PerImageAdam(self.generator.per_image_parameters(images.shape[0]), self.options.weight_lr)
        pooled = self._at_feature(domain)
        target = PerceptualTarget(self.perceptual, images)
        free, tuned = feature.parameters["feature"], list(weights.parameters.values())
        current = weights.parameters
        for step in range(self.options.feature_steps):
            tuning = step < self.options.weight_steps
            if step == self.options.weight_steps:
                current = weights.result()
            blended = {self.position: FeatureEdit.blend(free, pooled)}
            output = self.generator.synthesis(latents, features=blended, weights=current)
            show(clock, step, output)
            inside, outside = self._region_losses(output, images, domain, pooled, target.maps(output))
            (free.grad,) = torch.autograd.grad(outside.sum(), [free], retain_graph=tuning)
            if tuning:
                gradients = torch.autograd.grad(inside.sum(), tuned, allow_unused=True)
                for parameter, gradient in zip(tuned, gradients, strict=True):
                    parameter.grad = gradient
                weights.step()
            feature.step()
        return feature.result()["feature"], weights.result()

    def _region_losses(
        self, output: Tensor, images: Tensor, domain: Tensor, pooled: Tensor, maps: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Equations 6 and 7 of the paper, with the perceptual ``maps`` of the output -> in-domain [N], out-of-domain [N].

        The soft mask of the feature weights the perceptual maps, the full-size mask the pixels, as in the released code.
        """
        squared = (output - images).square()
        pooled = self.generator.off_canvas(pooled)
        losses = []
        for full, soft in ((domain, pooled), (1 - domain, 1 - pooled)):
            perceptual = sum(region_mean(m, F.interpolate(soft, size=m.shape[-2:], mode="nearest")) for m in maps)
            losses.append(self.options.lambda_lpips * perceptual + self.options.lambda_mse * region_mean(squared, full))
        return losses[0], losses[1]
