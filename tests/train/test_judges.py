"""The recipes of the judging networks: distortions, rankings, losses and figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from invbench.datasets.procfaces import FACTORS, sample_factors
from invbench.methods.train import attributes, identity, parser, perceptual, renders
from invbench.methods.train.catalogue import recipes
from invbench.methods.train.common import muon_and_adam
from invbench.methods.train.muon import Muon

JUDGES = (
    "perceptual", "perceptual_metric", "regressor", "regressor_second", "identity", "identity_metric", "parser", "attributes",
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return renders.draw(np.random.default_rng(1), 8, "cpu").images


def test_no_severity_leaves_pictures_as_they_are(faces: torch.Tensor) -> None:
    drawn = renders.Distortion.draw(faces, generator())
    assert torch.equal(drawn.apply(faces, torch.zeros(8, len(renders.DISTORTIONS))), faces)


@pytest.mark.parametrize("kind", range(len(renders.DISTORTIONS)), ids=renders.DISTORTIONS)
def test_every_distortion_grows_with_its_severity(kind: int, faces: torch.Tensor) -> None:
    drawn = renders.Distortion.draw(faces, generator())
    errors = [torch.zeros(8)]
    for strength in (0.25, 0.5, 1.0):
        severity = torch.zeros(8, len(renders.DISTORTIONS))
        severity[:, kind] = strength
        errors.append((drawn.apply(faces, severity) - faces).square().mean((1, 2, 3)))
    assert all((later > earlier).all() for earlier, later in zip(errors, errors[1:]))


def test_softening_is_mild_and_spares_a_share(faces: torch.Tensor) -> None:
    soft = renders.softened(faces, generator(), share=0.5)
    errors = (soft - faces).square().mean((1, 2, 3))
    assert (errors == 0).any() and (errors > 0).any()
    assert errors.max() < 0.02


def test_equal_error_pairs_are_equally_far_off(faces: torch.Tensor) -> None:
    shaded, distorted = perceptual.equal_error(faces, generator())
    first, second = ((x - faces).square().mean((1, 2, 3)).sqrt() for x in (shaded, distorted))
    assert torch.allclose(first, second, rtol=0.01)
    assert not torch.allclose(shaded, distorted, atol=0.01)


def test_ordered_pictures_repeat_and_differ() -> None:
    pictures = perceptual.ordered_pictures(3, 4, 8, "cpu")
    again = perceptual.ordered_pictures(3, 4, 8, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(pictures, again))
    reference, mild, severe = pictures
    assert (mild[4:] != reference[4:]).flatten(1).any(1).all()
    errors = [(x[4:] - reference[4:]).square().mean() for x in (mild, severe)]
    assert errors[1] > errors[0]


def test_folded_normalisations_give_the_same_features(faces: torch.Tensor) -> None:
    recipe = perceptual.Training(seed=1, device="cpu")
    recipe.heads.train()
    for index in range(3):
        recipe.step(index, 0.1)
    recipe.heads.eval()
    with torch.no_grad():
        before = recipe.heads.normalised(recipe.network, faces)
        recipe.heads.fold(recipe.network)
        after = recipe.network.features(faces)
        recipe.heads.fold(recipe.network)  # a second call changes nothing
        again = recipe.network.features(faces)
    for a, b, c in zip(before, after, again, strict=True):
        assert torch.allclose(a, b, atol=1e-3 * float(a.abs().max()))
        assert torch.equal(b, c)


def test_channel_weights_learn_after_the_features_and_stay_non_negative() -> None:
    recipe = perceptual.Training(seed=1, device="cpu")
    before = [weight.detach().clone() for weight in recipe.network.weights]
    recipe.step(0, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(before, recipe.network.weights))
    recipe.heads.fold(recipe.network)
    kernels = [kernel.detach().clone() for kernel in recipe.network.stages.parameters()]
    recipe.step(1, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(kernels, recipe.network.stages.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(before, recipe.network.weights))
    assert all((weight >= 0).all() for weight in recipe.network.weights)


def test_contrastive_loss_prefers_the_right_grouping() -> None:
    embeddings = torch.eye(4).repeat_interleave(2, 0)
    right = identity.contrastive(embeddings, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    wrong = identity.contrastive(embeddings, torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]))
    assert right < 0.01 < 9 < wrong


def test_portraits_keep_who_it_is_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    who = identity.people(rng, 8)
    views = identity.portraits(rng, who, 3).reshape(8, 3, -1)
    kept = np.array([factor.group == "identity" for factor in FACTORS])
    assert np.array_equal(views[:, :, kept], np.repeat(who[:, None, kept], 3, 1))
    assert (views[:, 0, ~kept] != views[:, 1, ~kept]).mean() > 0.99
    shared = (who[0::2] == who[1::2]).mean(1)
    assert (shared[:2] > 0.2).all() and (shared[2:] < 0.05).all()


def test_verification_figures() -> None:
    figures = identity.verification("x", torch.tensor([0.9, 0.8, 0.4]), torch.tensor([0.1, 0.2, 0.5]))
    assert figures["auc_x"] == pytest.approx(8 / 9)
    assert figures["accuracy_x"] == pytest.approx(5 / 6)


def test_iou_by_hand() -> None:
    found, truth = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 0], [1, 1]])
    assert np.allclose(parser.iou(found, truth, 4), [1 / 2, 1 / 3, np.nan, np.nan], equal_nan=True)


def test_attribute_labels_follow_the_documented_thresholds() -> None:
    recipe = attributes.Training(seed=1, device="cpu")
    u = torch.tensor(sample_factors(np.random.default_rng(0), 200), dtype=torch.float32)
    labels = dict(zip(attributes.ATTRIBUTES, recipe._labels(u).T, strict=True))
    names = [factor.name for factor in FACTORS]
    assert torch.equal(labels["old"] > 0, 15 + 65 * u[:, names.index("age")] > 45)
    assert torch.equal(labels["facing_left"] > 0, u[:, names.index("yaw")] <= 0.5)
    assert all(0.3 < float(share.mean()) < 0.7 for share in labels.values())


def test_muon_gets_the_kernels_of_the_body_alone() -> None:
    body, head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Linear(4, 2)
    muon, adam = muon_and_adam(body, head)
    assert isinstance(muon, Muon)
    assert [p.shape for p in muon.param_groups[0]["params"]] == [body[0].weight.shape]
    assert len(adam.param_groups[0]["params"]) == 5


@pytest.mark.parametrize("name", JUDGES)
def test_every_recipe_takes_a_step(name: str) -> None:
    recipe = recipes()[name].build(seed=1, device="cpu")
    recipe.network.train()
    before = [parameter.detach().clone() for parameter in recipe.network.parameters()]
    step = recipe.step(0, 0.5)
    assert step.images > 0
    assert all(np.isfinite(value) for value in step.losses.values())
    assert not all(torch.equal(a, b) for a, b in zip(before, recipe.network.parameters()))
    rebuilt = type(recipe.network)(**recipe.config)
    assert rebuilt.load_state_dict(recipe.network.state_dict()).missing_keys == []
