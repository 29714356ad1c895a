"""Losses and schedules that several methods share. Every loss has one value per image, [N]."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class PerceptualNetwork(Protocol):
    """An LPIPS network (Zhang et al. 2018): channel-weighted squared differences of unit-normalised features."""

    def features(self, images: Tensor) -> list[Tensor]:
        """[N, 3, H, W] in [-1, 1] -> one [N, C, h, w] for each layer."""

    def maps_between(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        """As :meth:`maps`, from what :meth:`features` gave."""

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """[N, 3, H, W] twice, in [-1, 1] -> [N]."""

    def maps(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """The distance before spatial averaging: one [N, 1, h, w] for each layer."""


class PerceptualTarget:
    """Fixed images [N, 3, H, W] in [-1, 1], whose features are computed once for all steps of a loop."""

    def __init__(self, network: PerceptualNetwork, images: Tensor):
        self.network = network
        with torch.no_grad():
            self.features = network.features(images)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The distance of ``images`` before spatial averaging: one [N, 1, h, w] for each layer."""
        return self.network.maps_between(self.network.features(images), self.features)

    def distance(self, images: Tensor) -> Tensor:
        """The sum over layers of the maps' spatial means -> [N]."""
        return torch.stack([layer.mean((1, 2, 3)) for layer in self.maps(images)]).sum(0)

    def keep(self, rows: Tensor) -> None:
        """Keep only the images that ``rows`` (bool [N]) marks, in their order."""
        if not rows.all():
            self.features = [layer[rows] for layer in self.features]


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error of images [N, 3, H, W] in [-1, 1], mean over C, H, W -> [N]."""
    return (a - b).square().flatten(1).mean(1)


def size_at_most(images: Tensor, size: int) -> tuple[int, int]:
    """(height, width) of images [N, C, H, W] after reducing the longer side to ``size`` pixels, if it is larger."""
    longer = max(images.shape[-2:])
    height, width = (round(side * min(1.0, size / longer)) for side in images.shape[-2:])
    return height, width


def at_most(images: Tensor, size: int) -> Tensor:
    """Images [N, 3, H, W], area-resized to ``size`` pixels at the longer side if it is larger (NVlabs projector, SAM)."""
    smaller = size_at_most(images, size)
    return images if smaller == images.shape[-2:] else F.interpolate(images, size=smaller, mode="area")


def noise_regulariser(noise_maps: list[Tensor]) -> Tensor:
    """Autocorrelation of noise maps [N, 1, r, r] with their one-pixel shifts, over a pyramid down to 8x8 -> [N].

    Karras et al. 2020 (StyleGAN2), appendix on projection; NVlabs/stylegan2-ada-pytorch, projector.
    """
    total = noise_maps[0].new_zeros(noise_maps[0].shape[0])
    for noise in noise_maps:
        while True:
            for axis in (2, 3):
                total = total + (noise * noise.roll(1, axis)).flatten(1).mean(1).square()
            if noise.shape[-1] <= 8:
                break
            noise = F.avg_pool2d(noise, 2)
    return total


def normalise_noise(noise_maps: list[Tensor]) -> None:
    """Normalise every map [N, 1, r, r] to zero mean and unit mean square, each image separately, in place."""
    with torch.no_grad():
        for noise in noise_maps:
            noise -= noise.mean((1, 2, 3), keepdim=True)
            noise *= noise.square().mean((1, 2, 3), keepdim=True).rsqrt()


def ramp(progress: float, *, up: float = 0.05, down: float = 0.25) -> float:
    """Factor of the learning rate at ``progress`` in [0, 1): linear rise over ``up``, cosine fall over the last ``down``.

    Karras et al. 2020, appendix on projection.
    """
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - progress) / down))
    return fall * min(1.0, progress / up)


def leaky_inverse(latents: Tensor) -> Tensor:
    """Invert the mapping network's last leaky ReLU (slope 0.2), up to its gain: random latents become nearly Gaussian.

    Wulff and Torralba 2020, "Improving inversion and generation diversity in StyleGAN using a Gaussianized latent space".
    """
    return F.leaky_relu(latents, 5.0)


def gaussian_prior(latents: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """Sum over the L latents [N, L, D] of the squared length of ``factor (leaky_inverse(w) - mean)`` -> [N].

    ``mean`` [D] and ``factor`` [D, D] of the inverse covariance are float64, and so are the products; the result has the
    precision of ``latents``. Parmar et al. 2022, equation 6, after Wulff and Torralba 2020; the paper prints the covariance
    where the Gaussian has its inverse, adobe-research/sam_inversion has the inverse.
    """
    offset = leaky_inverse(latents.double()) - mean
    return (offset @ factor.T).square().sum((1, 2)).to(latents.dtype)


def region_mean(error: Tensor, region: Tensor) -> Tensor:
    """Sum of ``error`` [N, C, h, w] over ``region`` [N, 1, h, w], divided by the region's area -> [N]; 0 where it is empty.

    The channel axis is summed, not averaged, as caopulan/GANInverter does: over RGB this is three times the usual mean.
    """
    area = region.flatten(1).sum(1)
    total = (error * region).flatten(1).sum(1)
    return torch.where(area > 0, total / area.clamp_min(1e-8), torch.zeros_like(total))
