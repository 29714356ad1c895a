from __future__ import annotations

import numpy as np
import pytest
import torch

from invbench.api import Edit, InvbenchError
from invbench.methods.directions.interfacegan import boundary
from invbench.methods.directions.linear import Directions
from invbench.methods.train.directions import unit_of
from invbench.methods.train.figures import r_squared


def test_boundary_finds_the_axis_that_decides_the_score():
    latents = np.random.default_rng(0).standard_normal((5000, 6))
    axis = np.array([0.0, 0.6, 0.0, -0.8, 0.0, 0.0])
    normal, accuracy = boundary(latents, latents @ axis, seed=0)
    assert normal @ axis > 0.98 and np.linalg.norm(normal) == pytest.approx(1)
    assert accuracy > 0.97


def test_boundary_of_a_score_without_meaning_is_a_coin():
    draws = np.random.default_rng(1)
    _, accuracy = boundary(draws.standard_normal((20_000, 6)), draws.standard_normal(20_000), seed=0)
    assert 0.35 < accuracy < 0.65


def test_units_of_edits_are_shares_of_their_factors():
    assert unit_of("age") == pytest.approx(5 / 65)
    assert unit_of("yaw") == pytest.approx(5 / 80)
    assert unit_of("smile") == pytest.approx(0.1)


def test_directions_move_every_layer_and_name_what_they_know():
    directions = Directions(["age", "yaw"], 4, 3)
    directions.vectors[1] = torch.arange(12.0).view(4, 3)
    moved = directions.move(torch.ones(2, 4, 3), Edit("yaw", -2.0))
    torch.testing.assert_close(moved, 1 - 2 * torch.arange(12.0).view(1, 4, 3).expand(2, -1, -1))
    with pytest.raises(InvbenchError, match="'smile'.*age, yaw"):
        directions["smile"]


def test_r_squared_is_1_for_the_truth_and_0_for_the_mean():
    truth = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 8.0]])
    predicted = np.stack([truth[:, 0], np.full(3, truth[:, 1].mean())], axis=1)
    np.testing.assert_allclose(r_squared(truth, predicted), [1, 0], atol=1e-12)
