"""The recipe of the invertibility predictor: targets that are kept, losses that fall, figures against the mean map."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.methods.nets.invertibility import InvertibilityPredictor
from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.stylegan2_config import GeneratorConfig
from invbench.methods.sam import SAM
from invbench.methods.train import invertibility
from invbench.methods.train.common import Budget, fit
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.invertibility import KINDS, Training, error_map, single_space_inverters
from invbench.plugins import config, registry, selection
from tests import golden_vectors

SMALL = {**invertibility.BASE, "planes": [4, 4, 4, 8], "blocks": [1, 1, 1], "stem": 8, "width": 8, "low_level": 8}


class Perceptual(nn.Module):
    """Squared differences of the picture at full and at half size."""

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]

    def maps_between(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        return [F.avg_pool2d((a[0] - b[0]).square().mean(1, keepdim=True), size) for size in (1, 2)]

    def maps(self, a: Tensor, b: Tensor) -> list[Tensor]:
        return self.maps_between(self.features(a), self.features(b))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([m.mean((1, 2, 3)) for m in self.maps(a, b)]).sum(0)


class Encoder(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), 10, 16)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """A small random generator, a simple distance and a small predictor in place of the zoo's; parts of two pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(64, dict.fromkeys((4, 8, 16, 32, 64), 8), z_dim=4, w_dim=16, n_mapping=2))
    networks = {"generator": generator, "latent_stats": LatentStatistics(16), "perceptual": Perceptual(), "e4e": Encoder()}
    monkeypatch.setattr(invertibility, "load_frozen", lambda name, **_: networks[name].eval().requires_grad_(False))
    monkeypatch.setattr(invertibility, "PART", 2)
    return networks


@pytest.fixture(scope="module")
def targets(tmp_path_factory) -> Path:
    """Where all tests keep their inverted pictures: computed once."""
    return tmp_path_factory.mktemp("targets")


def training(folder: Path, **changes) -> Training:
    few = {"pictures": 6, "held_out": 4, "steps": 2}
    return Training(**{"seed": 3, "base": SMALL, "threshold": 0.2, "folder": folder, **few, **changes})


def test_examples_are_inverted_in_every_space(targets):
    recipe = training(targets)
    assert recipe.config["spaces"] == ["W+", "F4", "F6"]
    assert recipe.train.images.shape == (6, 3, 64, 64) and recipe.held_out.errors.shape == (4, 3, 64, 64)
    assert recipe.train.seconds > 0
    means = recipe.train.errors.mean((0, 2, 3))
    assert means[0] > means[1] > means[2] > 0  # the finer the space, the smaller the error
    occluders = (recipe.train.parsing == 13).flatten(1).any(1)
    assert occluders.any() and not occluders.all()
    gap = (recipe.train.images[:4] - recipe.held_out.images).abs().amax((1, 2, 3))
    assert gap.min() > 0.1  # other faces


def test_the_published_settings_train_the_published_network(targets):
    assert set(invertibility.PUBLISHED) == set(invertibility.SHORTENED) <= set(inspect.signature(Training).parameters)
    recipe = training(targets, **invertibility.PUBLISHED | {"pictures": 6, "held_out": 4, "steps": 2})
    layout = golden_vectors.load("sam_invertibility_layout")
    found = {key: list(value.shape) for key, value in recipe.network.base.state_dict().items()}
    assert found == layout["sd_base"]
    assert sorted(one.p for one in recipe.network.modules() if isinstance(one, nn.Dropout)) == [0.1, 0.5, 0.5]
    (sgd,) = recipe.optimisers
    rates = [(group["lr"], group["momentum"], group["weight_decay"]) for group in sgd.param_groups]
    assert rates == [(1e-4, 0.9, 5e-4), (1e-3, 0.9, 5e-4)]
    assert sum(len(group["params"]) for group in sgd.param_groups) == len(list(recipe.network.parameters()))
    assert torch.equal(recipe.spread, torch.ones(3))
    published = single_space_inverters({"generator": load_frozen("generator")}, 501, KINDS["styles"])
    assert all((one.options.steps, one.options.lr, one.options.lambda_lpips) == (501, 0.05, 1.0) for one in published.values())


def test_a_generator_of_256_pixels_has_the_five_published_spaces():
    channels = {4: 4, 8: 4, 16: 4, 32: 4, 64: 4, 128: 4, 256: 4}
    generator = Generator(GeneratorConfig(256, channels, z_dim=4, w_dim=4, n_mapping=1))
    assert list(single_space_inverters({"generator": generator}, 1, KINDS["styles"])) == ["W+", "F4", "F6", "F8", "F10"]


def test_targets_are_inverted_with_the_prior_of_the_suite():
    asked = selection.resolve(config.load()["procfaces"], registry.methods()["sam"], "released")
    for inverter in single_space_inverters({"generator": load_frozen("generator")}, 50, KINDS["styles"]).values():
        assert asked["lambda_prior"] == inverter.options.lambda_prior
    assert inspect.signature(Training).parameters["threshold"].default == asked["threshold"]


def test_finished_parts_are_not_computed_again(tmp_path, monkeypatch):
    whole = training(tmp_path, steps=1)
    (folder,) = tmp_path.iterdir()
    assert sorted(p.name for p in (folder / "training").iterdir()) == [f"000{i}.safetensors" for i in range(3)]
    (folder / "training" / "0001.safetensors").unlink()  # as if interrupted
    inverted, invert = [], SAM.invert_single_space
    monkeypatch.setattr(SAM, "invert_single_space", lambda s, x, w: inverted.append(s.options.spaces) or invert(s, x, w))
    again = training(tmp_path, steps=1)
    assert inverted == [(), ("F4",), ("F6",)]
    torch.testing.assert_close(again.train.errors, whole.train.errors, atol=1e-5, rtol=1e-4)
    assert torch.equal(again.train.images, whole.train.images)
    training(tmp_path, steps=0, pictures=2, held_out=2)
    assert len(inverted) == 3 + 3 * 2 and len(list(tmp_path.iterdir())) == 2  # other steps, other targets


def test_a_broken_part_is_named(tmp_path):
    few = {"steps": 0, "pictures": 2, "held_out": 2}
    training(tmp_path, **few)
    path = next(tmp_path.glob("*/held-out/0000.safetensors"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvbenchError, match=r"held-out/0000\.safetensors: expected inverted pictures"):
        training(tmp_path, **few)


def test_a_short_training_learns_and_its_export_loads(tmp_path, targets):
    untrained, recipe = training(targets), training(targets)
    first = recipe.step(0, 0.0).losses
    assert set(first) == {"W+", "F4", "F6"}
    fit(recipe, "small", budget=Budget(1, images=6 * 20), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert sum(last[space] for space in first) < 0.9 * sum(first.values())
    figures = [recipe.validate(recipe.network)]
    untrained.finish(untrained.network.eval())
    figures.append(untrained.validate(untrained.network))
    assert figures[0]["W+_mse"] < figures[1]["W+_mse"]
    predictor = load_frozen("small", zoo=tmp_path)
    assert type(predictor) is InvertibilityPredictor and predictor.spaces == ("W+", "F4", "F6")
    with torch.no_grad():
        for space, error in predictor(recipe.held_out.images).items():
            assert error.shape == (4, 1, 64, 64) and error.min() >= 0 and torch.isfinite(error).all(), space


def test_equal_seeds_give_equal_steps(targets):
    first, second = (training(targets).step(0, 0.5).losses for _ in range(2))
    assert first == second
    assert training(targets).step(1, 0.5).losses != first


def test_figures_of_known_predictors(targets):
    recipe = training(targets)

    class Fixed(nn.Module):
        def __init__(self, errors: Tensor) -> None:
            super().__init__()
            self.errors = errors

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {space: self.errors[: len(images), k, None] for k, space in enumerate(recipe.config["spaces"])}

    perfect = recipe.validate(Fixed(recipe.held_out.errors))
    mean = recipe.validate(Fixed(recipe.train.errors.mean(0).expand(4, -1, -1, -1)))
    for space in recipe.config["spaces"]:
        assert perfect[f"{space}_mse"] == 0 and perfect[f"{space}_r2"] == 1
        assert mean[f"{space}_r2"] == pytest.approx(0, abs=1e-4)
        assert mean[f"{space}_mse"] == pytest.approx(perfect[f"{space}_mse_mean_map"], rel=1e-4)
    assert perfect["same_space_at_threshold"] == perfect["same_space_at_median"] == 1
    assert mean["same_space_at_median"] == mean["same_space_mean_map_at_median"] < 1
    assert 4 * 4 <= perfect["segments"] <= 4 * 6


def test_error_map_adds_the_resized_layers():
    perceptual = Perceptual()
    a, b = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    b[..., 4:] = 1.0
    error = error_map(perceptual, a, b)
    assert error.shape == (1, 1, 8, 8)
    assert torch.equal(error[..., 0, :], torch.tensor([[[0, 0, 0, 0.25, 1.75, 2, 2, 2]]]))
    assert error.mean().item() == pytest.approx(perceptual.distance(a, b).item())
