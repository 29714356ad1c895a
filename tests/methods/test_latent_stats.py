"""Statistics of W: the size of the prior in every suite, its precision, and latents that do not fill their space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from invbench.datasets.procfaces.splits import render_split
from invbench.methods.common.losses import gaussian_prior
from invbench.methods.convert import latent_stats
from invbench.methods.nets.latent_stats import RIDGE, LatentStatistics
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.renders import as_images
from invbench.plugins import config, registry, selection

PUBLISHED = 1e-8 * 18 * 512  # the weight of the released code on the 18 latents of FFHQ, at a well-conditioned covariance
SUITES = [name for name, suite in config.load().items() if "latent_stats" in suite.networks and "w" in suite.spaces]


@pytest.fixture(scope="module")
def official() -> tuple[Generator, LatentStatistics]:
    """A random mapping network of the official size, and its statistics as they are measured for an official generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator({"resolution": 8, "channels": {4: 4, 8: 4}, "z_dim": 512, "w_dim": 512, "n_mapping": 8})
    return generator.eval(), latent_stats.measure(generator)[0]


@pytest.fixture(scope="module")
def embedded() -> tuple[Generator, LatentStatistics]:
    return load_frozen("generator"), load_frozen("latent_stats")


def lambda_prior(suite: str) -> float:
    return selection.resolve(config.load()[suite], registry.methods()["sam"], "released")["lambda_prior"]


def term(stats: LatentStatistics, latents: torch.Tensor) -> torch.Tensor:
    return gaussian_prior(latents.double(), stats.prior_mean, stats.prior_factor)


def test_every_suite_has_the_statistics():
    assert set(SUITES) == {"procfaces", "faces", "cars", "church", "horse", "cat", "wild"}


@pytest.mark.parametrize("name", SUITES)
def test_a_random_code_costs_what_was_published(name, request):
    suite = config.load()[name]
    generator, stats = request.getfixturevalue("embedded" if name == "procfaces" else "official")
    layers = 2 * suite.resolution.bit_length() - 4
    assert name != "procfaces" or layers == generator.num_ws
    with torch.no_grad():
        w = generator.sample_w(2000, generator=torch.Generator().manual_seed(7))
    found = term(stats, w[:, None].expand(-1, layers, -1)).mean().item()
    assert found == pytest.approx(layers * generator.w_dim, rel=0.1)  # as at a well-conditioned covariance
    assert 0.7 * PUBLISHED < lambda_prior(name) * found < 1.1 * PUBLISHED  # fewer layers at 256 x 256


def test_at_the_codes_of_the_encoder_the_prior_is_less_than_their_error(embedded):
    generator, stats = embedded
    encoder, perceptual = load_frozen("e4e"), load_frozen("perceptual")
    images = as_images(render_split("val", range(8)).images, "cpu")
    with torch.no_grad():
        codes = encoder(images)
        left = perceptual.distance(generator.synthesis(codes).clamp(-1, 1), images)
    assert (lambda_prior("procfaces") * term(stats, codes) < left / 2).all()


def test_statistics_against_numpy():
    draws = np.random.default_rng(0)
    v = draws.standard_normal((30_000, 4)) @ np.array([[2, 0, 0, 0], [1, 1, 0, 0], [0, 0, 3, 0], [0, 1, 0, 1.0]]) + 0.5
    w = np.where(v < 0, 0.2 * v, v)
    stats = LatentStatistics.measure(torch.from_numpy(w))
    np.testing.assert_allclose(stats.mean, w.mean(0), rtol=1e-6)
    assert float(stats.std) == pytest.approx(np.sqrt(((w - w.mean(0)) ** 2).sum(1).mean()), rel=1e-6)
    centre = np.where(w.mean(0) < 0, 5 * w.mean(0), w.mean(0))
    covariance = np.cov(v.T)
    precision = np.linalg.inv(covariance + RIDGE * np.trace(covariance) / 4 * np.eye(4))
    size = np.einsum("ni,ij,nj->n", v - centre, precision, v - centre).mean()
    np.testing.assert_allclose(stats.prior_mean, centre, rtol=1e-10)
    np.testing.assert_allclose(stats.prior_factor.T @ stats.prior_factor, 4 / size * precision, rtol=1e-9)


def test_the_prior_keeps_float64_whatever_the_network_is_cast_to(embedded):
    generator, stats = embedded
    w = generator.sample_w(64, generator=torch.Generator().manual_seed(1)).double()
    fresh = LatentStatistics.measure(w)
    exact = fresh.prior_factor.clone()
    for cast in (fresh.half(), fresh.float(), fresh.to(torch.float32)):
        assert torch.equal(cast.prior_factor, exact) and cast.prior_mean.dtype == torch.float64
        assert cast.mean.dtype != torch.float64
    again = LatentStatistics(128).float()
    again.load_state_dict(fresh.state_dict())
    assert torch.equal(again.prior_factor, exact)
    shipped = stats.prior_factor
    assert shipped.dtype == torch.float64 and (shipped != shipped.float()).any()  # nor does its file round it


def test_latents_that_fill_a_line_have_a_finite_prior():
    along = torch.linspace(-1, 1, 501, dtype=torch.float64)[:, None]
    axis = F.normalize(torch.tensor([[3.0, -2.0, 1.0, 0.5]], dtype=torch.float64))
    w = F.leaky_relu(along * axis + 1, 0.2)
    for dtype in (torch.float64, torch.float32):
        stats = LatentStatistics.measure(w.to(dtype))
        assert term(stats, w[:, None]).mean().item() == pytest.approx(4, rel=1e-4)
        beside = w + 0.1 * along.std() * F.normalize(torch.tensor([2.0, 3.0, 0.0, 0.0], dtype=torch.float64), dim=0)
        assert term(stats, beside[:, None]).mean() < 20 * 4


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(8), r"expected shape \[M, D\].*found \(8,\)"),
        (torch.zeros(1, 8), r"M of 2 and more, found \(1, 8\)"),
        (torch.ones(9, 8), r"finite rows that differ, found a spread of 0"),
        (torch.tensor([[0.0], [float("nan")]]), "finite rows that differ, found a spread of nan"),
    ],
)
def test_what_is_no_sample_of_latents_is_refused(latents, message):
    with pytest.raises(ValueError, match=message):
        LatentStatistics.measure(latents)
