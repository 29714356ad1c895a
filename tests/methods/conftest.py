"""Small random networks for every role, so that methods are tested in seconds."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from invbench.api import STAGES
from invbench.methods.directions.linear import Directions
from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.nets.stylegan2 import Generator

CLASSES = ("background", "skin", "eye", "hair")


class Perceptual(nn.Module):
    """Two random convolutions; the distance is the sum over layers of the mean squared difference."""

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(5)
        shapes = ((6, 3, 3, 3), (8, 6, 3, 3))
        self.kernels = nn.ParameterList([torch.randn(shape, generator=draws) / 6 for shape in shapes])

    def features(self, images):
        found = []
        for kernel in self.kernels:
            images = torch.tanh(F.conv2d(images, kernel, stride=2, padding=1))
            found.append(images)
        return found

    def maps_between(self, a, b):
        return [(x - y).square().mean(1, keepdim=True) for x, y in zip(a, b, strict=True)]

    def maps(self, a, b):
        return self.maps_between(self.features(a), self.features(b))

    def distance(self, a, b):
        return sum(m.flatten(1).mean(1) for m in self.maps(a, b))


class Parser(nn.Module):
    """Classes by position: the top rows are hair, the left columns background, the rest skin."""

    classes = CLASSES

    def forward(self, images):
        logits = images.new_zeros(len(images), len(CLASSES), *images.shape[2:])
        logits[:, 1] = 1
        logits[:, 3, :6] = 9
        logits[:, 0, :, :4] = 20
        return logits


class Encoder(nn.Module):
    """Latents around the mean, moved by the mean colour of the picture."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.direction = torch.randn(3, generator.w_dim, generator=torch.Generator().manual_seed(3)) / 4

    def forward(self, images):
        return self.generator.repeat(self.generator.mean_latent + images.mean((2, 3)) @ self.direction)


class Invertibility(nn.Module):
    """W+ errs above 0.5 in the upper half, F4 errs nowhere."""

    def forward(self, images):
        upper = images.new_zeros(len(images), 1, *images.shape[2:])
        upper[:, :, : images.shape[2] // 2] = 1
        return {"W+": upper, "F4": 0 * upper, "F6": 0 * upper}


class Clock:
    """Keeps the names of the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    @contextmanager
    def stage(self, name: str):
        assert name in STAGES
        self.stages.append(name)
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def networks():
    torch.manual_seed(0)
    mapping = {"z_dim": 6, "w_dim": 8, "n_mapping": 2, "mapping_lr_multiplier": 1.0}
    generator = Generator({"resolution": 32, "channels": {4: 8, 8: 8, 16: 8, 32: 8}, **mapping})
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            value.data.fill_(0.1)
        if name.endswith("torgb.weight"):
            value.data.mul_(0.5)
    draws = torch.Generator().manual_seed(1)
    w = generator.sample_w(500, generator=draws)
    generator.mapping.w_avg.copy_(w.mean(0))
    directions = Directions(["age", "yaw"], generator.num_ws, generator.w_dim)
    directions.vectors.copy_(torch.randn(directions.vectors.shape, generator=draws) / 10)
    perceptual = Perceptual()
    found = {
        "generator": generator,
        "latent_stats": LatentStatistics.measure(w),
        "perceptual_vgg": perceptual,
        "perceptual_alex": perceptual,
        "parser": Parser(),
        "segmenter": Parser(),
        "encoder_e4e": Encoder(generator),
        "invertibility": Invertibility(),
        "directions": directions,
    }
    return {role: network.eval().requires_grad_(False) for role, network in found.items()}


@pytest.fixture(scope="session")
def images(networks):
    """Four pictures [4, 3, 32, 32]: two that the generator draws, two that it does not."""
    draws = torch.Generator().manual_seed(9)
    drawn = networks["generator"](torch.randn(2, 6, generator=draws)).clamp(-1, 1)
    foreign = F.interpolate(torch.rand(2, 3, 8, 8, generator=draws) * 2 - 1, scale_factor=4, mode="bilinear")
    return ((torch.cat([drawn, foreign]) + 1) * 127.5).round() / 127.5 - 1
