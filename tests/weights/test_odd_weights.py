"""Weights as people have them: something before the names (F26), tensors that no network is built of (F27)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from invbench.cli import main
from invbench.plugins.config import NetworkConfig
from invbench.weights import build
from invbench.weights.cache import WeightsCache
from tests.weights import official

KEY = "encoder.styles.3.linear.weight"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    (tmp_path / "home/weights").mkdir(parents=True)
    return tmp_path / "home/weights"


def call(*words: str) -> Any:
    return CliRunner().invoke(main, ["weights", *words])


def renamed(content: dict[str, Any], change) -> dict[str, Any]:
    return content | {"state_dict": {change(key): value for key, value in content["state_dict"].items()}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda key: f"module.{key}", "'module.' before them"),
        (lambda key: f"_orig_mod.module.{key}", "'_orig_mod.' before them and 'module.' before them"),
        (lambda key: key.replace("encoder.", "encoder.module."), "'module.' before them"),
        (lambda key: f"pspnet.{key}", "'pspnet.' before them"),
    ],
)
def test_f26_what_stands_before_every_name_is_taken_off_with_a_note(change, told, folder):
    plain = official.e4e(14, "horse_encode")
    official.save(renamed(plain, change), folder / "mine.pt")
    assert f"e4e_horse (taken without {told})" in call("where").output
    source = build.resolve(NetworkConfig(asset="e4e_horse"), WeightsCache())
    network, notes = build.build(source)
    assert f"names of tensors: taken without {told}" in notes
    assert torch.equal(network.state_dict()["styles.3.linear.weight"], plain["state_dict"][KEY])


def test_f26_so_is_a_dictionary_around_a_bare_file_and_a_dictionary_that_is_none_stays_unknown(folder):
    bare = official.bare("arcface_irse50", "facenet")
    official.save({"state_dict": {f"module.{key}": value for key, value in bare.items()}, "epoch": 3}, folder / "a.pth")
    official.save({"module.weight": torch.zeros(3), "weight": torch.ones(3)}, folder / "b.pth")  # two names would meet
    found = {match.found.path.name: match for match in WeightsCache().matches()}
    assert found["a.pth"].found.layout == "arcface_irse50"
    assert "the dictionary 'state_dict' around them and 'module.' before them" in call("where").output
    assert found["b.pth"].problem == "its tensors are those of no listed asset"


def spoiled(value: Any) -> dict[str, Any]:
    content = official.e4e(14, "horse_encode")
    return content | {"state_dict": content["state_dict"] | {KEY: value(content["state_dict"][KEY])}}


def with_one(value: torch.Tensor, wrong: float) -> torch.Tensor:
    value = value.clone()
    value[5, 7] = wrong
    return value


FAULTS = [
    (lambda value: value.to_sparse(), "expected a dense tensor, found layout sparse_coo"),
    (lambda value: value.to_sparse_csr(), "expected a dense tensor, found layout sparse_csr"),
    (lambda value: value.to(torch.int64), "expected floating-point numbers, found int64"),
    (lambda value: value > 0, "expected floating-point numbers, found bool"),
    (lambda value: value.to(torch.complex64), "expected floating-point numbers, found complex64"),
    (lambda value: with_one(value, float("nan")), "expected finite numbers, found 1 of 262144 that are NaN or infinite"),
    (lambda value: with_one(value, float("-inf")).half(), "expected finite numbers, found 1 of 262144"),
    (lambda value: value.new_zeros(512, 511), "wrong shape: styles.3.linear.weight (expected [512, 512], found [512, 511])"),
]


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_f27_tensors_that_fit_no_network_are_refused_by_add_and_verify(fault, message, folder, tmp_path):
    path = official.save(spoiled(fault), tmp_path / "mine.pt")
    done = call("add", str(path), "--as", "e4e_horse")
    assert done.exit_code == 2 and str(path) in done.output and "styles.3.linear.weight" in done.output
    assert message in done.output and not list(folder.glob("*.pt"))
    path.rename(folder / "dropped.pt")  # nobody asked before it lay there
    wrong = call("verify", "e4e_horse")
    assert wrong.exit_code == 1 and "WRONG e4e_horse" in wrong.output and message in wrong.output


def test_f27_a_wrong_shape_among_the_marks_is_told_by_its_key(folder, tmp_path):
    content = official.e4e(14, "horse_encode")
    content["state_dict"]["encoder.latlayer1.weight"] = torch.zeros(512, 255, 1, 1)
    del content["state_dict"]["encoder.styles.0.linear.weight"]
    path = official.save(content, tmp_path / "mine.pt")
    told = call("add", str(path), "--as", "e4e_horse").output
    assert "state_dict/encoder.latlayer1.weight: expected shape [512, 256, 1, 1], found [512, 255, 1, 1]" in told
    assert "state_dict/encoder.styles.0.linear.weight: expected shape [512, 512], found no such tensor" in told


def test_f27_what_no_network_is_built_of_may_be_anything(folder, tmp_path):
    content = official.e4e(14, "horse_encode")
    content |= {"optimizer": {"state": torch.full((3,), torch.nan)}, "discriminator_state_dict": {"w": torch.arange(9)}}
    path = official.save(content | {"global_step": torch.tensor(7)}, tmp_path / "mine.pt")
    assert call("add", str(path), "--as", "e4e_horse").exit_code == 0
    assert call("verify", "e4e_horse").exit_code == 0
