"""Small networks with the interface of the judging ones, and pictures to judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import MetricInput, Sample


class Perceptual(nn.Module):
    """Two layers of random features at full and half resolution."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.kernels = [torch.randn(4, c, 3, 3, generator=generator) for c in (3, 4)]

    def features(self, images: Tensor) -> list[Tensor]:
        result = []
        for kernel in self.kernels:
            images = F.avg_pool2d(F.conv2d(images, kernel, padding=1).relu(), 2)
            result.append(images)
        return result

    def maps_between(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        return [(F.normalize(x) - F.normalize(y)).square().sum(1, keepdim=True) for x, y in zip(a, b, strict=True)]

    def maps(self, a: Tensor, b: Tensor) -> list[Tensor]:
        return self.maps_between(self.features(a), self.features(b))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([layer.mean((1, 2, 3)) for layer in self.maps(a, b)]).sum(0)


class Identity(nn.Module):
    """Embedding = mean colour of the image's four quarters; NaN for an all-black image, where "no face is found"."""

    def forward(self, images: Tensor) -> Tensor:
        values = F.adaptive_avg_pool2d(images, 2).flatten(1)
        return torch.where((images == -1).all(1).all(1).all(1)[:, None], torch.nan, F.normalize(values))


class Regressor(nn.Module):
    """u of "yaw" = mean of red, "age" = mean of green, both brought to [0, 1]; features are the colour statistics."""

    names = ["yaw", "age"]
    low = [-40.0, 15.0]
    high = [40.0, 80.0]

    def forward(self, images: Tensor) -> Tensor:
        return (images.mean((2, 3))[:, :2] + 1) / 2

    def features(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


class Attributes(nn.Module):
    """Red above 0.55 of its range, green above 0.45, blue above 0.5."""

    names, factors = ("turned", "old", "fair"), ("yaw", "age", "hair")

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) - torch.tensor([0.1, -0.1, 0.0])


class Parser(nn.Module):
    """A face wherever blue is in the upper half of its range."""

    classes = ("rest", "face")

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(images[:, :1]), images[:, 2:]], 1)


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    return {
        "perceptual_metric": Perceptual(),
        "identity_metric": Identity(),
        "perceptual_second": Perceptual(),
        "identity_second": Identity(),
        "regressor": Regressor(),
        "attributes": Attributes(),
        "parser": Parser(),
    }


def to_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Four originals, smooth, and as many noisy outputs: uint8 [4, 64, 64, 3] twice."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:64, :64] / 63
    base = rng.uniform(0, 200, (4, 1, 1, 3)) + 50 * np.sin(3 * x + 5 * y)[None, :, :, None]
    noise = rng.normal(0, 1, base.shape[:1] + (64, 64, 3)) * np.array([2, 8, 20, 40])[:, None, None, None]
    return np.clip(base, 0, 255).astype(np.uint8), np.clip(base + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def given(pictures: tuple[np.ndarray, np.ndarray]) -> MetricInput:
    originals, outputs = pictures
    samples = [Sample(picture, f"{i}", "") for i, picture in enumerate(originals)]
    return MetricInput(target=to_tensor(originals), output=to_tensor(outputs), samples=samples)
