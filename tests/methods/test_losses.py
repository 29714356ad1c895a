from __future__ import annotations

import numpy as np
import pytest
import torch

from invbench.methods.common.losses import (
    PerceptualTarget,
    gaussian_prior,
    noise_regulariser,
    normalise_noise,
    ramp,
    region_mean,
)


def test_ramp_rises_over_5_percent_and_falls_over_the_last_quarter():
    assert ramp(0.0) == 0
    assert ramp(0.025) == pytest.approx(0.5)
    assert ramp(0.05) == ramp(0.75) == pytest.approx(1)
    assert ramp(0.875) == pytest.approx(0.5)
    assert ramp(1.0) == pytest.approx(0)


def test_noise_regulariser_against_numpy():
    noise = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for i in range(2):
        x, expected = noise[i, 0].double().numpy(), 0.0
        for _ in range(2):  # 16 and 8
            expected += np.mean(x * np.roll(x, 1, 0)) ** 2 + np.mean(x * np.roll(x, 1, 1)) ** 2
            x = x.reshape(x.shape[0] // 2, 2, -1, 2).mean((1, 3))
        assert noise_regulariser([noise])[i].item() == pytest.approx(expected, rel=1e-5)


def test_normalise_noise_works_on_each_image_by_itself():
    noise = torch.randn(3, 1, 8, 8) * torch.tensor([1.0, 5.0, 9.0]).view(3, 1, 1, 1) + 2
    normalise_noise([noise])
    torch.testing.assert_close(noise.mean((1, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(noise.square().mean((1, 2, 3)), torch.ones(3))


def test_gaussian_prior_against_numpy():
    draws = np.random.default_rng(0)
    w, mean, factor = draws.standard_normal((3, 4, 5)), draws.standard_normal(5), np.tril(draws.standard_normal((5, 5)))
    offset = np.where(w < 0, 5 * w, w) - mean
    expected = np.einsum("nld,de,nle->n", offset, factor.T @ factor, offset)
    found = gaussian_prior(torch.from_numpy(w), torch.from_numpy(mean), torch.from_numpy(factor))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    single = gaussian_prior(torch.from_numpy(w).float(), torch.from_numpy(mean), torch.from_numpy(factor))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, rtol=1e-6)


def test_region_mean_sums_channels_and_is_zero_for_an_empty_region():
    error = torch.ones(2, 3, 4, 4)
    region = torch.zeros(2, 1, 4, 4)
    region[0, :, :2] = 1
    assert region_mean(error, region).tolist() == [3.0, 0.0]


def test_a_kept_target_gives_the_distance_to_the_images_that_are_left(networks, images):
    network = networks["perceptual_vgg"]
    target, output = PerceptualTarget(network, images), images.flip(3)
    torch.testing.assert_close(target.distance(output), network.distance(output, images))
    target.keep(torch.tensor([True, False, True, False]))
    torch.testing.assert_close(target.distance(output[::2]), network.distance(output[::2], images[::2]))
    assert all(torch.equal(a, b) for a, b in zip(target.maps(output[::2]), network.maps(output[::2], images[::2])))
