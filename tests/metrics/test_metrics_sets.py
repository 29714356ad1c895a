import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from bench.api import InvbenchError, MissingWeights
from metrics.sets import FidInception, FidProc, KidInception, KidProc


@pytest.fixture
def features() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(12, 12))
    a = rng.normal(size=(200, 12)) @ mix
    b = 0.8 * a + rng.normal(size=(200, 12)) + 0.3
    return a.astype(np.float32), b.astype(np.float32)


def test_fid_agrees_with_the_matrix_square_root(features, networks):
    a, b = (f.astype(np.float64) for f in features)
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    mean = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = mean + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    assert FidProc(networks).compute(*features) == pytest.approx(expected, rel=1e-9)
    assert FidProc(networks).compute(features[0], features[0]) == pytest.approx(0, abs=1e-6)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD, written out (Gretton et al., JMLR 2012, equation 3)."""

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    n, off = len(a), ~np.eye(len(a), dtype=bool)
    return (kernel(a, a)[off].sum() + kernel(b, b)[off].sum()) / (n * (n - 1)) - 2 * kernel(a, b).mean()


def test_kid_of_few_images_is_one_estimate_from_all(features, networks):
    expected = kernel_distance(*(f.astype(np.float64) for f in features))
    assert KidProc(networks).compute(*features) == pytest.approx(expected, rel=1e-9)


def test_kid_of_many_images_is_torch_fidelitys_default(networks):
    rng = np.random.default_rng(4)
    a, b = (rng.normal(shift, 1, (1050, 6)).astype(np.float32) for shift in (0, 0.2))
    expected = kid_features_to_metric(*(torch.from_numpy(f).double() for f in (a, b)), verbose=False)
    value = KidProc(networks).compute(a, b)
    assert value == expected["kernel_inception_distance_mean"]
    assert value == pytest.approx(kernel_distance(*(f.astype(np.float64) for f in (a, b))), rel=0.1)


def test_features_come_from_the_regressor(scored, networks):
    fid, kid = FidProc(networks), KidProc(networks)
    assert fid.feature == kid.feature == "regressor"
    values = fid.features(scored.target)
    assert values.dtype == np.float32 and values.shape == (4, 12)
    np.testing.assert_allclose(values[:, 0], scored.target[:, 0, :32, :32].mean((1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(values, kid.features(scored.target))


def test_too_few_images_are_refused_with_the_reason(features, networks):
    with pytest.raises(InvbenchError, match="'fid_proc': expected at least 100 images for 12 features, found 99"):
        FidProc(networks).compute(features[0][:99], features[1])
    with pytest.raises(InvbenchError, match="'kid_proc': expected at least 50 images for 12 features, found 49"):
        KidProc(networks).compute(features[0], features[1][:49])
    wide = np.zeros((120, 120), np.float32)
    with pytest.raises(InvbenchError, match="at least 121 images for 120 features, found 120"):
        FidProc(networks).compute(wide, wide)


def test_bad_features_are_refused(features, networks):
    with pytest.raises(InvbenchError, match=r"\(200, 12\) and \(200, 11\)"):
        KidProc(networks).compute(features[0], features[1][:, :11])
    broken = features[1].copy()
    broken[7, 3] = np.nan
    with pytest.raises(InvbenchError, match="found NaN"):
        FidProc(networks).compute(features[0], broken)


@pytest.mark.parametrize("metric", [FidInception, KidInception])
def test_inception_says_what_is_missing(metric, networks):
    with pytest.raises(MissingWeights, match="^weights missing: .*'inception'"):
        metric(networks)
