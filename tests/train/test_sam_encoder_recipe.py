"""The recipe of SAM's encoders: what a step adds up, a training that improves, an export that loads."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.nets.sam_encoders import SAMEncoders
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.train import sam_encoder
from invbench.methods.train.common import Budget, fit
from invbench.methods.train.frozen import load_frozen
from tests.train.test_encoder_recipes import SMALL, small_networks  # noqa: F401 - a fixture

ENCODERS = {
    "F4": {"channels": 8, "stages": [[4, 1], [4, 1], [4, 1]]},
    "F6": {"channels": 8, "stages": [[4, 1], [4, 1]]},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, small_networks) -> None:  # noqa: F811
    with torch.random.fork_rng():
        torch.manual_seed(8)
        e4e = E4EEncoder(**SMALL).eval().requires_grad_(False)
    monkeypatch.setattr(sam_encoder, "architecture", lambda generator: {"size": 64, "encoders": ENCODERS})
    monkeypatch.setattr(sam_encoder, "load_frozen", lambda name, **_: {"e4e": e4e}[name])


def test_a_step_sums_the_losses_of_every_space_alone():
    recipe, twin = (sam_encoder.Training(seed=3, batch=2) for _ in range(2))
    for made in (recipe, twin):
        for optimiser in made.optimisers:
            optimiser.step = lambda: None
        torch.manual_seed(1)
        for encoder in made.network.spaces.values():
            encoder.change.weight.data.normal_(std=0.1)
    recipe.network.train()
    reported = recipe.step(7, 0.9).losses

    network, generator = twin.network.train(), twin.generator
    target, _ = twin.reconstruction.pictures(7, 2)
    latents = twin.embedder(target)
    drawn = generator.synthesis(latents).clamp(-1, 1)
    total = torch.zeros(())
    for space, place in (("F4", "b16.conv1"), ("F6", "b32.conv1")):
        change = network.spaces[space](torch.cat([target, target - drawn], 1))
        output = generator.synthesis(latents, features={place: FeatureEdit.add(change)})
        total = total + F.mse_loss(output, target) + (output - target).abs().mean() + 5 * change.square().mean()
    total.backward()
    terms = sum(value * {"l2": 1, "lpips": 1, "feature": 5}[name.split("_")[1]] for name, value in reported.items())
    assert terms == pytest.approx(total.item(), rel=1e-4)
    for mine, theirs in zip(recipe.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_a_short_training_improves_and_its_export_loads(tmp_path, monkeypatch):
    recipe = sam_encoder.Training(seed=3, lr=1e-2, head_lr=0.1)
    real = recipe.reconstruction.validate_inversions
    monkeypatch.setattr(recipe.reconstruction, "validate_inversions", lambda invert, **_: real(invert, images=8, batch=8))
    before = recipe.validate(recipe.network.eval())
    assert before["F4_psnr"] == pytest.approx(before["psnr_before"], abs=1e-4)  # changes begin at zero
    fit(recipe, "small", budget=Budget(1, images=160), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    found = recipe.validate(recipe.network.eval())
    assert found["F4_psnr"] > before["F4_psnr"] + 0.1 and found["F6_psnr"] > before["F6_psnr"] + 0.1
    assert type(load_frozen("small", zoo=tmp_path)) is SAMEncoders


def test_the_encoders_fit_their_features():
    network = SAMEncoders(size=64, encoders=ENCODERS)
    changes = network(torch.zeros(1, 6, 64, 64), ["F6", "F4"])
    assert {space: tuple(one.shape[1:]) for space, one in changes.items()} == {"F4": (8, 16, 16), "F6": (8, 32, 32)}
    assert network.shape("F4") == (8, 16, 16) and network.shape("F6") == (8, 32, 32)
    with pytest.raises(ValueError, match="size: expected a power of two, found 48"):
        SAMEncoders(size=48, encoders={})
