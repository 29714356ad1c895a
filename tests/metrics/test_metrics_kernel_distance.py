import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric, mmd2

from invbench.metrics.kernel_distance import kernel_distance
from tests.agreement import agree

WIDTH = 6


def paired(n: int, rng: np.random.Generator, *, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Originals [n, 6] and their reconstructions."""
    x = rng.normal(size=(n, WIDTH))
    return x, 0.8 * x + noise * rng.normal(size=x.shape) + 0.1


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def written_out(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of independent sets (Gretton et al., JMLR 2012, equation 3)."""
    n, off = len(a), ~np.eye(len(a), dtype=bool)
    return (kernel(a, a)[off].sum() + kernel(b, b)[off].sum()) / (n * (n - 1)) - 2 * kernel(a, b).mean()


def test_few_images_give_one_estimate_from_all():
    a, b = paired(200, np.random.default_rng(3))
    agree([kernel_distance(a, b).value], [written_out(a, b)], relative=1e-9)


def test_many_images_give_torch_fidelitys_default():
    a, b = paired(1050, np.random.default_rng(4))
    expected = kid_features_to_metric(torch.from_numpy(a), torch.from_numpy(b), verbose=False)
    found = kernel_distance(a, b)
    agree([found.value], [expected["kernel_inception_distance_mean"]], relative=1e-12)
    assert found.value == pytest.approx(written_out(a, b), rel=0.1)
    assert found.low < found.value < found.high


def test_without_its_bias_it_is_the_u_statistic_of_pairs():
    a, b = paired(120, np.random.default_rng(5))
    expected = mmd2(kernel(a, a), kernel(a, b), kernel(b, b), mmd_est="u-statistic")
    together, in_parts = kernel_distance(a, b), kernel_distance(a, b, subset_size=40)
    agree([found.value - found.bias for found in (together, in_parts)], [expected, expected], relative=1e-9)
    own = np.eye(120, dtype=bool)
    pairing = -2 / 120 * (kernel(a, b)[own].mean() - kernel(a, b)[~own].mean())
    assert together.bias == pytest.approx(pairing, rel=1e-9) and pairing < 0
    assert in_parts.value != together.value
    for found in (together, in_parts):
        assert found.low < found.value < found.high


def test_equal_sets_differ_by_their_bias_alone():
    a, _ = paired(80, np.random.default_rng(5))
    found = kernel_distance(a, a)
    assert found.bias < -0.01
    assert found.value == pytest.approx(found.bias, rel=1e-9)
    assert found.low == pytest.approx(found.bias, rel=1e-9) == found.high


def test_sets_that_are_no_pairs_have_a_value_only():
    a, b = paired(80, np.random.default_rng(5))
    found = kernel_distance(a, b[:79])
    assert math.isfinite(found.value) and math.isnan(found.bias) and math.isnan(found.low)


def test_the_same_features_give_the_same_interval_and_fewer_images_a_wider_one():
    a, b = paired(300, np.random.default_rng(6))
    all_of_them, again, some = kernel_distance(a, b), kernel_distance(a, b), kernel_distance(a[:60], b[:60])
    assert all_of_them == again
    assert some.high - some.low > 1.5 * (all_of_them.high - all_of_them.low)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_the_interval_covers_the_true_distance(noise):
    rng = np.random.default_rng(9)
    draws = [(*paired(200_000, rng, noise=noise), *paired(200_000, rng, noise=noise)) for _ in range(20)]
    true = np.mean([(k(x, u) + k(y, v) - k(x, v) - k(u, y)).mean() for x, y, u, v in draws])
    found = [kernel_distance(*paired(80, rng, noise=noise)) for _ in range(200)]
    covered = np.mean([one.low - one.bias <= true <= one.high - one.bias for one in found])
    assert 0.9 < covered < 0.995


def k(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The kernel of row i and row i."""
    return ((x * y).sum(1) / WIDTH + 1) ** 3
