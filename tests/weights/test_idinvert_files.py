"""Files of in-domain inversion: recognised, loaded whole, run; directions read without running what is in them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.models import vgg16

from invbench.api import Edit, InvbenchError
from invbench.methods.convert.directions import edit_directions
from invbench.methods.convert.idinvert import encoder, features, generator
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.layouts import recognise
from tests.weights import official


@torch.no_grad()
def test_an_official_encoder_is_recognised_loaded_and_takes_every_tensor():
    content = official.bare("idinvert_layout", "encoder_ffhq256", fill=partial(official.drawn, seed=7))
    found = recognise(content)
    assert found is not None and (found.layout, found.facts) == ("idinvert_encoder", {"num_ws": 14, "resolution": 256})
    network = encoder(content, source="mine.pth")
    state = network.state_dict()
    assert list(state) == list(content)
    for key, value in content.items():
        assert state[key].data_ptr() == value.data_ptr() or torch.equal(state[key], value), key
    assert (network.resolution, network.num_ws, network.w_dim) == (256, 14, 512)
    assert not any(one.is_meta for one in (*network.parameters(), *network.buffers()))


@pytest.mark.slow
@torch.no_grad()
def test_an_official_encoder_runs():
    network = encoder(official.bare("idinvert_layout", "encoder_ffhq256", fill=official.drawn), source="mine.pth")
    images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    codes = network(images)
    assert codes.shape == (2, 14, 512) and torch.isfinite(codes).all() and (codes[0] - codes[1]).abs().mean() > 1e-3


@torch.no_grad()
def test_an_official_generator_is_recognised_loaded_and_run():
    content = official.idinvert_generator(fill=partial(official.drawn, seed=7))
    found = recognise(content)
    assert found is not None and (found.layout, found.facts) == ("idinvert_generator", {"num_ws": 14, "resolution": 256})
    network, notes = generator(content, source="mine.pth")
    state = network.state_dict()
    constants = {key for key in content if key.endswith(("blur.kernel", ".lod", "truncation.truncation"))}
    assert set(state) == set(content) - constants and notes == ()
    for key, value in state.items():
        assert torch.equal(value, content[key]), key
    assert network.synthesis.layer10.kind == network.synthesis.layer12.kind == "fused" and network.synthesis.layer8.kind == "up"
    z = torch.randn(1, 512, generator=torch.Generator().manual_seed(1))
    pictures = network(z, truncation=0.7)
    assert pictures.shape == (1, 3, 256, 256) and pictures.std() > 0.01 and pictures.abs().max() <= 1
    assert not any(one.is_meta for one in (*network.parameters(), *network.buffers()))
    generator({key: value for key, value in content.items() if key != "truncation.truncation"}, source="x")


def test_growing_that_had_not_ended_is_read_and_noted():
    content = official.idinvert_generator() | {"synthesis.lod": torch.tensor(1.5)}
    network, notes = generator(content, source="x")
    assert network.synthesis.left_out == 2 and "the last 2 resolutions" in notes[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"more": torch.zeros(2)}, r"x: .*1 unexpected: more \[2\]"),
        ({"synthesis.layer3.conv.weight": torch.zeros(512, 512, 1, 1)}, r"synthesis.layer3.conv.weight \(expected"),
        ({"synthesis.layer2.blur.kernel": torch.ones(512, 1, 3, 3)}, r"layer2.blur.kernel: expected the filter of \[1, 2, 1\]"),
        ({"synthesis.lod": torch.tensor(-1.0)}, "synthesis.lod: expected a number from 0 to 6"),
        ({"truncation.truncation": torch.ones(1, 18, 1)}, r"truncation.truncation: expected shape \[1, 14, 1\]"),
    ],
)
def test_what_does_not_fit_is_told(changes, said):
    with pytest.raises(InvbenchError, match=said):
        generator(official.idinvert_generator() | changes, source="x")


def test_what_is_missing_is_told():
    content = official.bare("idinvert_layout", "encoder_ffhq256")
    del content["block3.wscale2.bias"]
    with pytest.raises(InvbenchError, match=r"x: .*1 missing: block3.wscale2.bias \[512\]"):
        encoder(content, source="x")
    with pytest.raises(InvbenchError, match="x: expected block0.conv.weight"):
        encoder({"block0.bn.bn.weight": torch.zeros(2)}, source="x")


@torch.no_grad()
def test_its_vgg_is_that_of_torchvision_under_other_names_and_of_another_range():
    """relu4_3 of blue, green and red in [0, 255] around their means."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = vgg16(weights=None).features[:23].eval()
    content = official.vgg_layers(lambda number, kind: theirs[number].state_dict()[kind])
    found = recognise(content)
    assert found is not None and found.layout == "idinvert_vgg"
    network, notes = features(content | {"layer28.weight": torch.zeros(512, 512, 3, 3)}, source="x")
    assert notes == ("layers after relu4_3: 1 tensors are idle",)
    a, b = (torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(n)) * 2 - 1 for n in (1, 2))
    mean = torch.tensor([103.939, 116.779, 123.68])[:, None, None]

    def seen(images):
        return theirs((255 * (images + 1) / 2)[:, [2, 1, 0]] - mean)

    assert seen(a).shape == (2, 512, 8, 8)
    expected = torch.stack([F.mse_loss(x, y) for x, y in zip(seen(a), seen(b), strict=True)])
    torch.testing.assert_close(network.distance(a, b), expected, rtol=1e-4, atol=0)
    with pytest.raises(InvbenchError, match="1 missing: layer21.bias"):
        features({key: value for key, value in content.items() if key != "layer21.bias"}, source="x")


def test_a_direction_moves_the_layers_that_its_file_names(tmp_path):
    vector = np.random.default_rng(0).normal(size=(1, 14, 512))
    np.save(tmp_path / "age.npy", {"boundary": vector, "meta_data": {"manipulate_layers": "0-2, 5", "number": np.int64(3)}})
    np.save(tmp_path / "pose.npy", {"boundary": vector.astype(np.float32), "meta_data": {"manipulate_layers": (0, 1)}})
    contents = {name: load_checkpoint(tmp_path / f"{name}.npy") for name in ("age", "pose")}
    found = recognise(contents["age"])
    assert found is not None and (found.layout, found.facts) == ("direction_layers", {"num_ws": 14})
    edits = {"age": {"file": "age"}, "yaw": {"file": "pose"}, "all": {"file": "age", "layers": [0, 14]}}
    network = edit_directions(contents, sources={"age": "a", "pose": "p"}, num_ws=14, edits=edits)
    latents = torch.zeros(1, 14, 512)
    moved = network.move(latents, Edit("age", 2.0))[0]
    assert [i for i in range(14) if moved[i].any()] == [0, 1, 2, 5]
    torch.testing.assert_close(moved[5], 2 * torch.from_numpy(vector[0, 5]).float())
    assert [i for i in range(14) if network.move(latents, Edit("yaw", 1.0))[0, i].any()] == [0, 1]
    assert network.move(latents, Edit("all", 1.0))[0].any(1).all()
    contents["age"] = {**contents["age"], "meta_data": {"manipulate_layers": "3-20"}}
    with pytest.raises(InvbenchError, match="a: manipulate_layers: expected layers from 0 to 13, found '3-20'"):
        edit_directions(contents, sources={"age": "a", "pose": "p"}, num_ws=14, edits=edits | {"all": {"file": "pose"}})


class Hostile:
    def __reduce__(self):
        return print, ("this must not be printed",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"boundary": Hostile()}, "expected tensors and plain values only, found the name 'builtins.print'"),
        ({"boundary": np.array(["a"])}, "boundary: expected an array of numbers"),
        ([1, 2], "expected an array of one dictionary, found list"),
    ],
)
def test_other_objects_are_refused_and_not_run(tmp_path, capsys, content, said):
    array = np.empty((), dtype=object)
    array[()] = content
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InvbenchError, match=f"x.npy: {said}"):
        load_checkpoint(tmp_path / "x.npy")
    assert "must not" not in capsys.readouterr().out


def test_a_damaged_array_is_told(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, {"boundary": np.zeros((1, 14, 512))})
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InvbenchError, match="x.npy: expected a whole array, found a damaged one"):
        load_checkpoint(path)
    np.save(path, np.array([{"a": 1}, {"b": 2}], dtype=object))  # not one object
    with pytest.raises(InvbenchError, match="x.npy: expected a whole array of numbers"):
        load_checkpoint(path)
