from __future__ import annotations

import numpy as np
import pytest
import torch

from invbench.methods.common.losses import gaussian_prior, noise_regulariser, normalise_noise, ramp, region_mean
from invbench.methods.nets.latent_stats import LatentStatistics


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


def test_gaussian_prior_of_draws_is_about_their_dimension():
    w = torch.nn.functional.leaky_relu(torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0)), 0.2)
    stats = LatentStatistics.measure(w)
    penalty = gaussian_prior(w[:2000, None], stats.prior_mean, stats.prior_precision)
    # The mean of w, passed through the inverse, is not the mean of the Gaussian: a known slip of the published code.
    shift = stats.prior_mean.double()
    expected = 5 + shift @ stats.prior_precision.double() @ shift
    assert penalty.mean().item() == pytest.approx(expected.item(), rel=0.1)


def test_region_mean_sums_channels_and_is_zero_for_an_empty_region():
    error = torch.ones(2, 3, 4, 4)
    region = torch.zeros(2, 1, 4, 4)
    region[0, :, :2] = 1
    assert region_mean(error, region).tolist() == [3.0, 0.0]
