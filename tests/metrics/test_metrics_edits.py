from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from invbench.api import Edit, MissingWeights
from invbench.metrics.background import BackgroundKept, BackgroundMSE, BackgroundPSNR
from invbench.metrics.edits import IdKept, TruthLpipsProc, TruthMSE, TruthPSNR


@pytest.fixture
def edited(given):
    """An edit whose truth changes a square of 10 pixels, and whose output is the true one."""
    truth = given.target.clone()
    truth[:, :, 20:30, 40:50] = 1.0
    return replace(given, output=truth.clone(), inverted=given.target, truth=truth, edit=Edit("age", 1.0))


def test_identity_is_compared_with_the_reconstruction(given, networks):
    kept = IdKept(networks)
    np.testing.assert_allclose(kept(replace(given, inverted=given.output)), 1.0, rtol=1e-9)
    a, b = (networks["identity_metric"](x).double() for x in (given.output, given.target))
    expected = torch.cosine_similarity(a, b).numpy()
    np.testing.assert_allclose(kept(replace(given, inverted=given.target)), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="given.inverted"):
        kept(given)


def test_distances_to_the_truth(edited, given, pictures, networks):
    near = replace(edited, output=given.output)
    truth = ((edited.truth.permute(0, 2, 3, 1).double().numpy() + 1) * 127.5).round()
    outputs = pictures[1].astype(np.float64)
    expected = (((outputs - truth) / 127.5) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(TruthMSE({})(near), expected, rtol=1e-12)
    psnr = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(truth, outputs, strict=True)]
    np.testing.assert_allclose(TruthPSNR({})(near), psnr, rtol=1e-12)
    distance = networks["perceptual_metric"].distance(given.output, edited.truth).double().numpy()
    np.testing.assert_allclose(TruthLpipsProc(networks)(near), distance, rtol=1e-6)
    assert TruthMSE({})(edited).tolist() == TruthLpipsProc(networks)(edited).tolist() == [0.0] * 4


@pytest.mark.parametrize("metric", [BackgroundKept, BackgroundMSE, BackgroundPSNR, TruthMSE, TruthPSNR, TruthLpipsProc])
def test_without_a_truth_nothing_is_covered(metric, given, networks):
    values = metric(networks)(replace(given, inverted=given.target))
    assert values.shape == (4,) and np.isnan(values).all()


@pytest.mark.parametrize("metric", [IdKept, TruthLpipsProc])
def test_missing_networks_are_named(metric):
    with pytest.raises(MissingWeights, match="^weights missing: "):
        metric({})
