"""The recipe of the domain-guided encoder: one step by hand, the codes' scale, losses that fall, an export that loads."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from invbench.methods.nets.idinvert import DomainEncoder
from invbench.methods.train import encoding, idinvert
from invbench.methods.train.common import Budget, fit, step_generator
from invbench.methods.train.frozen import load_frozen
from tests.train.test_encoder_recipes import small_networks  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, small_networks) -> dict[str, nn.Module]:  # noqa: F811
    config = {"resolution": 64, "w_dim": 16, "base": 4, "maximum": 8}
    monkeypatch.setattr(idinvert, "architecture", lambda generator: config)
    monkeypatch.setattr(idinvert, "DISCRIMINATOR", dict.fromkeys(small_networks["generator"].channels, 4))
    return small_networks


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_step_sums_the_published_losses(adversarial):
    recipe, twin = (idinvert.Training(seed=3, batch=4, adversarial_from=0.5) for _ in range(2))
    taken: list[dict[str, torch.Tensor]] = []
    learned = {key: value for key, value in recipe.network.named_parameters() if value.requires_grad}
    recipe.optimisers[0].step = lambda: taken.append({key: value.grad.clone() for key, value in learned.items()})
    recipe.network.train()
    losses = recipe.step(7, 0.9 if adversarial else 0.4).losses
    assert set(losses) == {"l2", "lpips", "discriminator", *(["adversarial"] if adversarial else [])}

    network = twin.network.train()
    target, _ = twin.reconstruction.pictures(7, 4)
    drawn = twin.generator.synthesis(network(target))
    total = (drawn - target).square().mean() + 0.8 * (drawn - target).abs().mean()
    if adversarial:
        total = total + 0.1 * softplus(-twin.adversary.network(drawn)).mean()
    total.backward()
    largest = max(value.grad.abs().max().item() for value in network.parameters() if value.grad is not None)
    for key, value in network.named_parameters():
        assert (value.grad is None) == key.endswith("bn.weight"), f"{key}: the scales of normalisation are not trained"
        if value.grad is not None:
            torch.testing.assert_close(taken[0][key], value.grad, rtol=1e-3, atol=1e-4 * largest)
    assert twin.adversary.gamma == 5.0, "half of 10, as the other terms of that loss are halved"


def test_codes_start_with_the_mean_and_the_spread_of_w(small):
    recipe = idinvert.Training(seed=3, batch=8)
    recipe.network.train()
    pictures, _ = recipe.reconstruction.pictures(1, 8)
    codes = recipe.network(pictures)
    w = small["generator"].sample_w(4096, generator=step_generator(3, 0, 2))
    torch.testing.assert_close(codes.mean(0), w.mean(0).expand(10, 16), rtol=0, atol=1e-4)
    torch.testing.assert_close(codes.std(0, unbiased=False), w.std(0).expand(10, 16), rtol=0.1, atol=1e-3)


def test_its_warm_start_compares_codes_with_w_of_the_factors():
    recipe, twin = (idinvert.Training(seed=3, batch=8) for _ in range(2))
    recipe.network.train()
    target, w = twin.reconstruction.pictures(5, 8)
    error = (twin.network.train()(target) - w[:, None]).square().mean() / (w - twin.generator.mean_latent).square().mean()
    assert recipe.step(5, 0.1).losses == {"latents": pytest.approx(error.item(), rel=1e-4)}


def test_a_short_training_improves_and_its_export_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "WARM_START", 0.0)
    recipe = idinvert.Training(seed=3, batch=8, lr=1e-2)
    real = recipe.reconstruction.validate_inversions
    monkeypatch.setattr(recipe.reconstruction, "validate_inversions", lambda invert, **_: real(invert, images=8))
    before = recipe.validate(recipe.network.eval())
    fit(recipe, "idinvert", budget=Budget(1, images=240), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    after = recipe.validate(recipe.network.eval())
    assert after["psnr"] > before["psnr"] + 0.1 and after["delta"] > 0
    encoder = load_frozen("idinvert", zoo=tmp_path)
    assert type(encoder) is DomainEncoder
    images, _ = recipe.reconstruction.pictures(0, 2)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), recipe.network(images), atol=2e-2, rtol=2e-2)
