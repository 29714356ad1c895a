"""A step of a refinement against the same step in the plain forms, on the suite's generator."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.methods.common.batching import PerImageAdam
from invbench.methods.common.losses import PerceptualTarget, mse
from invbench.methods.nets import equalised, stylegan2_layers
from invbench.plugins.config import load
from invbench.weights.networks import Networks

IMAGES, STEPS, ROUNDS = 16, 3, 3


def plain_blur(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    return F.conv2d(x, weight, padding=padding, groups=x.shape[1])


def plain_activation(y: Tensor, factor: Tensor, bias: Tensor, noise: Tensor | None) -> Tensor:
    return F.leaky_relu(y * factor + bias + (0 if noise is None else noise), 0.2)


def plain_power(weight: Tensor) -> Tensor:
    return weight.square().sum((-2, -1))


def tune(networks: Networks, latents: Tensor, images: Tensor, *, plain: bool) -> Tensor:
    """STEPS steps of pivotal tuning -> the distances [N] of the last one."""
    generator, network = networks["generator"], networks["perceptual_alex"]
    adam, target = PerImageAdam(generator.per_image_parameters(len(images)), 3e-4), PerceptualTarget(network, images)
    optimiser = torch.optim.Adam(list(adam.parameters.values()), lr=3e-4) if plain else adam
    for _ in range(STEPS):
        output = generator.synthesis(latents, weights=adam.parameters)
        distance = network.distance(output, images) if plain else target.distance(output)
        optimiser.zero_grad()
        (mse(output, images) + distance).sum().backward()
        optimiser.step()
    return distance.detach()


def seconds(call: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


@pytest.mark.perf
def test_a_step_of_tuning_is_faster_than_in_plain_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = Networks(load()["procfaces"])
    generator, draws = networks["generator"], torch.Generator().manual_seed(0)
    latents = generator.repeat(generator.sample_w(IMAGES, generator=draws))
    images = generator.synthesis(latents.flip(0)).detach()
    fast, slow = [], []
    for _ in range(ROUNDS):
        spent, distances = seconds(lambda: tune(networks, latents, images, plain=False))
        fast.append(spent)
        with monkeypatch.context() as patch:
            patch.setattr(equalised, "Blur", SimpleNamespace(apply=plain_blur))
            patch.setattr(equalised, "TapPower", SimpleNamespace(apply=plain_power))
            patch.setattr(stylegan2_layers, "StyledActivation", SimpleNamespace(apply=plain_activation))
            spent, expected = seconds(lambda: tune(networks, latents, images, plain=True))
        slow.append(spent)
        torch.testing.assert_close(distances, expected, atol=1e-4, rtol=1e-3)
    print(f"{min(fast) / STEPS:.3f} s a step, plain {min(slow) / STEPS:.3f} s, ratio {min(slow) / min(fast):.2f}")
    assert min(slow) > 1.05 * min(fast)
