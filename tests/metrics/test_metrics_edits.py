from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from bench.api import Edit, InvbenchError, MissingWeights
from metrics.edits import (
    AgeChange,
    BackgroundKept,
    IdKept,
    TruthLpipsProc,
    TruthMSE,
    TruthPSNR,
    YawChange,
    edited_region,
)


@pytest.fixture
def edited(scored):
    """An edit whose truth changes a square of 10 pixels, and whose output is the true one."""
    truth = scored.target.clone()
    truth[:, :, 20:30, 40:50] = 1.0
    return replace(scored, output=truth.clone(), inverted=scored.target, truth=truth, edit=Edit("age", 1.0))


def test_changes_are_in_years_and_degrees(scored, networks, pictures):
    edit = replace(scored, inverted=scored.target)
    before, after = (p.astype(np.float64).mean((1, 2)) / 255 for p in pictures)
    np.testing.assert_allclose(AgeChange(networks)(edit), (after - before)[:, 1] * 65, atol=1e-4)
    np.testing.assert_allclose(YawChange(networks)(edit), (after - before)[:, 0] * 80, atol=1e-4)
    assert np.abs(AgeChange(networks)(edit)).max() > 0.1


def test_a_regressor_without_the_factor_is_refused(networks):
    networks["regressor"].names = ["yaw", "smile"]
    with pytest.raises(InvbenchError, match="'age_change': expected .* factor 'age', found yaw, smile"):
        AgeChange(networks)


def test_identity_is_compared_with_the_reconstruction(scored, networks):
    kept = IdKept(networks)
    np.testing.assert_allclose(kept(replace(scored, inverted=scored.output)), 1.0, rtol=1e-9)
    a, b = (networks["identity_metric"](x).double() for x in (scored.output, scored.target))
    expected = torch.cosine_similarity(a, b).numpy()
    np.testing.assert_allclose(kept(replace(scored, inverted=scored.target)), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="scored.inverted"):
        kept(scored)


def test_edited_region_is_where_the_truth_differs_and_a_margin(edited):
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[18:32, 38:52] = True
    assert (edited_region(edited.target, edited.truth) == expected).all()


@pytest.mark.parametrize(("step", "changed"), [(2, False), (3, True)])
def test_edited_region_needs_more_than_two_levels(step, changed):
    original = torch.full((1, 3, 16, 16), 100 / 127.5 - 1)
    truth = original.clone()
    truth[0, 1, 8, 8] += step / 127.5
    assert edited_region(original, truth).any().item() is changed


def test_the_true_edit_keeps_the_background(edited, networks):
    assert BackgroundKept(networks)(edited).tolist() == [0.0] * 4


def test_damage_counts_outside_the_edited_region_only(edited, networks):
    metric = BackgroundKept(networks)
    inside, outside, both = (edited.output.clone() for _ in range(3))
    inside[:, :, 18:32, 38:52] = -1.0
    outside[:, :, 44:60, 4:20] = -1.0
    both[:, :, 18:32, 38:52] = -1.0
    both[:, :, 44:60, 4:20] = -1.0
    assert metric(replace(edited, output=inside)).tolist() == [0.0] * 4
    damage = metric(replace(edited, output=outside))
    assert (damage > 0).all()
    np.testing.assert_array_equal(metric(replace(edited, output=both)), damage)


def test_background_without_an_edited_region_is_the_whole_distance(scored, networks):
    everything = replace(scored, truth=scored.target)
    expected = networks["perceptual_metric"].distance(scored.output, scored.target).double().numpy()
    np.testing.assert_allclose(BackgroundKept(networks)(everything), expected, rtol=1e-5)


def test_background_average_is_over_the_background(scored, networks):
    """An edit of the upper half: the value is the lower half's mean of the maps, not diluted by the upper half."""
    truth = scored.target.clone()
    truth[:, :, :30] = torch.where(scored.target[:, :, :30] > 0, -1.0, 1.0)  # and the margin makes it 32 rows
    output = scored.output.clone()
    output[:, :, :32] = scored.target[:, :, :32]
    layers = networks["perceptual_metric"].maps(output, scored.target)
    expected = sum(layer[:, :, layer.shape[2] // 2 :].double().mean((1, 2, 3)) for layer in layers)
    np.testing.assert_allclose(BackgroundKept(networks)(replace(scored, truth=truth)), expected, rtol=1e-6)


def test_background_is_not_covered_when_all_is_edited(scored, networks):
    truth = torch.where(scored.target > 0, -1.0, 1.0)
    assert np.isnan(BackgroundKept(networks)(replace(scored, truth=truth))).all()


def test_distances_to_the_truth(edited, scored, pictures, networks):
    near = replace(edited, output=scored.output)
    truth = ((edited.truth.permute(0, 2, 3, 1).double().numpy() + 1) * 127.5).round()
    outputs = pictures[1].astype(np.float64)
    expected = (((outputs - truth) / 127.5) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(TruthMSE({})(near), expected, rtol=1e-12)
    psnr = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(truth, outputs, strict=True)]
    np.testing.assert_allclose(TruthPSNR({})(near), psnr, rtol=1e-12)
    distance = networks["perceptual_metric"].distance(scored.output, edited.truth).double().numpy()
    np.testing.assert_allclose(TruthLpipsProc(networks)(near), distance, rtol=1e-6)
    assert TruthMSE({})(edited).tolist() == TruthLpipsProc(networks)(edited).tolist() == [0.0] * 4


@pytest.mark.parametrize("metric", [BackgroundKept, TruthMSE, TruthPSNR, TruthLpipsProc])
def test_without_a_truth_nothing_is_covered(metric, scored, networks):
    values = metric(networks)(replace(scored, inverted=scored.target))
    assert values.shape == (4,) and np.isnan(values).all()


@pytest.mark.parametrize("metric", [AgeChange, YawChange, IdKept, BackgroundKept, TruthLpipsProc])
def test_missing_networks_are_named(metric):
    with pytest.raises(MissingWeights, match="^weights missing: "):
        metric({})
