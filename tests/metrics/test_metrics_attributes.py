"""Changes of attributes against arithmetic on colours: the regressor of these tests reads mean red and mean green."""

from dataclasses import replace

import numpy as np
import pytest

from invbench.api import Edit, InvbenchError, MissingWeights
from invbench.metrics.attributes import AgeChange, ChangeError, ChangeErrorJudge, SmileChange, TrueChange, YawChange
from tests.metrics.conftest import to_tensor


@pytest.fixture
def edited(given, pictures):
    """An edit of the age from the originals to the noisy outputs; truly it moves u from 0.5 to 0.6, 0.7, 0.8 and 0.9."""
    samples = [replace(sample, factors=np.array([0.1, 0.5])) for sample in given.samples]
    true = np.array([[0.1, 0.6], [0.1, 0.7], [0.1, 0.8], [0.1, 0.9]])
    truth = to_tensor(np.roll(pictures[0], 1, axis=0))
    return replace(given, samples=samples, inverted=given.target, true_factors=true, truth=truth, edit=Edit("age", 1.0))


@pytest.fixture
def readings(pictures):
    """Mean colours [4, 3] in [0, 1] of the originals and of the outputs."""
    return [one.astype(np.float64).mean((1, 2)) / 255 for one in pictures]


def test_changes_are_in_years_and_degrees(edited, networks, readings):
    before, after = readings
    np.testing.assert_allclose(AgeChange(networks)(edited), (after - before)[:, 1] * 65, atol=1e-4)
    np.testing.assert_allclose(YawChange(networks)(edited), (after - before)[:, 0] * 80, atol=1e-4)
    assert np.abs(AgeChange(networks)(edited)).max() > 0.1


def test_a_picture_is_read_once_for_all_metrics(edited, networks):
    calls, plain = [], networks["regressor"].forward
    networks["regressor"].forward = lambda images: calls.append(len(images)) or plain(images)
    for metric in (AgeChange, YawChange, ChangeError, ChangeErrorJudge):
        metric(networks)(edited)
    assert calls == [4, 4, 4]  # the reconstruction (here the original itself), the edited picture, the truth


def test_a_regressor_without_the_factor_is_named_as_missing(networks):
    with pytest.raises(MissingWeights, match="'smile_change': expected .* factor 'smile', found yaw, age"):
        SmileChange(networks)


def test_the_true_change_is_that_of_the_factors(edited, networks):
    np.testing.assert_allclose(TrueChange(networks)(edited), np.array([0.1, 0.2, 0.3, 0.4]) * 65, rtol=1e-12)
    turned = replace(edited, edit=Edit("yaw", 1.0))
    np.testing.assert_allclose(TrueChange(networks)(turned), 0.0, atol=1e-12)


def test_errors_are_of_the_change_and_the_judges_own_is_on_the_truth(edited, networks, readings):
    before, after = readings
    true = np.array([0.1, 0.2, 0.3, 0.4]) * 65
    expected = np.abs((after - before)[:, 1] * 65 - true)
    np.testing.assert_allclose(ChangeError(networks)(edited), expected, atol=1e-4)
    judge = np.abs((np.roll(before, 1, axis=0) - before)[:, 1] * 65 - true)
    np.testing.assert_allclose(ChangeErrorJudge(networks)(edited), judge, atol=1e-4)
    perfect = replace(edited, output=edited.truth)  # a method without any error has the judge's
    np.testing.assert_allclose(ChangeError(networks)(perfect), judge, atol=1e-4)


@pytest.mark.parametrize("metric", [TrueChange, ChangeError, ChangeErrorJudge])
def test_an_edit_of_something_else_is_not_covered(metric, edited, networks):
    assert np.isnan(metric(networks)(replace(edited, edit=Edit("glasses", 1.0)))).all()


def test_factors_in_another_order_or_number_are_refused(edited, networks):
    with pytest.raises(InvbenchError, match=r"'true_change': expected true factors \(4, 2\) .* found \(4, 3\)"):
        TrueChange(networks)(replace(edited, true_factors=np.zeros((4, 3))))
    with pytest.raises(InvbenchError, match="found none"):
        TrueChange(networks)(replace(edited, true_factors=None))


@pytest.mark.parametrize("metric", [AgeChange, TrueChange, ChangeError])
def test_missing_networks_are_named(metric):
    with pytest.raises(MissingWeights, match="^weights missing: "):
        metric({})
