"""What counts as background, by the truth and by a parser, and that damage counts there and nowhere else."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from invbench.api import Edit, InvbenchError, MissingWeights
from invbench.metrics import background
from invbench.metrics.background import (
    BackgroundKept,
    BackgroundMSE,
    BackgroundPSNR,
    ParsedBackgroundLpipsProc,
    ParsedBackgroundMSE,
    ParsedBackgroundPSNR,
    ParsedRegion,
    edited_region,
)
from invbench.metrics.nets.bisenet import BiSeNet
from invbench.plugins import config

TRUE = (BackgroundKept, BackgroundMSE)
PARSED = (ParsedBackgroundLpipsProc, ParsedBackgroundMSE)


@pytest.fixture
def edited(given):
    """An edit whose truth changes a square of 10 pixels, and whose output is the true one."""
    truth = given.target.clone()
    truth[:, :, 20:30, 40:50] = 1.0
    return replace(given, output=truth.clone(), inverted=given.target, truth=truth, edit=Edit("age", 1.0))


@pytest.fixture
def parsed(given):
    """A face of 20 pixels (blue where the test's parser sees one) that the edit moves right by 10 pixels."""
    target, output = torch.full_like(given.target, -0.5), torch.full_like(given.target, -0.5)
    target[:, 2, 20:40, 10:30] = 1.0
    output[:, 2, 20:40, 20:40] = 1.0
    return replace(given, target=target, output=output, inverted=target, edit=Edit("age", 1.0), region=("face",))


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


@pytest.mark.parametrize("margin", [1, 2, 5])
def test_a_margin_is_a_square_around_every_pixel(margin):
    region = torch.rand(2, 1, 24, 40, generator=torch.Generator().manual_seed(0)) < 0.01
    expected = torch.zeros_like(region)
    for image, _, row, column in region.nonzero().tolist():
        rows = slice(max(0, row - margin), row + margin + 1)
        expected[image, 0, rows, max(0, column - margin) : column + margin + 1] = True
    assert torch.equal(background._widened(region, margin), expected)


def test_metrics_share_the_parsed_region_of_an_edit(parsed, networks, monkeypatch):
    calls, real = [], background._widened
    monkeypatch.setattr(background, "_widened", lambda *given: calls.append(given) or real(*given))
    for metric in (*PARSED, ParsedBackgroundPSNR):
        metric(networks)(parsed)
    assert len(calls) == 1
    ParsedBackgroundMSE(networks)(replace(parsed, output=parsed.output.clone()))
    ParsedBackgroundMSE(networks)(replace(parsed, region=("rest",)))
    assert len(calls) == 3


@pytest.mark.parametrize("metric", TRUE)
def test_the_true_edit_keeps_the_background(metric, edited, networks):
    assert metric(networks)(edited).tolist() == [0.0] * 4
    assert BackgroundPSNR(networks)(edited).tolist() == [np.inf] * 4


@pytest.mark.parametrize("metric", TRUE)
def test_damage_counts_outside_the_edited_region_only(metric, edited, networks):
    measure = metric(networks)
    inside, outside, both = (edited.output.clone() for _ in range(3))
    inside[:, :, 18:32, 38:52] = -1.0
    outside[:, :, 44:60, 4:20] = -1.0
    both[:, :, 18:32, 38:52] = -1.0
    both[:, :, 44:60, 4:20] = -1.0
    assert measure(replace(edited, output=inside)).tolist() == [0.0] * 4
    damage = measure(replace(edited, output=outside))
    assert (damage > 0).all()
    np.testing.assert_array_equal(measure(replace(edited, output=both)), damage)


def test_background_without_an_edited_region_is_the_whole_picture(given, networks, pictures):
    everything = replace(given, truth=given.target)
    expected = networks["perceptual_metric"].distance(given.output, given.target).double().numpy()
    np.testing.assert_allclose(BackgroundKept(networks)(everything), expected, rtol=1e-5)
    a, b = (one.astype(np.float64) / 127.5 for one in pictures)
    mse = ((a - b) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(BackgroundMSE(networks)(everything), mse, rtol=1e-12)
    np.testing.assert_allclose(BackgroundPSNR(networks)(everything), 10 * np.log10(4 / mse), rtol=1e-12)


def test_background_average_is_over_the_background(given, networks, pictures):
    """An edit of the upper half: the value is the lower half's mean, not diluted by the upper half."""
    truth = given.target.clone()
    truth[:, :, :30] = torch.where(given.target[:, :, :30] > 0, -1.0, 1.0)  # and the margin makes it 32 rows
    output = given.output.clone()
    output[:, :, :32] = given.target[:, :, :32]
    layers = networks["perceptual_metric"].maps(output, given.target)
    expected = sum(layer[:, :, layer.shape[2] // 2 :].double().mean((1, 2, 3)) for layer in layers)
    np.testing.assert_allclose(BackgroundKept(networks)(replace(given, truth=truth)), expected, rtol=1e-6)
    a, b = (one[:, 32:].astype(np.float64) / 127.5 for one in pictures)
    lower = ((a - b) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(BackgroundMSE(networks)(replace(given, truth=truth)), lower, rtol=1e-12)


@pytest.mark.parametrize("metric", [*TRUE, BackgroundPSNR])
def test_background_is_not_covered_when_all_is_edited(metric, given, networks):
    truth = torch.where(given.target > 0, -1.0, 1.0)
    assert np.isnan(metric(networks)(replace(given, truth=truth))).all()


def test_the_parsed_region_holds_the_classes_of_both_pictures_and_a_margin(parsed, networks):
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[18:42, 8:42] = True  # a 32nd of 64 pixels around columns 10 to 40
    assert (ParsedRegion(networks, "test")(parsed) == expected).all()
    coarse = networks["parser"].forward
    networks["parser"].forward = lambda images: torch.nn.functional.avg_pool2d(coarse(images), 2)  # logits at half size
    assert (ParsedRegion(networks, "test")(parsed) == expected).all()


@pytest.mark.parametrize("metric", PARSED)
def test_damage_counts_outside_the_parsed_region_only(metric, parsed, networks):
    measure = metric(networks)
    assert measure(parsed).tolist() == [0.0] * 4
    inside, outside = parsed.output.clone(), parsed.output.clone()
    inside[:, 0, 25:30, 10:20] = 0.9
    outside[:, 0, 50:60, 50:60] = 0.9
    assert measure(replace(parsed, output=inside)).tolist() == [0.0] * 4
    assert (measure(replace(parsed, output=outside)) > 0).all()


def test_the_parsed_error_is_a_mean_over_the_background(parsed, networks):
    output = parsed.output.clone()
    output[:, 0, 50:60, 50:60] += 102 / 127.5
    expected = (102 / 127.5) ** 2 / 3 * 100 / (64 * 64 - 24 * 34)
    found = ParsedBackgroundMSE(networks)(replace(parsed, output=output))
    np.testing.assert_allclose(found, expected, rtol=1e-2)  # -0.5 is no whole level
    psnr = ParsedBackgroundPSNR(networks)(replace(parsed, output=output))
    np.testing.assert_allclose(psnr, 10 * np.log10(4 / found), rtol=1e-9)


def test_a_picture_that_is_all_face_is_not_covered(parsed, networks):
    output = parsed.output.clone()
    output[:2, 2] = 1.0
    assert np.isnan(ParsedBackgroundMSE(networks)(replace(parsed, output=output))).tolist() == [True, True, False, False]


def test_a_class_that_the_parser_does_not_know_is_named(parsed, networks):
    with pytest.raises(InvbenchError, match=r"region of age: expected classes of the parser \(rest, face\), found 'hair'"):
        ParsedBackgroundMSE(networks)(replace(parsed, region=("face", "hair")))


def test_regions_of_the_suites_name_classes_of_their_parsers():
    suites = config.load()
    known = {}
    for name in ("procfaces", "procclasses"):
        with safe_open(suites[name].networks["parser"].weights, framework="np") as file:
            known[name] = json.loads(file.metadata()["config"])["classes"]
    known |= dict.fromkeys(("faces", "faces256"), BiSeNet.classes)
    regions = {(name, edit): one.region for name, suite in suites.items() for edit, one in suite.edits.items() if one.region}
    assert {name for name, _ in regions} == set(known)
    for (name, edit), region in regions.items():
        assert set(region) <= set(known[name]), edit


@pytest.mark.parametrize("metric", [BackgroundKept, *PARSED])
def test_missing_networks_are_named(metric):
    with pytest.raises(MissingWeights, match="^weights missing: "):
        metric({})
