"""StyleGAN2 projection: latents and noise maps optimised for one image each (Karras et al. 2020, appendix D).

Used by ``sg2_w`` and ``sg2_wplus``, from which PTI may start, and by DHR for its coarse inversion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invbench.api import Clock
from invbench.methods.common.batching import PerImageAdam, image_generators, randn
from invbench.methods.common.curves import show
from invbench.methods.common.losses import (
    PerceptualNetwork,
    PerceptualTarget,
    at_most,
    noise_regulariser,
    normalise_noise,
    ramp,
)

NOISE_WEIGHT = 1e5  # of the noise regulariser
LOSS_SIZE = 256  # pixels; larger pictures are area-resized for the perceptual loss


@dataclass(frozen=True)
class Spread:
    """mean [D] of W and std, the square root of the mean squared distance from it (a scalar)."""

    mean: Tensor
    std: Tensor


def sampled_spread(generator, samples: int) -> Spread:
    """The spread of ``samples`` latents of ``generator``, drawn as in NVlabs' projector with a fixed seed."""
    z = torch.from_numpy(np.random.RandomState(123).randn(samples, generator.z_dim)).to(generator.mean_latent)
    with torch.no_grad():
        w = generator.mapping(z).double()
    mean = w.mean(0)
    std = (w - mean).square().sum(1).mean().sqrt()
    return Spread(mean.to(generator.mean_latent), std.to(generator.mean_latent))


def reduced(images: Tensor) -> Tensor:
    """The view of NVlabs' projector: images [N, 3, H, W], area-resized to 256 pixels at the longer side if larger."""
    return at_most(images, LOSS_SIZE)


@dataclass(frozen=True)
class Projection:
    """latents [N, L, D]; noise_maps name -> [N, 1, r, r]; last_images [N, 3, H, W], as synthesised in the last step,
    before its update."""

    latents: Tensor
    noise_maps: dict[str, Tensor]
    last_images: Tensor


def project(
    generator,
    images: Tensor,
    *,
    latent_stats,
    perceptual: PerceptualNetwork,
    view: Callable[[Tensor], Tensor],
    space: str,
    steps: int,
    lr: float,
    seed: int,
    start: Tensor | None = None,
    latent_noise: float = 0.05,
    clock: Clock | None = None,
) -> Projection:
    """Project ``images`` [N, 3, H, W] in [-1, 1] into ``space`` "w" (one latent, repeated) or "w+" (one per layer).

    The loss is perceptual only, between the ``view`` of the output and that of the image (:func:`reduced`). The learning rate
    rises over the first 5 % and falls over the last 25 % of the steps; latents are jittered by ``latent_noise`` times the
    spread of W, fading out at 75 %. ``start`` [N, L, D] is the mean of ``latent_stats`` (mean [D], std) unless given.
    ``clock``: whom the picture of each step is shown to. Source: NVlabs/stylegan2-ada-pytorch, projector.
    """
    if space not in ("w", "w+"):
        raise ValueError(f'space: expected "w" or "w+", found {space!r}')
    n, layers = images.shape[0], generator.num_ws
    rows = 1 if space == "w" else layers
    draws = image_generators(images, seed)
    latents = latent_stats.mean.expand(n, rows, -1) if start is None else start[:, :rows]
    noise = {name: randn(draws, 1, r, r, like=images) for name, r in generator.noise_resolutions.items()}
    adam = PerImageAdam({"latents": latents, **noise}, lr)
    code = adam.parameters["latents"]
    maps = {name: adam.parameters[name] for name in noise}
    target = PerceptualTarget(perceptual, view(images))

    for step in range(steps):
        progress = step / steps
        adam.lr = lr * ramp(progress)
        jitter = latent_noise * float(latent_stats.std) * max(0.0, 1 - progress / 0.75) ** 2
        jittered = code + jitter * randn(draws, *code.shape[1:], like=code)
        output = generator.synthesis(jittered.expand(-1, layers, -1), noise_maps=maps)
        show(clock, step, output)
        loss = target.distance(view(output)) + NOISE_WEIGHT * noise_regulariser(list(maps.values()))
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        normalise_noise(list(maps.values()))

    found = adam.result()
    with torch.no_grad():
        return Projection(
            latents=found.pop("latents").expand(-1, layers, -1).contiguous(), noise_maps=found, last_images=output.detach()
        )
