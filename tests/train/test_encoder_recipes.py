"""The recipes of the encoders: Ranger, the schedule of offsets, losses that fall, exports that load."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from invbench.api import InvbenchError, MissingWeights
from invbench.datasets.procfaces import FACTORS
from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.encoders import E4EEncoder, PSPEncoder
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.stylegan2_config import GeneratorConfig
from invbench.methods.nets.w_encoder import WEncoder
from invbench.methods.train import e4e, encoding, lsap, psp, w_encoder
from invbench.methods.train.common import Budget, fit, save_network
from invbench.methods.train.frozen import load_frozen

SMALL = {"num_ws": 10, "w_dim": 16, "size": 64, "stages": [[4, 1], [8, 1], [8, 1], [16, 1]], "heads": 8, "groups": [3, 7]}


class Perceptual(nn.Module):
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().flatten(1).mean(1)


class Identity(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(nn.functional.avg_pool2d(images, 16).flatten(1), dim=1)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """A small random generator, simple losses and a small encoder in place of the zoo's."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        channels = dict.fromkeys((4, 8, 16, 32, 64), 8)
        generator = Generator(GeneratorConfig(64, channels, z_dim=len(FACTORS), w_dim=16, n_mapping=2))
    generator.mapping.w_avg.copy_(torch.linspace(-1, 1, 16) / 3)
    networks = {"generator": generator, "perceptual": Perceptual(), "identity": Identity()}
    monkeypatch.setattr(encoding, "load_frozen", lambda name, **_: networks[name].eval().requires_grad_(False))
    for module in (psp, e4e, lsap, w_encoder):
        monkeypatch.setattr(module, "architecture", lambda generator: SMALL)
    return networks


def reference_ranger(start: np.ndarray, gradients: list[np.ndarray], lr: float) -> np.ndarray:
    """Ranger of one matrix in float64, step by step from the papers' formulas."""
    beta1, beta2, eps, k, alpha = 0.95, 0.999, 1e-5, 6, 0.5
    weight, slow = start.copy(), start.copy()
    m, v = np.zeros_like(start), np.zeros_like(start)
    longest = 2 / (1 - beta2) - 1
    for t, gradient in enumerate(gradients, start=1):
        gradient = gradient - gradient.mean(axis=1, keepdims=True)
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        step = m / (1 - beta1**t)
        if length > 5:
            rectification = math.sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            )
            step = rectification * step * math.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
        weight = weight - lr * step
        if t % k == 0:
            slow = slow + alpha * (weight - slow)
            weight = slow.copy()
    return weight


def test_ranger_follows_the_papers():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(3, 4)), [rng.normal(size=(3, 4)) for _ in range(14)]
    weight = nn.Parameter(torch.tensor(start))
    optimiser = Ranger([weight], 0.01)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimiser.step()
    np.testing.assert_allclose(weight.detach().numpy(), reference_ranger(start, gradients, 0.01), rtol=1e-9)


def test_ranger_leaves_biases_uncentred_and_idle_parameters_alone():
    bias, idle = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))
    optimiser = Ranger([bias, idle], 0.1)
    bias.grad = torch.ones(3)
    optimiser.step()
    assert bias.max() < 0 and torch.equal(idle, torch.ones(3))


def test_offsets_open_as_published():
    # 18 vectors and 200,000 steps: the first at 20,000, one more every 2,000.
    for step in (0, 19_999, 20_001, 22_001, 51_999, 52_001, 199_999):
        published = 0 if step < 20_000 else min(1 + (step - 20_000) // 2_000, 17)
        assert e4e.open_offsets(step / 200_000, 18) == published
    assert [e4e.open_offsets(p, 10) for p in (0.0, 0.0999, 0.1, 0.26, 0.99)] == [0, 0, 1, 9, 9]


def built(module, **changes):
    """The recipe of ``module`` with its own options but for ``changes``."""
    (entry,) = module.RECIPES.values()
    return module.Training(**entry.get("options", {}) | changes)


@pytest.mark.parametrize(("module", "network"), [(psp, PSPEncoder), (e4e, E4EEncoder), (w_encoder, WEncoder)])
def test_a_short_training_improves_and_its_export_loads(module, network, tmp_path, small_networks, monkeypatch):
    recipe = built(module, seed=3, batch=4, lr=1e-2)
    monkeypatch.setattr(encoding, "WARM_START", 0.0)  # what is left of so short a training would not show it

    def validated(net: nn.Module) -> dict[str, float]:
        def encode(images: Tensor) -> Tensor:
            codes = net(images)
            return codes if codes.ndim == 3 else codes[:, None].expand(-1, 10, -1)

        return recipe.reconstruction.validate(encode, images=8)

    monkeypatch.setattr(recipe, "validate", validated)
    before = validated(recipe.network.eval())
    path = fit(recipe, "small", budget=Budget(1, images=160), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    after = validated(recipe.network.eval())
    assert after["psnr"] > before["psnr"] + 0.3
    assert after["lpips"] < before["lpips"]
    assert (after["delta"] > 0) == (network is not WEncoder)
    encoder = load_frozen("small", zoo=tmp_path)
    assert type(encoder) is network and not any(p.requires_grad for p in encoder.parameters())
    mean = small_networks["generator"].mean_latent
    assert torch.equal(encoder.latent_avg, mean if network is WEncoder else mean.expand(10, 16))
    assert load_file(path)["latent_avg"].dtype == torch.float32
    images, _ = recipe.reconstruction.pictures(0, 2)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), recipe.network(images), atol=2e-2, rtol=2e-2)


def test_e4e_resumes_where_it_stopped(tmp_path):
    def trained(images: list[int]) -> dict[str, Tensor]:
        folder = tmp_path / "-".join(map(str, images))
        for budget in images:
            recipe = e4e.Training(seed=5, batch=4)
            recipe.validate = lambda network: {}
            # Progress depends on the budget: hold it, so that both ways take the same steps.
            step = recipe.step
            recipe.step = lambda index, progress, step=step: step(index, 0.5)
            fit(recipe, "e4e", budget=Budget(1, images=budget), seed=5, folder=folder, zoo=folder)
        return {**recipe.network.state_dict(), **recipe.heads.state_dict(prefix="heads.")}

    whole, halves = trained([40]), trained([20, 40])
    assert any(key.endswith("codes") for key in whole)
    for key, value in whole.items():
        torch.testing.assert_close(halves[key], value, msg=key)


def test_equal_seeds_give_equal_steps():
    first, second, other = (e4e.Training(seed=seed, batch=2).step(0, 0.5).losses for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_frozen_networks_name_what_is_wrong(tmp_path: Path):
    with pytest.raises(MissingWeights, match="nox -s train -- psp"):
        load_frozen("psp", zoo=tmp_path)
    path = save_network(tmp_path / "psp.safetensors", PSPEncoder(**SMALL), SMALL, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvbenchError, match=r"psp\.safetensors: expected a network of the zoo"):
        load_frozen("psp", zoo=tmp_path)
    save_network(path, nn.Linear(1, 1), {"in_features": 1, "out_features": 1}, {})  # not one of ours
    with pytest.raises(InvbenchError, match="expected one of invbench.methods or invbench.metrics, found 'torch"):
        load_frozen("psp", zoo=tmp_path)
    save_network(path, PSPEncoder(**SMALL), {**SMALL, "heads": 12}, {})
    with pytest.raises(InvbenchError, match="size mismatch"):
        load_frozen("psp", zoo=tmp_path)


@pytest.mark.parametrize("module", [psp, e4e, lsap, w_encoder])
def test_the_warm_start_learns_the_latents_of_the_factors(module):
    recipe = built(module, seed=3, batch=8, lr=1e-2)
    errors = [recipe.step(index, 0.1).losses["latents"] for index in range(25)]
    assert np.mean(errors[-5:]) < 0.99 * np.mean(errors[:5])
    assert "l2" in recipe.step(25, encoding.WARM_START).losses


def test_lsap_aligns_styles_and_opens_offsets_as_published(monkeypatch, small_networks):
    for step in (0, 19_999, 20_001, 20_101, 21_501, 21_701, 199_999):  # from 20,000 of 200,000 steps on one more every 100
        published = 0 if step < 20_000 else min(1 + (step - 20_000) // 100, 17)
        assert lsap.open_offsets(step / 200_000, 18) == published
    monkeypatch.setattr(encoding, "WARM_START", 0.0)
    aligned = []
    for weight in (0.0, 50.0):
        monkeypatch.setattr(lsap, "ALIGNMENT_WEIGHT", weight)
        recipe = built(lsap, seed=3, batch=4, lr=1e-2, samples=200)
        losses = [recipe.step(index, 0.5).losses for index in range(12)]
        images, _ = recipe.reconstruction.pictures(99, 8)
        with torch.no_grad():
            aligned.append(recipe.styles.distance(recipe.network(images)).mean().item())
    assert set(losses[0]) == {"l2", "lpips", "id", "delta", "alignment"}
    assert aligned[1] < aligned[0]


def test_an_encoder_into_w_has_e4es_discriminator_or_none(monkeypatch):
    monkeypatch.setattr(encoding, "WARM_START", 0.0)
    judged = built(w_encoder, seed=3, batch=4).step(0, 0.5).losses
    alone = built(w_encoder, seed=3, batch=4, adversarial=0.0)
    assert set(judged) - set(alone.step(0, 0.5).losses) == {"adversarial", "discriminator"}
    assert len(alone.optimisers) == 1 and not list(alone.heads.parameters())


def test_the_norm_of_w_holds_psp_near_the_mean_latent(monkeypatch, small_networks):
    monkeypatch.setattr(encoding, "WARM_START", 0.0)
    mean = small_networks["generator"].mean_latent
    offsets = []
    for weight in (0.0, 1.0):
        recipe = built(psp, seed=3, batch=4, lr=1e-2, w_norm=weight)
        pictures, _ = recipe.reconstruction.pictures(99, 4)
        with torch.no_grad():
            codes = recipe.network(recipe.reconstruction.pictures(0, 4)[0])
            expected = torch.stack([(code - mean).square().sum().sqrt() for code in codes])
        losses = [recipe.step(index, 0.5).losses for index in range(10)]
        assert losses[0].get("w_norm") == (pytest.approx(expected.mean().item(), rel=1e-4) if weight else None)
        offsets.append((recipe.network(pictures) - mean).norm().item())
    assert offsets[1] < 0.9 * offsets[0]
