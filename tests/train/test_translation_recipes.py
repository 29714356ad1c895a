"""The recipes of the image-to-image networks: labels, the published losses, the CAM consistency, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from invbench.datasets.procfaces import render_split, split
from invbench.methods.train import translation
from invbench.methods.train.cam import activation, outside
from invbench.methods.train.catalogue import find_recipe
from invbench.methods.train.common import Budget, fit
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.renders import as_images

KINDS = ("stargan", "attgan", "stgan")


def training(kind, **options):
    return translation.Training(seed=3, kind=kind, pictures=24, batch=4, critic=4, **options)


def still(recipe):
    """The recipe, with gradients but without steps."""
    for optimiser in recipe.optimisers:
        optimiser.step = lambda: None
    return recipe


def test_true_attributes_are_those_that_the_suites_network_reads():
    reader = load_frozen("attributes")
    names = tuple(reader.names)
    has = translation.owned(split("val").u[:60], names, reader)
    read = reader(as_images(render_split("val", range(60)).images, "cpu")) > 0
    assert (has == read).double().mean(0).min() > 0.85
    for column in range(len(names)):
        wanted = ~has[:, column].numpy()
        moved = translation.beyond(split("val").u[:60], column, wanted, reader)
        assert np.array_equal(translation.owned(moved, names, reader)[:, column].numpy(), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_sums_the_published_losses(kind):
    recipe, twin = still(training(kind)), training(kind)
    recipe.step(4, 0.5)  # the fifth step has one of the generator
    images, has, other = twin.drawn(4)
    low, high = (0.0, 1.0) if kind == "stargan" else (-0.5, 0.5)
    own, target = (torch.where(one, high, low) for one in (has, other))
    network = twin.network
    network(images, target if kind != "stgan" else target - own)  # the critic's pass moves running statistics first
    drawn = network(images, target if kind != "stgan" else target - own)
    real, logits = twin.critic(drawn)
    entropy = -(other * F.logsigmoid(logits) + ~other * F.logsigmoid(-logits))
    if kind == "stargan":
        loss = -real.mean() + entropy.sum(1).mean() + 10 * (network(drawn, own) - images).abs().mean()
    else:
        same = network(images, own if kind == "attgan" else own * 0)
        loss = -real.mean() + 10 * entropy.mean() + 100 * (same - images).abs().mean()
    loss.backward()
    for (name, mine), theirs in zip(recipe.network.named_parameters(), network.named_parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs[1].grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_critic_steps_alone_four_times_of_five(kind):
    recipe = training(kind)
    names = [set(recipe.step(index, 0.5).losses) for index in range(5)]
    assert all(one == {"critic", "penalty", "classes"} for one in names[:4])
    assert names[4] == names[0] | {"adversarial", "asked", "reconstruction"}
    images, has, _ = recipe.drawn(0)
    flat = [torch.nn.utils.parameters_to_vector(one.critic.parameters()) for one in (recipe, training(kind))]
    assert not torch.equal(*flat) and images.shape == (4, 3, 64, 64) and has.shape == (4, 4)


def test_the_penalty_is_that_of_a_gradient_by_differences():
    recipe = training("stargan").critic.double()
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(recipe(x)[0].sum(), x)
    step = torch.zeros_like(x)
    step[0, 1, 20, 30] = 1e-5
    slope = (recipe(x + step)[0].sum() - recipe(x - step)[0].sum()) / 2e-5
    assert gradient[0, 1, 20, 30].item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["stargan", "attgan"])
def test_the_activation_map_is_grad_cam(kind):
    """Against gradients of one attribute and one picture at a time."""
    recipe = training(kind)
    images, has, other = recipe.drawn(0)
    wanted = other.float() - has.float()
    found = activation(recipe.critic, images, wanted, 3)
    assert found.shape == (4, 1, 64, 64) and found.min() >= 0 and found.max() <= 1
    for i in range(4):
        maps = torch.zeros(1, 1, 8, 8)
        for k in range(4):
            if wanted[i, k]:
                feature = recipe.critic.until(images[i : i + 1], 3).detach().requires_grad_(True)
                (recipe.critic.after(feature, 3)[1][0, k] * wanted[i, k]).backward()
                one = sum(feature.grad[0, c].mean() * feature.detach()[0, c] for c in range(feature.shape[1])).relu()
                maps = torch.maximum(maps, one / one.max() if one.max() > 0 else one)
        torch.testing.assert_close(found[i : i + 1], F.interpolate(maps, size=64, mode="bilinear"), rtol=1e-4, atol=1e-5)
    assert not activation(recipe.critic, images, wanted * 0, 3).any()
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0] = 1.0
    assert outside(mask, torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)).item() == 0.25


def test_consistency_moves_the_critic_through_its_map_and_the_generator_beside_it():
    recipe = still(training("stargan", cam=10.0))
    assert "cam" not in recipe.step(4, 0.1).losses  # it rises between 20 % and 40 % of the training
    assert {"cam", "critic_cam"} <= set(recipe.step(4, 0.5).losses)
    images, _, other = recipe.drawn(4)
    both = torch.cat([images, images])  # a map of one sign or of the other has positive places
    drawn = recipe.network(both, torch.cat([other, other]).float()).detach()
    wanted = torch.ones(8, 4)
    wanted[4:] = -1
    own = outside(activation(recipe.critic, drawn, wanted, 3), both, drawn)
    gradients = torch.autograd.grad(own, list(recipe.critic.parameters()), allow_unused=True)
    assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0


def test_the_variants_are_recipes_of_their_own():
    for name in (*KINDS, "stargan_cam", "attgan_cam"):
        spec = find_recipe(name)
        assert spec.options["kind"] == name.removesuffix("_cam") and bool(spec.options.get("cam")) == name.endswith("_cam")
        assert 0 < spec.minutes == find_recipe(name.removesuffix("_cam")).minutes <= 15  # what is compared has the same budget


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_short_training_reconstructs(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(translation, "VALIDATION", 8)
    recipe = translation.Training(seed=3, kind=kind, pictures=100)
    fit(recipe, "small", budget=Budget(1, images=1600), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    found = recipe.validate(recipe.network.eval())
    assert found["psnr"] > 14 and 0 <= found["kept"] <= 1
    assert type(load_frozen("small", zoo=tmp_path)) is translation.GENERATORS[kind]
    assert (tmp_path / "small.safetensors").stat().st_size < 250_000
