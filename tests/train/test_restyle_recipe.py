"""The recipe of ReStyle's encoders: the start, the passes of one step, losses that fall, exports that load."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invbench.methods.nets.encoders import E4EEncoder, PSPEncoder
from invbench.methods.nets.restyle import ReStyleE4EEncoder, ReStylePSPEncoder
from invbench.methods.train import encoding, restyle
from invbench.methods.train.adversary import ADVERSARIAL_WEIGHT, DELTA_WEIGHT
from invbench.methods.train.common import Budget, descend, fit, step_generator
from invbench.methods.train.frozen import load_frozen
from tests.train.test_encoder_recipes import SMALL, small_networks  # noqa: F401 - a fixture

NETWORKS = {"psp": ReStylePSPEncoder, "e4e": ReStyleE4EEncoder}


@pytest.fixture(autouse=True)
def small_encoders(monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        trained = {"psp": PSPEncoder(**SMALL), "e4e": E4EEncoder(**SMALL)}
    monkeypatch.setattr(restyle, "architecture", lambda generator: SMALL)
    monkeypatch.setattr(restyle, "load_frozen", lambda name, **_: trained[name].eval().requires_grad_(False))
    return trained


def built(over: str, **changes) -> restyle.Training:
    return restyle.Training(**{"seed": 3, "over": over, "lr": 1e-2} | changes)


@pytest.mark.parametrize("over", ["psp", "e4e"])
def test_it_starts_from_the_trunk_of_the_trained_encoder(over, small_encoders):
    network = built(over).network
    trained = small_encoders[over]
    assert type(network) is NETWORKS[over]
    for key, value in trained.body.state_dict().items():
        assert torch.equal(network.body.state_dict()[key], value), key
    weight, known = network.input_layer[0].weight, trained.input_layer[0].weight
    assert torch.equal(weight[:, :3], known)
    assert 0.5 < (weight[:, 3:].std() / known.std()).item() < 2
    assert torch.equal(network.input_layer[2].weight, trained.input_layer[2].weight)


@pytest.mark.parametrize("over", ["psp", "e4e"])
def test_the_first_part_makes_first_passes_of_more_pictures_and_then_the_statistics_stand_still(over, monkeypatch):
    recipe = built(over, first_batch=6)
    passes: list[int] = []
    real = recipe.reconstruction.distances
    monkeypatch.setattr(recipe.reconstruction, "distances", lambda *pair: passes.append(len(pair[0])) or real(*pair))
    statistics = [m for m in recipe.network.modules() if isinstance(m, nn.BatchNorm2d)]
    found = []
    for index, (progress, images) in enumerate([(0.1, 6), (0.5, 6), (0.7, 4)]):
        recipe.network.train()  # as the loop does when it begins
        before = [m.running_mean.clone() for m in statistics]
        passes.clear()
        assert recipe.step(index, progress).images == images
        moved = [not torch.equal(old, m.running_mean) for old, m in zip(before, statistics, strict=True)]
        found.append((list(passes), any(moved), all(moved)))
    assert found == [([], True, True), ([6], True, True), ([4] * 5, False, False)]


def test_gradients_of_several_losses_add_up_and_each_waits_for_the_one_before():
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    seen: list[Tensor | None] = []

    def losses():
        for factor in (1.0, 10.0):
            seen.append(None if weight.grad is None else weight.grad.clone())
            yield factor * weight.square().sum()

    descend(losses(), [torch.optim.SGD([weight], lr=0.01)], 1.0)
    assert seen[0] is None and torch.equal(seen[1], torch.tensor([2.0, 4.0]))
    torch.testing.assert_close(weight.detach(), torch.tensor([1.0, 2.0]) - 0.01 * 22 * torch.tensor([1.0, 2.0]))
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        descend(iter([weight.sum(), weight.sum() * torch.nan]), [torch.optim.SGD([weight], lr=0.01)], 1.0)


@pytest.mark.parametrize("over", ["psp", "e4e"])
def test_a_step_sums_the_gradients_of_five_passes_cut_from_each_other(over):
    recipe, twin = built(over), built(over)
    taken: list[dict[str, Tensor]] = []
    recipe.optimisers[0].step = lambda: taken.append({k: p.grad.clone() for k, p in recipe.network.named_parameters()})
    recipe.network.train()
    reported = recipe.step(7, 0.9).losses

    network, generator = twin.network.eval(), twin.reconstruction.generator  # the normalisations hold their statistics
    target, _ = twin.reconstruction.pictures(7, twin.batch)
    stage = (9,) if over == "e4e" else ()
    latents = generator.mean_latent.expand(len(target), 10, 16)
    torch.testing.assert_close(twin.mean_picture.expand_as(target), generator.synthesis(latents))
    drawn = twin.mean_picture.expand_as(target)  # Adam's first step of the discriminator takes every rounding error for a sign
    if over == "e4e":  # its discriminator has learnt from the first pass before the encoder is judged
        with torch.no_grad():
            first = network(target, drawn, latents, *stage)
        twin.adversary.train(first, 7, restyle.cosine(0.9))
    noise, total = step_generator(3, 7, encoding.NOISE), torch.zeros(())
    for _ in range(5):
        latents = network(target, drawn.detach(), latents.detach(), *stage)
        drawn = generator.synthesis(latents, noise="random", generator=noise)
        l2, lpips = (drawn - target).square().mean(), (drawn - target).abs().mean()
        similarity = (twin.reconstruction.identity(drawn) * twin.reconstruction.identity(target)).sum(1).mean()
        total = total + l2 + 0.8 * lpips + 0.1 * (1 - similarity)
        if over == "e4e":
            total = total + DELTA_WEIGHT * sum((latents[:, i] - latents[:, 0]).norm(dim=1).mean() for i in range(1, 10))
            verdict = twin.adversary.discriminator(latents.flatten(0, 1))
            total = total + ADVERSARIAL_WEIGHT * nn.functional.softplus(-verdict).mean()
    expected = torch.autograd.grad(total, list(network.parameters()))
    assert reported["l2"] == pytest.approx(l2.item(), rel=1e-4)
    bound = 1e-4 * max(gradient.abs().max().item() for gradient in expected)
    for (key, _), gradient in zip(network.named_parameters(), expected, strict=True):
        torch.testing.assert_close(taken[0][key], gradient, rtol=1e-3, atol=bound, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("over", ["psp", pytest.param("e4e", marks=pytest.mark.slow)])
def test_a_short_training_improves_and_its_export_loads(over, tmp_path, small_networks, monkeypatch):  # noqa: F811
    recipe = built(over, first_batch=8, first_passes=0.7)
    monkeypatch.setattr(encoding, "WARM_START", 0.0)
    monkeypatch.setattr(encoding, "VALIDATION_IMAGES", 8)
    real = recipe.reconstruction.validate
    monkeypatch.setattr(recipe.reconstruction, "validate", lambda encode: real(encode, images=8))
    before = recipe.validate(recipe.network.eval())
    fit(recipe, "small", budget=Budget(1, images=160), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    after = recipe.validate(recipe.network.eval())
    assert after["psnr"] > before["psnr"] + 0.2 and after["psnr"] > after["psnr_first"]
    encoder = load_frozen("small", zoo=tmp_path)
    assert type(encoder) is NETWORKS[over]
    assert torch.equal(encoder.latent_avg, small_networks["generator"].mean_latent.expand(10, 16))


def test_over_e4e_offsets_open_late_and_the_discriminator_learns(monkeypatch):
    monkeypatch.setattr(encoding, "WARM_START", 0.0)
    recipe = built("e4e")
    recipe.network.train()
    early, late = recipe.step(0, 0.05).losses, recipe.step(1, 0.5).losses
    assert early["delta"] == 0 and late["delta"] > 0
    assert {"discriminator", "adversarial", "l2", "lpips", "id"} <= set(late)


@pytest.mark.parametrize("over", ["psp", "e4e"])
def test_the_warm_start_takes_first_passes_only(over):
    recipe = built(over)
    recipe.network.train()
    errors = [recipe.step(index, 0.1).losses["latents"] for index in range(15)]
    assert sum(errors[-5:]) < 0.99 * sum(errors[:5])
