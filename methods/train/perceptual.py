"""The LPIPS-style networks of procfaces: one for losses, one (with another seed and other data) for the metric.

First the features are trained on tasks that need every detail: all factors, the parsing map, and the severity of each
distortion of a picture. Then the features are frozen, and their channel weights are learned from pairs of distorted copies of
known order, by a ranking loss as in LPIPS (Zhang et al. 2018). Two orders are used: one copy has the same kinds of distortion
as the other, all more severe; and at equal mean squared error, a change of colour or contrast is milder than blur, noise,
pixels, a warp or a patch (shown by Wang et al., IEEE TIP 2004, figure 2).

During training the features are normalised over the batch; the normalisations are then folded into the kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from invbench.datasets.procfaces import PARSING_CLASSES, K, sample_factors
from invbench.methods.train.common import Recipe, Step, cosine, descend, muon_and_adam, seeded, step_generator, step_rng
from invbench.methods.train.renders import DISTORTIONS, Distortion, blurred, draw, rendered, some_extras
from invbench.metrics.nets.perceptual import Perceptual, average

RECIPES = {
    "perceptual": {"minutes": 6.0, "seed": 11, "help": "LPIPS-style network for losses", "options": {}},
    "perceptual_metric": {"minutes": 6.0, "seed": 12, "help": "LPIPS-style network for the metric lpips_proc", "options": {}},
}

BATCH = 16
FEATURES_SHARE = 0.8  # share of the budget; the rest is for the channel weights
TWO_FACES = 0.6  # mean distance of two random faces after calibration
VALIDATION = 90_000  # first step number that validation draws from; training never reaches it


class Training(Recipe):
    """Features for the first part of the budget, channel weights for the rest."""

    network: Perceptual
    heads: _Heads

    def __init__(self, *, seed: int, device: torch.device | str) -> None:
        self.seed, self.device = seed, device
        with seeded(seed):
            self.config: dict[str, Any] = {"widths": [16, 32, 48, 64], "depths": [1, 2, 2, 1]}
            self.network = Perceptual(**self.config).to(device)
            self.heads = _Heads(self.network, self.config["widths"]).to(device)
        # each stage starts with the same total weight
        for weight in self.network.weights:
            nn.init.constant_(weight, 1.0 / len(self.network.weights))
        self.optimisers = [
            *muon_and_adam(self.network.stages, self.heads),
            torch.optim.Adam(self.network.weights.parameters(), lr=5e-3),
        ]

    def step(self, index: int, progress: float) -> Step:
        if progress < FEATURES_SHARE:
            losses = self._features_losses(index)
            descend(torch.stack(list(losses.values())).sum(), self.optimisers[:2], cosine(progress / FEATURES_SHARE))
        else:
            self.heads.fold(self.network)
            losses = {"rank": self._ranking_loss(index)}
            descend(losses["rank"], self.optimisers[2:], cosine((progress - FEATURES_SHARE) / (1 - FEATURES_SHARE)))
            with torch.no_grad():
                for weight in self.network.weights:
                    weight.clamp_(min=0.0)
        return Step(images=BATCH, losses={key: float(value.detach()) for key, value in losses.items()})

    def _features_losses(self, index: int) -> dict[str, Tensor]:
        generator = step_generator(self.seed, index, device=self.device)
        batch = draw(step_rng(self.seed, index), BATCH, self.device, occluded=0.3)
        severity = random_severity(BATCH, generator)
        severity[: BATCH // 2] = 0.0
        images = Distortion.draw(batch.images, generator).apply(batch.images, severity)
        factors, distortions, parsing = self.heads(self.heads.normalised(self.network, images))
        # nearest neighbours, as labels cannot be averaged
        labels = F.interpolate(batch.parsing[:, None].float(), size=parsing.shape[-2:], mode="nearest")[:, 0].long()
        return {
            "factors": 6.0 * F.mse_loss(factors, batch.u),
            "distortions": 2.0 * F.mse_loss(distortions, severity),
            "parsing": 0.5 * F.cross_entropy(parsing, labels),
        }

    def _ranking_loss(self, index: int) -> Tensor:
        reference, mild, severe = ordered_pictures(self.seed, index, BATCH, self.device)
        with torch.no_grad():
            features = [self.network.features(x) for x in (reference, mild, severe)]
        near, far = (average(self.network.maps_between(features[0], other)) for other in features[1:])
        spread = torch.stack([weight.mean() for weight in self.network.weights])
        # the mean weight of every stage is kept near its initial value; otherwise one stage could get all the weight
        anchor = (spread * len(spread) - 1.0).square().sum()
        return F.softplus(-4.0 * (torch.log(far + 1e-3) - torch.log(near + 1e-3))).mean() + 0.05 * anchor

    @torch.no_grad()
    def finish(self, network: nn.Module) -> None:
        assert isinstance(network, Perceptual)
        self.heads.fold(network)
        distances = torch.cat([self._two_faces(network, VALIDATION + i) for i in range(8)])
        network.scale.mul_(TWO_FACES / distances.mean())

    def _two_faces(self, network: Perceptual, index: int) -> Tensor:
        images = draw(step_rng(self.seed, index), 2 * BATCH, self.device).images
        return network.distance(images[:BATCH], images[BATCH:])

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Share of held-out pairs in the right order; distances of known changes; figures of the feature heads."""
        assert isinstance(network, Perceptual)
        right = []
        for i in range(16):
            reference, mild, severe = ordered_pictures(self.seed, VALIDATION + 100 + i, BATCH, self.device)
            right.append((network.distance(reference, severe) > network.distance(reference, mild)).double().view(2, -1))
        rng = step_rng(self.seed, VALIDATION + 200)
        u = sample_factors(rng, 128)
        plain, occluded = rendered(u, None, self.device), rendered(u, some_extras(rng, u, 1.0), self.device)
        changed = {"extras": occluded.images, "mild_blur": blurred(plain.images, torch.full((128,), 0.3, device=self.device))}
        drawn = Distortion.draw(plain.images, step_generator(self.seed, VALIDATION + 202, device=self.device))
        for i, name in enumerate(DISTORTIONS):
            severity = torch.zeros(128, len(DISTORTIONS), device=self.device)
            severity[:, i] = 1.0
            changed[name] = drawn.apply(plain.images, severity)
        figures = {
            "ranked_right_equal_error": float(torch.cat(right, 1)[0].mean()),
            "ranked_right_worse_copy": float(torch.cat(right, 1)[1].mean()),
            "distance_two_faces": float(self._two_faces(network, VALIDATION + 201).double().mean()),
        }
        figures |= {f"distance_{k}": float(network.distance(plain.images, x).double().mean()) for k, x in changed.items()}
        factors, _, parsing = self.heads(network.features(plain.images))
        residual = (factors - plain.u).double().square().mean(0) / plain.u.double().var(0, correction=0)
        figures["factors_r2_mean"] = float((1.0 - residual).mean())
        return figures


class _Heads(nn.Module):
    """The tasks of the features (factors, severities of distortions, parsing map), and the normalisations during training."""

    def __init__(self, network: Perceptual, widths: list[int]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(layer.out_channels) for layer in convolutions(network))
        self.folded: Tensor
        self.register_buffer("folded", torch.tensor(False))
        hidden = 128
        self.shared = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * widths[-1], hidden), nn.ReLU(), nn.Linear(hidden, K)
        )
        self.severity = nn.Sequential(nn.Linear(sum(widths), 64), nn.ReLU(), nn.Linear(64, len(DISTORTIONS)))
        self.pixels = nn.ModuleList(nn.Conv2d(width, len(PARSING_CLASSES), 1) for width in widths)

    def normalised(self, network: Perceptual, images: Tensor) -> list[Tensor]:
        """As ``network.features``, but each convolution is followed by its normalisation over the batch."""
        norms = iter(self.norms)
        maps = []
        for stage in network.stages:
            for layer in stage.children():
                images = layer(images)
                if isinstance(layer, nn.Conv2d):
                    images = next(norms)(images)
            maps.append(images)
        return maps

    @torch.no_grad()
    def fold(self, network: Perceptual) -> None:
        """Fold the learned normalisations into the kernels of ``network``; later calls do nothing."""
        if self.folded:
            return
        for layer, norm in zip(convolutions(network), self.norms, strict=True):
            assert isinstance(norm, nn.BatchNorm2d)
            fused = fuse_conv_bn_eval(layer.eval(), norm.eval())
            layer.load_state_dict(fused.state_dict())
        self.folded.fill_(True)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The stages' maps -> factors [N, K], severities [N, D], parsing logits [N, C, h, w] at the first stage's size."""
        size = features[0].shape[-2:]
        scores = [head(x) for head, x in zip(self.pixels, features, strict=True)]
        parsing = torch.stack([F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in scores]).sum(0)
        pooled = torch.cat([x.mean((2, 3)) for x in features], 1)
        return self.shared(features[-1]), self.severity(pooled), parsing


def convolutions(network: Perceptual) -> list[nn.Conv2d]:
    """The convolutions of ``network``, in the order of computation."""
    return [layer for layer in network.stages.modules() if isinstance(layer, nn.Conv2d)]


def random_severity(n: int, generator: torch.Generator) -> Tensor:
    """Severities [n, len(DISTORTIONS)] in [0, 1]; one to all of them, mostly two, are not 0."""
    shape = (n, len(DISTORTIONS))
    chosen = torch.rand(shape, generator=generator, device=generator.device) < 1.0 / len(DISTORTIONS)
    certain = torch.randint(len(DISTORTIONS), (n, 1), generator=generator, device=generator.device)
    chosen.scatter_(1, certain, True)
    return torch.rand(shape, generator=generator, device=generator.device) * chosen


def ordered_pictures(seed: int, index: int, n: int, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """(reference, mild, severe) images [n, 3, H, W], n even.

    First half: a change of colour and contrast, and a structural distortion with the same mean squared error. Second half: the
    same kinds of distortion, drawn again (another noise, another patch) at lower and higher severities; factors changed less
    and more in the same direction; and in half of the cases out-of-domain extras in the severe image only.
    """
    rng, generator = step_rng(seed, index, 1), step_generator(seed, index, 1, device)
    half = n // 2
    plain = draw(rng, half, device).images
    equal = equal_error(plain, generator)
    u = sample_factors(rng, half)
    moved = (rng.random((half, K)) < 3.0 / K) * (rng.random((half, 1)) < 0.5)
    towards = u + moved * (sample_factors(rng, half) - u)
    share = rng.uniform(0.3, 0.9, (half, 1))
    extras = some_extras(rng, u, 0.5)
    reference, mild, severe = (
        rendered(np.clip(factors, 0.0, 1.0), things, device).images
        for factors, things in ((u, None), (u + share * (towards - u), None), (towards, extras))
    )
    severity = random_severity(half, generator)
    less = severity * torch.from_numpy(share).to(severity)
    mild, severe = (
        Distortion.draw(reference, generator).apply(images, strength) for images, strength in ((mild, less), (severe, severity))
    )
    return torch.cat([plain, reference]), torch.cat([equal[0], mild]), torch.cat([equal[1], severe])


def equal_error(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [n, 3, H, W] with changed colour and contrast, and images with structural distortions of equal squared error."""
    n, shades = len(images), torch.tensor([name in ("colour", "contrast") for name in DISTORTIONS], device=images.device)
    severity = torch.rand((n, len(DISTORTIONS)), generator=generator, device=images.device)
    kind = torch.multinomial((~shades).float().expand(n, -1), 1, generator=generator)
    structure = torch.zeros_like(severity).scatter_(1, kind, 0.3 + 0.7 * severity.gather(1, kind))
    drawn = Distortion.draw(images, generator)
    distorted = drawn.apply(images, structure)
    change = drawn.apply(images, severity * shades) - images
    ratio = (distorted - images).square().mean((1, 2, 3)).sqrt() / (change.square().mean((1, 2, 3)).sqrt() + 1e-4)
    return images + ratio.view(n, 1, 1, 1) * change, distorted
