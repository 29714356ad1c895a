"""The training loop: budget, resume, export, and the catalogue of recipes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from invbench.api import InvbenchError
from invbench.methods.train import common
from invbench.methods.train.__main__ import main
from invbench.methods.train.catalogue import find_recipe, recipes


class Toy(common.Recipe):
    """Fit y = 2 x + 1 from draws that depend on the step's number alone."""

    def __init__(self, *, seed: int, stop_at: int | None = None, width: int = 1) -> None:
        self.seed, self.stop_at = seed, stop_at
        torch_generator = torch.Generator().manual_seed(seed)
        self.config = {"in_features": 1, "out_features": width}
        self.network = nn.Linear(1, width)
        self.heads = nn.Linear(1, 1)
        self.ema = 0.9
        with torch.no_grad():
            for parameter in [*self.network.parameters(), *self.heads.parameters()]:
                parameter.copy_(torch.randn(parameter.shape, generator=torch_generator))
        parameters = [*self.network.parameters(), *self.heads.parameters()]
        self.optimisers = [torch.optim.Adam(parameters, lr=0.1)]

    def step(self, index: int, progress: float) -> common.Step:
        if index == self.stop_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 1, generator=common.step_generator(self.seed, index))
        loss = (self.network(x) + 0 * self.heads(x) - 2 * x - 1).square().mean()
        common.descend(loss, self.optimisers, common.cosine(progress))
        return common.Step(images=16, losses={"loss": loss.item()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        x = torch.linspace(-1, 1, 9)[:, None]
        return {"mse": float((network(x) - 2 * x - 1).square().mean())}


def train(recipe: common.Recipe, tmp_path: Path, images: int = 3200, fresh: bool = False) -> Path:
    budget = common.Budget(minutes=1.0, images=images)
    return common.fit(recipe, "toy", budget=budget, seed=3, folder=tmp_path / "run", zoo=tmp_path / "zoo", fresh=fresh)


def test_training_learns_and_exports(tmp_path: Path) -> None:
    path = train(Toy(seed=3), tmp_path)
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest["validation"]["mse"] < 1e-3
    assert manifest["images"] == 3200
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["config"]) == {"in_features": 1, "out_features": 1}
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}


def test_interrupted_training_gives_the_same_weights(tmp_path: Path) -> None:
    whole = train(Toy(seed=3), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Toy(seed=3, stop_at=77), tmp_path / "cut")
    resumed = train(Toy(seed=3), tmp_path / "cut")
    assert whole.read_bytes() == resumed.read_bytes()


def test_finished_training_goes_on_only_with_a_greater_budget(tmp_path: Path) -> None:
    first = train(Toy(seed=3), tmp_path, images=320).read_bytes()
    assert train(Toy(seed=3), tmp_path, images=320).read_bytes() == first
    longer = train(Toy(seed=3), tmp_path, images=640)
    assert json.loads(longer.with_suffix(".json").read_text())["images"] == 640


def test_foreign_and_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    train(Toy(seed=3), tmp_path, images=160)
    with pytest.raises(InvbenchError, match="--fresh"):
        train(Toy(seed=3, width=2), tmp_path)
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"short")
    with pytest.raises(InvbenchError, match="checkpoint.safetensors"):
        train(Toy(seed=3), tmp_path)
    assert train(Toy(seed=3), tmp_path, images=160, fresh=True).exists()


def test_divergence_is_an_error() -> None:
    weight = nn.Parameter(torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match="diverged"):
        common.descend(weight * 2, [torch.optim.Adam([weight])], 1.0)


def test_export_keeps_what_fp16_cannot_hold(tmp_path: Path) -> None:
    module = nn.Module()
    module.register_buffer("big", torch.tensor([1e6, 1.0]))
    with pytest.raises(InvbenchError, match="'big'"):
        common.save_network(tmp_path / "n.safetensors", module, {}, {})
    path = common.save_network(tmp_path / "n.safetensors", module, {}, {}, float32=("big",))
    assert load_file(path)["big"].tolist() == [1e6, 1.0]
    with pytest.raises(ValueError, match="large"):
        common.save_network(path, module, {}, {}, float32=("large",))


def test_cosine_schedule() -> None:
    values = [common.cosine(progress / 100) for progress in range(101)]
    assert values[3] == pytest.approx(1.0)
    assert values[:4] == sorted(values[:4])
    assert values[3:] == sorted(values[3:], reverse=True)
    assert values[-1] == pytest.approx(0.02)


def test_steps_draw_independently_and_repeatably() -> None:
    draws = [common.step_rng(1, index, stream).random() for index in range(3) for stream in range(2)]
    assert len(set(draws)) == 6
    assert common.step_rng(1, 2, 1).random() == draws[-1]


def test_catalogue_reads_literals(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('RECIPES = {"x": {"minutes": 1.0, "seed": 2, "help": "h"}}\nraise SystemExit\n')
    assert recipes(tmp_path)["x"].minutes == 1.0
    (tmp_path / "b.py").write_text('RECIPES = {"y": {"minuets": 1.0}}')
    with pytest.raises(InvbenchError, match="b.py.*'y'"):
        recipes(tmp_path)
    (tmp_path / "b.py").write_text('RECIPES = {"x": {"minutes": 1.0, "seed": 2, "help": "h"}}')
    with pytest.raises(InvbenchError, match="'x' is also in"):
        recipes(tmp_path)


def test_a_variant_is_the_recipe_with_other_values() -> None:
    spec = find_recipe("hyperinverter")
    assert spec.changed(["hidden=64", "drawn=False"]).options == {**spec.options, "hidden": 64, "drawn": False}
    assert spec.changed([]) == spec
    for item, message in (
        ("hiden=64", r"--set 'hiden=64': expected OPTION=VALUE with an option of hyperinverter \(targets, hidden, drawn"),
        ("hidden", "expected OPTION=VALUE"),
        ("hidden=many", "expected a value of the type int, such as 32"),
        ("drawn=0", "expected a value of the type bool, such as True"),
    ):
        with pytest.raises(InvbenchError, match=message):
            spec.changed([item])
    for words in (["hyperinverter", "--set", "hidden=4"], ["hyperinverter", "--set", "hidden=4", "--as", "psp"]):
        found = CliRunner().invoke(main, words)
        assert isinstance(found.exception, InvbenchError) and "--as: expected a name of its own" in str(found.exception)


def test_unknown_recipe_suggests_the_nearest() -> None:
    nearest = next(iter(recipes()))
    with pytest.raises(InvbenchError, match=f"did you mean '{nearest}'"):
        find_recipe(nearest + "x")


def test_command_lists_recipes() -> None:
    result = CliRunner().invoke(main, ["--list"])
    assert result.exit_code == 0
    assert "perceptual_metric" in result.output
