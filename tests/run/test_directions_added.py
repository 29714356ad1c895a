"""Networks as sources of edits, added by `invbench directions add`: StyleCLIP's mappers and global directions, StyleFlow."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from invbench.api import Edit
from invbench.cli import main
from invbench.methods.nets.styleclip import Mapper
from invbench.methods.nets.styleflow import Flow
from invbench.plugins.config import load
from invbench.weights.networks import Networks

LAYERS, DIM = 10, 128
LATENTS = torch.randn(2, LAYERS, DIM, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def call(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


@torch.no_grad()
def test_a_mapper_becomes_a_source(tmp_path):
    state = {f"mapper.{key}": value for key, value in Mapper(DIM).state_dict().items()}
    torch.save({"state_dict": state, "opts": {"work_in_stylespace": False}}, tmp_path / "surprised.pt")
    words = ["directions", "add", tmp_path / "surprised.pt", "--as", "clip", "--edit", "eye_openness", "--scale", 3]
    assert "MapperDirections" in call(*words)
    network = Networks(load()["procfaces"])["directions_clip"]
    plain = Mapper(DIM)
    plain.load_state_dict({key.removeprefix("mapper."): value for key, value in state.items()})
    torch.testing.assert_close(network.move(LATENTS, Edit("eye_openness", 2.0)), LATENTS + 0.6 * plain(LATENTS))
    assert "expected a new name" in call(*words, code=2)
    assert "clip          eye_openness" in call("directions", "list")
    np.save(tmp_path / "age.npy", np.ones((1, DIM), np.float32))
    told = call("directions", "add", tmp_path / "age.npy", "--as", "clip", "--edit", "age", code=2)
    assert "expected directions that others can stand beside, found a network" in told
    torch.save({"state_dict": {"mapper.mapping.mapping.1.weight": torch.zeros(8, 8)}}, tmp_path / "bad.pt")
    told = call("directions", "add", tmp_path / "bad.pt", "--as", "bad", "--edit", "age", code=2)
    assert "bad.pt" in told and "missing" in told and "Traceback" not in told


def test_a_global_direction_becomes_a_source(tmp_path):
    synthesis = Networks(load()["procfaces"])["generator"].synthesis
    order = sorted(synthesis.style_index, key=lambda name: (int(name[1:].split(".")[0]), name.split(".")[1]))
    widths = [synthesis.get_submodule(f"{name}.affine").weight.shape[0] for name in order]
    draws = np.random.default_rng(0)
    deviations = [draws.random(width).astype(np.float32) + 0.5 for width in widths]
    rows = sum(width for name, width in zip(order, widths) if not name.endswith("torgb"))
    np.save(tmp_path / "fs3.npy", draws.standard_normal((rows, 16)).astype(np.float32))
    np.save(tmp_path / "text.npy", draws.standard_normal(16).astype(np.float32))
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps([deviations, deviations], protocol=4))
    words = ["directions", "add", tmp_path / "fs3.npy", "--as", "text", "--edit", "smile", "--styles", tmp_path / "S_mean_std"]
    assert "with both --styles and --text" in call(*words, code=2)
    told = call(*words, "--text", tmp_path / "text.npy", "--threshold", 0.5, "--scale", 0.01)
    assert "channels; the step in W+ misses" in told
    network = Networks(load()["procfaces"])["directions_text"]
    moved = network.move(LATENTS, Edit("smile", 1.0)) - LATENTS
    torch.testing.assert_close(moved[0], network["smile"], rtol=1e-3, atol=1e-4)
    assert torch.equal(network.move(LATENTS, Edit("smile", 0.0)), LATENTS) and bool(network["smile"].any())


@torch.no_grad()
def test_a_flow_becomes_a_source_of_several_edits(tmp_path):
    flow = Flow(DIM, [DIM] * 5, 17)
    torch.save(flow.state_dict(), tmp_path / "flow.pt")
    words = ["directions", "add", tmp_path / "flow.pt", "--as", "flow", "--edit", "age,smile", "--scale", 2]
    assert "expected --data, the folder with attributes.npy, light.npy, sg2latents.pickle" in call(*words, code=2)
    draws = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "attributes.npy", draws.standard_normal((30, 8, 1)))
    np.save(data / "light.npy", draws.standard_normal((30, 1, 9, 1, 1)))
    codes = [draws.standard_normal((1, LAYERS, DIM)).astype(np.float32) for _ in range(30)]
    (data / "sg2latents.pickle").write_bytes(pickle.dumps({"Latent": codes}, protocol=4))
    assert "age, smile@flow: FlowDirections" in call(*words, "--data", data)
    network = Networks(load()["procfaces"])["directions_flow"]
    assert network.names == ("age", "smile") and network.steps.tolist() == [2.0, 2.0]
    moved = network.move(LATENTS, Edit("smile", 1.0))
    assert (moved != LATENTS).any(2).any(0).nonzero().flatten().tolist() == [4, 5]
    (data / "sg2latents.pickle").write_bytes(pickle.dumps({"Latent": [print]}, protocol=4))
    told = call(*[*words[:4], "other", *words[5:]], "--data", data, code=2)
    assert "found the name 'builtins.print'; nothing of it was run" in told
