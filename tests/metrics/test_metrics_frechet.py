import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from invbench.metrics.frechet import distance, frechet
from tests.agreement import agree

WIDTH = 6
SPREAD = np.linspace(0.5, 2, WIDTH)
GAIN, NOISE, SHIFT = 0.8, 0.3, 0.05


def paired(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian originals [n, 6] and their noisy, paler reconstructions."""
    x = rng.normal(size=(n, WIDTH)) * SPREAD
    return x, GAIN * x + NOISE * rng.normal(size=x.shape) * SPREAD + SHIFT


def independent(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sets of the same two distributions that have nothing to do with each other."""
    return paired(n, rng)[0], paired(n, rng)[1]


TRUE = WIDTH * SHIFT**2 + ((SPREAD * (1 - math.hypot(GAIN, NOISE))) ** 2).sum()


def test_it_is_torch_fidelitys():
    rng = np.random.default_rng(2)
    mix = rng.normal(size=(80, 80)) / 9  # features that hang together, as those of networks do
    a = np.maximum(rng.normal(size=(300, 80)) @ mix, 0)
    b = np.maximum(0.9 * a + 0.3 * rng.normal(size=a.shape) @ mix, 0)
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (a, b)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    agree([frechet(a, b).value], [expected], relative=1e-12)
    agree([distance(a, b)], [expected], relative=1e-6)


def test_it_agrees_with_the_matrix_square_root():
    a, b = paired(200, np.random.default_rng(3))
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    agree([frechet(a, b).value, distance(a, b)], [expected, expected], relative=1e-9)


def test_features_that_never_vary_are_no_trouble():
    a, b = (np.concatenate([part, np.full((200, 3), 7.0)], 1) for part in paired(200, np.random.default_rng(3)))
    without = frechet(a[:, :WIDTH], b[:, :WIDTH])
    found = frechet(a, b)
    assert found.value == pytest.approx(without.value, rel=1e-6) and distance(a, b) == pytest.approx(without.value, rel=1e-9)
    assert found.bias == pytest.approx(without.bias, rel=1e-5)


def test_equal_sets_are_at_distance_zero_without_bias():
    a, _ = paired(150, np.random.default_rng(3))
    found = frechet(a, a)
    assert max(abs(found.value), abs(found.bias)) < 1e-6 and found.high - found.low < 1e-6


@pytest.mark.parametrize("draw", [paired, independent])
@pytest.mark.parametrize("n", [2 * WIDTH, 10 * WIDTH])
def test_the_bias_is_what_the_value_has_too_much(draw, n):
    rng = np.random.default_rng(7)
    found = [frechet(*draw(n, rng)) for _ in range(300)]
    excess = np.mean([one.value for one in found]) - TRUE
    error = np.std([one.value - one.bias for one in found]) / math.sqrt(300)
    assert np.mean([one.bias for one in found]) == pytest.approx(excess, abs=0.1 * excess + 3 * error)
    assert excess > 10 * error  # what was estimated is no noise


def test_pairing_makes_the_bias_small():
    rng = np.random.default_rng(7)
    together, apart = (np.mean([frechet(*draw(60, rng)).bias for _ in range(50)]) for draw in (paired, independent))
    assert 0 < together < apart / 3


@pytest.mark.parametrize("draw", [paired, independent])
def test_the_interval_covers_the_true_distance(draw):
    rng = np.random.default_rng(8)
    found = [frechet(*draw(100, rng)) for _ in range(300)]
    covered = np.mean([one.low - one.bias <= TRUE <= one.high - one.bias for one in found])
    assert 0.9 < covered < 0.995


def test_there_is_no_bias_to_state_without_full_rank_or_pairs():
    a, b = paired(WIDTH + 1, np.random.default_rng(3))
    assert math.isnan(frechet(a, b).bias) and math.isnan(frechet(a, b).low)
    a, b = paired(100, np.random.default_rng(3))
    assert math.isnan(frechet(a, b[:99]).bias)
