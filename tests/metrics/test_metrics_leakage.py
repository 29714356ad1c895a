from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from invbench.api import Edit, MissingWeights
from invbench.metrics.leakage import AttributeFlips, Leakage, LeakageJudge, LeakageRatio


def painted(*colours):
    """Images [N, 3, 8, 8] of one colour each, given in [0, 1]: the test's regressor reads yaw from red and age from green."""
    return (torch.tensor(colours) * 2 - 1)[:, :, None, None].expand(-1, -1, 8, 8).contiguous()


@pytest.fixture
def edited(given):
    """Red (yaw) moves by 0.25, 0.1 and 0, green (age) by -0.1, 0.3 and 0.01."""
    before = painted([0.25, 0.5, 0.1], [0.5, 0.25, 0.9], [0.5, 0.5, 0.3])
    after = painted([0.5, 0.4, 0.9], [0.6, 0.55, 0.1], [0.5, 0.51, 0.4])
    return replace(
        given, target=before, inverted=before, output=after, truth=after, samples=given.samples[:3], edit=Edit("yaw", 1.0)
    )


def test_leakage_is_what_other_factors_moved_of_their_range(edited, networks):
    np.testing.assert_allclose(Leakage(networks)(edited), [0.1, 0.3, 0.01], atol=1e-6)
    older = replace(edited, edit=Edit("age", 1.0))
    np.testing.assert_allclose(Leakage(networks)(older), [0.25, 0.1, 0.0], atol=1e-6)
    other = replace(edited, edit=Edit("glasses", 1.0))  # whose own factor nobody reads: all others are two
    np.testing.assert_allclose(Leakage(networks)(other), [0.175, 0.2, 0.005], atol=1e-6)


def test_the_ratio_is_to_the_intended_change_where_there_is_one(edited, networks):
    np.testing.assert_allclose(LeakageRatio(networks)(edited), [0.4, 3.0, np.nan], atol=1e-5)
    assert np.isnan(LeakageRatio(networks)(replace(edited, edit=Edit("glasses", 1.0)))).all()


def test_the_judges_own_leakage_is_that_of_the_true_edit(edited, networks):
    moved = replace(edited, inverted=edited.output)  # of no concern to the judge's own
    np.testing.assert_allclose(LeakageJudge(networks)(moved), [0.1, 0.3, 0.01], atol=1e-6)
    np.testing.assert_allclose(Leakage(networks)(moved), 0.0, atol=1e-6)


def test_flips_are_of_attributes_that_the_edit_is_not_about(edited, networks):
    """Attributes: red > 0.55 (yaw), green > 0.45 (age), blue > 0.5 (hair)."""
    np.testing.assert_array_equal(AttributeFlips(networks)(edited), [1.0, 1.0, 0.0])  # age and hair
    older = replace(edited, edit=Edit("age", 1.0))
    np.testing.assert_array_equal(AttributeFlips(networks)(older), [0.5, 1.0, 0.0])  # yaw and hair


def test_of_a_sum_all_parts_are_intended(edited, networks):
    """Age and yaw are all that the regressor reads, so with glasses one of the two is left, with each other none is."""
    both = replace(edited, edit=Edit("yaw+glasses", 1.0))
    np.testing.assert_array_equal(Leakage(networks)(both), Leakage(networks)(edited))
    np.testing.assert_array_equal(LeakageRatio(networks)(both), LeakageRatio(networks)(edited))
    three = SimpleNamespace(names=["yaw", "age", "hair"], low=[-30, 10, 0], high=[30, 80, 1])
    metric = LeakageRatio({"regressor": Channels(three)})
    summed = replace(edited, edit=Edit("age+yaw", 1.0), memo={})
    moved = np.array([[0.25, 0.1, 0.8], [0.1, 0.3, 0.8], [0.0, 0.01, 0.1]])
    intended = moved[:, :2].mean(1)
    np.testing.assert_allclose(metric(summed), np.where(intended >= 0.02, moved[:, 2] / intended, np.nan), atol=1e-5)
    np.testing.assert_array_equal(AttributeFlips(networks)(replace(edited, edit=Edit("age+yaw", 1.0))), [1.0, 1.0, 0.0])


class Channels(torch.nn.Module):
    """Reads the factors from the colours red, green and blue."""

    def __init__(self, facts):
        super().__init__()
        self.names, self.low, self.high = facts.names, facts.low, facts.high

    def forward(self, images):
        return (images.mean((2, 3)) + 1) / 2


@pytest.mark.parametrize("metric", [Leakage, LeakageRatio, LeakageJudge, AttributeFlips])
def test_missing_networks_are_named(metric):
    with pytest.raises(MissingWeights, match="^weights missing: "):
        metric({})
