"""The recipes of HyperStyle and HyperInverter: one step by hand, the schedule, losses that fall, exports that load."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from invbench.methods.nets.encoders import PSPEncoder
from invbench.methods.nets.hyperinverter import HyperInverterNetwork
from invbench.methods.nets.hyperstyle import HyperStyleNetwork
from invbench.methods.nets.w_encoder import WEncoder
from invbench.methods.train import encoding, hyperinverter, hyperstyle
from invbench.methods.train.common import Budget, fit
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.image_adversary import ImageAdversary
from tests.train.test_encoder_recipes import SMALL, small_networks  # noqa: F401 - a fixture

STAGES = SMALL["stages"]
NETWORKS = {"hyperstyle": HyperStyleNetwork, "hyperinverter": HyperInverterNetwork}


@pytest.fixture(autouse=True)
def small_recipes(monkeypatch: pytest.MonkeyPatch, small_networks) -> dict[str, nn.Module]:  # noqa: F811
    channels = dict(small_networks["generator"].channels)
    with torch.random.fork_rng():
        torch.manual_seed(8)
        trained = {"psp": PSPEncoder(**SMALL), "w_encoder": WEncoder(16, size=64, stages=STAGES)}
    sizes = {"resolution": 64, "channels": channels, "size": 64}
    style = sizes | {"stages": [[4, 1], [6, 1], [8, 1], [10, 1]], "code": 8, "inner": [6, 6]}
    invert = sizes | {"w_dim": 16, "fused": 4, "stages": STAGES, "width": 6, "grid": 4}
    for module, config in ((hyperstyle, style), (hyperinverter, invert)):
        monkeypatch.setattr(module, "architecture", lambda generator, config=config: config)
        monkeypatch.setattr(module, "load_frozen", lambda name, **_: trained[name].eval().requires_grad_(False))
    monkeypatch.setattr(hyperinverter, "DISCRIMINATOR", dict.fromkeys(channels, 4))
    return trained


def style(**changes) -> hyperstyle.Training:
    return hyperstyle.Training(**{"seed": 3, "lr": 1e-2} | changes)


INVERT = {"seed": 3, "targets": "conv_without_bias", "hidden": 4, "drawn": True, "layer_wise": True, "lr": 1e-2}


def invert(**changes) -> hyperinverter.Training:
    return hyperinverter.Training(**INVERT | changes)


def distances(output, target, identity):
    l2, lpips = (output - target).square().mean(), (output - target).abs().mean()
    similarity = (identity(output) * identity(target)).sum(1).mean()
    return l2 + 0.8 * lpips + 0.1 * (1 - similarity), l2


def taken_by(recipe) -> list[dict[str, torch.Tensor]]:
    """The gradients that the first optimiser is asked to step along."""
    taken: list[dict[str, torch.Tensor]] = []
    recipe.optimisers[0].step = lambda: taken.append({k: p.grad.clone() for k, p in recipe.network.named_parameters()})
    return taken


def agree(taken, network, total) -> None:
    expected = torch.autograd.grad(total, list(network.parameters()))
    bound = 1e-4 * max(gradient.abs().max().item() for gradient in expected)
    for (key, _), gradient in zip(network.named_parameters(), expected, strict=True):
        torch.testing.assert_close(taken[0][key], gradient, rtol=1e-3, atol=bound, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize(("progress", "passes"), [(0.2, 1), (0.9, 5)])
def test_hyperstyle_sums_the_gradients_of_passes_cut_from_each_other(progress, passes):
    recipe, twin = style(), style()
    taken = taken_by(recipe)
    recipe.network.train()
    reported = recipe.step(7, progress).losses

    network, generator = twin.network.train(passes == 1), twin.generator  # later the normalisations hold their statistics
    target, _ = twin.reconstruction.pictures(7, twin.batch)
    latents = generator.repeat(twin.embedder.encoder(target))
    drawn, change, total = generator.synthesis(latents), {}, torch.zeros(())
    for _ in range(passes):
        found = network(target, drawn.detach())
        change = {name: delta + (change[name].detach() if change else 0) for name, delta in found.items()}
        weights = {name: generator.synthesis.get_parameter(name) * (1 + delta) for name, delta in change.items()}
        drawn = generator.synthesis(latents, weights=weights)
        loss, l2 = distances(drawn, target, twin.reconstruction.identity)
        total = total + loss
    assert reported["l2"] == pytest.approx(l2.item(), rel=1e-4)
    agree(taken, network, total)


@pytest.mark.parametrize("adversarial", [False, True])
def test_hyperinverter_adds_the_adversarial_loss_late_and_then_takes_half_the_pictures(adversarial):
    recipe, twin = invert(), invert()
    taken = taken_by(recipe)
    recipe.network.train()
    step = recipe.step(7, 0.6 if adversarial else 0.1)
    assert step.images == (4 if adversarial else 8)
    assert ("discriminator" in step.losses) == adversarial and ("adversarial" in step.losses) == adversarial
    assert "discriminator" in recipe.step(8, 0.35).losses, "it learns before its loss is used"

    network, generator = twin.network.train(), twin.generator
    target, _ = twin.reconstruction.pictures(7, step.images)
    latents = generator.repeat(twin.embedder.encoder(target))
    added = network(target, generator.synthesis(latents))
    weights = {name: generator.synthesis.get_parameter(name) + value for name, value in added.items()}
    drawn = generator.synthesis(latents, weights=weights)
    total, _ = distances(drawn, target, twin.reconstruction.identity)
    if adversarial:
        total = total + 0.005 * softplus(-twin.adversary.network(drawn)).mean()
    agree(taken, network, total)


def test_the_discriminator_learns_to_tell_pictures_with_r1_every_sixteenth_step():
    draw = torch.Generator().manual_seed(2)
    real, drawn = (torch.randn(4, 3, 16, 16, generator=draw) + shift for shift in (0.5, -0.5))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        adversary = ImageAdversary(16, {4: 4, 8: 4, 16: 4}, lr=5e-3, gamma=10.0, device="cpu")
    network = adversary.network
    first = (softplus(-network(real)).mean() + softplus(network(drawn)).mean()).item() / 2
    before = [p.detach().clone() for p in network.parameters()]
    assert adversary.train(drawn, real, 1, 1.0).item() == pytest.approx(first, rel=1e-5)
    assert all(int(state["step"]) == 1 for state in adversary.optimiser.state.values())
    adversary.train(drawn, real, 16, 1.0)
    assert max(int(state["step"]) for state in adversary.optimiser.state.values()) == 3
    for index in range(17, 31):
        last = adversary.train(drawn, real, index, 1.0).item()
    assert last < first - 0.05 and any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    watched = drawn.clone().requires_grad_(True)
    adversary.loss(watched).backward()
    assert watched.grad.abs().max() > 0 and all(p.requires_grad for p in network.parameters())


def test_hyperinverters_second_encoder_starts_from_the_trunk_of_psp(small_recipes):
    encoder = invert().network.w_bar_encoder
    for part in ("input_layer", "body"):
        for key, value in small_recipes["psp"].get_submodule(part).state_dict().items():
            assert torch.equal(encoder.get_submodule(part).state_dict()[key], value), key


@pytest.mark.parametrize("changes", [{"drawn": False}, {"layer_wise": False}])
def test_variants_of_hyperinverter_are_trained_by_the_same_recipe(changes):
    recipe = invert(**changes)
    before = {name: value.clone() for name, value in recipe.network.hypernet.named_parameters()}
    recipe.network.train()
    assert recipe.step(1, 0.1).losses["l2"] > 0 and recipe.config == {**recipe.config, **changes}
    assert any(not torch.equal(before[name], value) for name, value in recipe.network.hypernet.named_parameters())


def test_hyperstyles_last_layers_start_small():
    plain, small = style(start=1.0).network, style(start=0.1).network
    for a, b in zip(plain.last_parameters(), small.last_parameters(), strict=True):
        torch.testing.assert_close(0.1 * a, b)
    target, _ = style().reconstruction.pictures(0, 2)
    first, second = (network.eval()(target, target) for network in (plain, small))
    for name, value in first.items():
        torch.testing.assert_close(0.1 * value, second[name])


@pytest.mark.parametrize(("name", "build"), [("hyperstyle", style), ("hyperinverter", invert)])
def test_a_short_training_improves_and_its_export_loads(name, build, tmp_path, monkeypatch):
    recipe = build()
    real = recipe.reconstruction.validate_inversions
    monkeypatch.setattr(recipe.reconstruction, "validate_inversions", lambda invert, **_: real(invert, images=8))
    before = recipe.validate(recipe.network.eval())
    fit(recipe, name, budget=Budget(1, images=128), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    after = recipe.validate(recipe.network.eval())
    assert after["psnr"] > before["psnr"] + 0.1
    assert after["delta"] == 0, "the codes stay in W"
    network = load_frozen(name, zoo=tmp_path)
    assert type(network) is NETWORKS[name] and network.targets == recipe.network.targets


@pytest.mark.parametrize("kind", ["hyperstyle", "hyperinverter"])
def test_the_recipe_is_found_by_its_name(kind):
    from invbench.methods.train.catalogue import find_recipe

    spec = find_recipe(kind)
    assert spec.module == f"invbench.methods.train.{kind}" and "w_encoder" in spec.help
    assert encoding.WEIGHTS == {"l2": 1.0, "lpips": 0.8, "id": 0.1}
