"""Recipe of the Feature-Style encoder: Yao et al. 2022; InterDigitalInc/FeatureStyleEncoder, trainer.py and configs/001.yaml.

Half of the pictures are drawn by the generator, half are real. Each is inverted twice, with new noise and with the noise that
the first half was drawn with. Losses: L2 of the drawn half, of the first pass (weight 1); perceptual distance at three scales
(0.2), identity over the levels of its network (0.1) and parsing (0.1) of both passes; and the squared distance of the feature
from the generator's own one (0.01), which has no gradient. The feature is blended in over the first twelfth of the training; in
the last sixth the rate is a tenth. Ranger.

The identity loss sums 1 - cosine over the outputs of four stages and the embedding, as published; the parser of this domain has
one output where BiSeNet has three. Scales that are too small for the perceptual network are left out.

Departures, for a budget of minutes where the authors train 120,000 steps: all in ``SHORTENED``, beside the reduced widths,
and the warm start of invbench.methods.train.encoding in place of the weights of a face recognition network. The distance of
the features is in units of the mean square of the generator's own one, 0.009 here, and the branch's last normalisation starts
with the mean and the spread of its channels. With neither, the encoder's feature grew to a root mean square of 1.1, which no
loss opposed, and the change of the generator's own one under an edit, 0.004, was nothing beside it: a step of 5 years moved age
by 0.3 years, the latents alone by 2.4 (48 pictures of ``val``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.common.ranger import Ranger
from invbench.methods.feature_style import FeatureStyle
from invbench.methods.nets.feature_style import FeatureStyleEncoder
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.train.common import ZOO, Recipe, Step, descend, seeded, step_generator
from invbench.methods.train.encoding import NOISE, Reconstruction, after_warm_start
from invbench.methods.train.frozen import load_frozen
from invbench.metrics.nets.layers import Residual
from invbench.options import Options

RECIPES = {"feature_style": {"minutes": 15, "seed": 0, "help": "encoder of latents and of a feature"}}

WEIGHTS = {"l2": 1.0, "lpips": 0.2, "id": 0.1, "parsing": 0.1, "feature": 0.01}
SCALES = 3  # of the perceptual distance, each half of the one before
BLENDED, LOWERED, FACTOR = 1 / 12, 10 / 12, 0.1  # 10,000 of 120,000 steps; 10 of 12 epochs; the rate from there on
SMALLEST = 16  # pixels that the perceptual network needs
DRAWN = 2  # stream of randomness within one step, beside those of invbench.methods.train.encoding
DRAWN_FEATURES = 64  # pictures whose features the branch starts like
# What is not as published: a higher rate (1e-4), more pictures in a step (2), and strides by which the third stage has the size
# of the feature, 16 x 16 for pictures of 64, as it is twice as large for those of 256.
SHORTENED: dict[str, Any] = {"lr": 1e-3, "batch": 8, "resolution": 16, "strides": (1, 2, 2, 2), "feature_stride": 1}


def architecture(generator: Any) -> dict[str, Any]:
    """Arguments of the reduced encoder for ``generator``."""
    return {
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "size": generator.resolution,
        "stages": [[8, 1], [24, 2], [48, 3], [48, 2]],
        "strides": list(SHORTENED["strides"]),
        "feature": generator.channels[SHORTENED["resolution"]],
        "feature_stride": SHORTENED["feature_stride"],
    }


class Training(Recipe):
    """``lr`` is the peak rate, ``batch`` the pictures in a step, an even number; ``zoo`` holds the frozen networks."""

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        batch: int = SHORTENED["batch"],
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.batch, self.device = seed, batch, torch.device(device)
        self.resolution = SHORTENED["resolution"]
        self.place = f"b{self.resolution}.conv1"
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.parser = load_frozen("parser", device=device, zoo=zoo)
        self.config = architecture(self.generator)
        with seeded(seed):
            self.network = FeatureStyleEncoder(**self.config)
        self._start_as_own(self.network.content_layer[-1])
        self.float32 = self.reconstruction.prepare(self.network)
        self.heads = nn.Module()
        self.optimisers = [Ranger(self.network.parameters(), lr)]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        published = after_warm_start(progress)
        if published < 0:
            return self.reconstruction.learn_latents(self.network(target)[0], w, self.optimisers[0], scale=1.0)
        half = self.batch // 2
        noise = self._maps(step_generator(self.seed, index, DRAWN, self.device), half)
        with torch.no_grad():
            drawn = self.generator.synthesis(self.generator.repeat(w[:half]), noise_maps=noise)
        images = torch.cat([drawn, target[half:]])
        total, losses = self._losses(images, index, noise, blend=min(1.0, published / BLENDED))
        descend(total, self.optimisers, FACTOR if published >= LOWERED else 1.0)
        return Step(self.batch, {name: value.item() for name, value in losses.items()})

    @torch.no_grad()
    def _start_as_own(self, last: Any) -> None:
        """Give a normalisation the mean and the standard deviation of the generator's own feature as its bias and weight."""
        w = self.reconstruction.pictures(0, DRAWN_FEATURES)[1]
        latents = self.generator.repeat(w)
        own = self.generator.synthesis(latents, return_features=[self.place])[1][self.place].cpu()
        last.weight.copy_(own.std((0, 2, 3)))
        last.bias.copy_(own.mean((0, 2, 3)))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself, with the stored noise; ``psnr_latents`` is that of the latents alone."""
        networks = {"generator": self.generator, "encoder_feature_style": network, "directions": None}
        options = Options("feature_style", {"feature_resolution": self.resolution, "noise": "const", "seed": 0})
        row = FeatureStyle(networks, options)
        found = self.reconstruction.validate_method(row)
        return {**found, "psnr_latents": self.reconstruction.validate(lambda images: network(images)[0])["psnr"]}

    def _losses(
        self, images: Tensor, index: int, noise: dict[str, Tensor], *, blend: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its parts; ``noise`` [N / 2, 1, r, r] are the maps that the first half was drawn with."""
        half = len(images) // 2
        latents, feature = self.network(images)
        edit = FeatureEdit.blend(feature, feature.new_full((1, 1, 1, 1), 1.0 - blend))
        new = self._maps(step_generator(self.seed, index, NOISE, self.device), len(images))
        first = self.generator.synthesis(latents, noise_maps=new, features={self.place: edit})
        with torch.no_grad():
            own = self.generator.synthesis(latents, noise_maps=new, return_features=[self.place])[1][self.place]
        old = {layer: torch.cat([one, one]) for layer, one in noise.items()}
        second = self.generator.synthesis(latents, noise_maps=old, features={self.place: edit})
        losses = {"l2": F.mse_loss(first[:half], images[:half]), "feature": F.mse_loss(feature, own) / own.square().mean()}
        for output in (first, second):
            for name, value in self._distances(output, images).items():
                losses[name] = losses.get(name, 0) + value
        return torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum(), losses

    def _distances(self, output: Tensor, images: Tensor) -> dict[str, Tensor]:
        found, scale = [], (output, images)
        for _ in range(SCALES):
            if scale[0].shape[-1] >= SMALLEST:
                found.append(self.reconstruction.perceptual.distance(*scale).mean())
            scale = (F.avg_pool2d(scale[0], 2), F.avg_pool2d(scale[1], 2))
        levels = zip(*(identity_levels(self.reconstruction.identity, one) for one in (output, images)), strict=True)
        return {
            "lpips": torch.stack(found).sum(),
            "id": torch.stack([_apart(a, b) for a, b in levels]).sum(),
            "parsing": _apart(self.parser(output), self.parser(images)),
        }

    def _maps(self, draw: torch.Generator, count: int) -> dict[str, Tensor]:
        """Random noise maps [count, 1, r, r] of every layer."""
        return {
            layer: torch.randn(count, 1, size, size, generator=draw, device=self.device)
            for layer, size in self.generator.noise_resolutions.items()
        }


def identity_levels(network: Any, images: Tensor) -> list[Tensor]:
    """What the stages of the identity network give, and its embedding."""
    levels, x = [], images
    for layer in network.trunk:
        x = layer(x)
        if isinstance(layer, Residual):
            levels.append(x)
    return [*levels, F.normalize(x, dim=1)]


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Mean of 1 - cosine of [N, ...]."""
    return (1 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)).mean()
