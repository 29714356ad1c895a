"""The recipe of the class-conditional generator: classes, norms from outside, measured statistics, a fit that falls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from invbench.datasets.procfaces import INDEX
from invbench.datasets.procfaces.classes import CLASSES, class_of, factors_in_class
from invbench.methods.nets.biggan import BigGAN
from invbench.methods.train import biggan
from invbench.methods.train.spectral import SpectralNorm, orthogonality

SMALL = {
    "output_dim": 16, "z_dim": 38, "class_embed_dim": 4, "channel_width": 4, "num_classes": len(CLASSES),
    "layers": [[True, 16, 8], [False, 8, 4], [True, 4, 2], [False, 2, 1]], "attention_layer_position": 1, "n_stats": 3,
}  # fmt: skip


def test_a_latent_in_a_class_gives_a_face_of_that_class() -> None:
    rng = np.random.default_rng(1)
    z, classes = 3 * rng.standard_normal((400, len(INDEX))), rng.integers(len(CLASSES), size=400)
    z[:8] = 9.0  # the upper end of every part
    u = factors_in_class(z, classes)
    assert (class_of(u) == classes).all()
    old = np.array([CLASSES[k].startswith("old ") for k in classes])
    assert ((u[:, INDEX["age"]] >= 0.5) == old).all()
    assert u[:, INDEX["yaw"]].min() < 0.01 and u[:, INDEX["yaw"]].max() > 0.99  # what is not cut has its whole range
    with pytest.raises(ValueError, match="from 0 to 7"):
        factors_in_class(z[:1], np.array([8]))


def test_norms_found_by_iteration_are_the_largest_singular_values() -> None:
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(3, 7, 3), nn.Linear(5, 4))
    norm = SpectralNorm(network, without=["1.weight"])
    for _ in range(200):
        found = norm.weights(network)
    assert list(found) == ["0.weight"]
    expected = network[0].weight / np.linalg.svd(network[0].weight.detach().flatten(1).numpy())[1][0]
    torch.testing.assert_close(found["0.weight"], expected, rtol=1e-4, atol=1e-6)
    kept = network[1].weight.clone()
    norm.fold(network)
    torch.testing.assert_close(network[0].weight, found["0.weight"], rtol=1e-4, atol=1e-6)
    assert (network[1].weight == kept).all()


def test_orthogonality_sums_products_of_different_rows_or_columns() -> None:
    network = nn.ModuleDict({"wide": nn.Linear(3, 2, bias=False), "tall": nn.Linear(2, 3, bias=False)})
    rows = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 1.0]])
    network["wide"].weight.data, network["tall"].weight.data = rows, rows.T
    assert orthogonality(network, ["wide.weight"]).item() == orthogonality(network, ["tall.weight"]).item() == 2 * 3.0**2


def test_stored_statistics_give_the_picture_of_the_batch_they_were_measured_on() -> None:
    torch.manual_seed(2)
    network = BigGAN(**SMALL).requires_grad_(False)
    z, classes = torch.randn(12, 38), F.one_hot(torch.arange(12) % len(CLASSES), len(CLASSES)).float()
    biggan.measure(network, 1, lambda part: (z, classes), parts=2)
    torch.testing.assert_close(network(z, classes, truncation=0.5), network(z, classes, truncation=None), rtol=1e-3, atol=1e-4)
    assert (network.generator.bn.running_means[[0, 2]] == 0).all()  # other rows are as before


def test_the_recipe_fits_and_lets_the_discriminator_join(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(u: np.ndarray, device: Any) -> Any:
        images, weight = weighted(u, device)
        return F.avg_pool2d(images, 4), F.avg_pool2d(weight, 4)

    weighted = biggan.weighted
    monkeypatch.setattr(biggan, "CONFIG", SMALL)
    monkeypatch.setattr(biggan, "WIDTHS", (8, 16, 16))
    monkeypatch.setattr(biggan, "weighted", small)
    recipe = biggan.Training(seed=1, device="cpu")
    before = [value.clone() for value in recipe.discriminator.parameters()]
    losses = [recipe.step(index, 0.3).losses for index in range(20)]
    assert np.mean([one["fit"] for one in losses[-4:]]) < 0.8 * losses[0]["fit"]
    assert all(torch.equal(a, b) for a, b in zip(before, recipe.discriminator.parameters(), strict=True))
    found = recipe.step(20, 0.9).losses
    assert found["hinge"] > 0 and not torch.equal(before[0], next(recipe.discriminator.parameters()))
    unused = [name for name, value in recipe.network.named_parameters() if value.grad is None]
    assert not unused
