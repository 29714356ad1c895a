"""StarGAN, AttGAN and STGAN: golden vectors, labels and strengths, official files, and TensorFlow's layers by plain loops."""

from __future__ import annotations

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from invbench.api import Edit, InvbenchError
from invbench.methods import attgan, stargan, stgan
from invbench.methods.convert import tensorflow_export
from invbench.methods.convert import translation as convert
from invbench.methods.nets.labels import Labels
from invbench.methods.train import translation
from invbench.options import make
from invbench.plugins.registry import discover
from invbench.util.clock import StageClock
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.layouts import recognise
from tests import golden_vectors
from tests.weights import official

KINDS = {"stargan": stargan.StarGAN, "attgan": attgan.AttGAN, "stgan": stgan.STGAN}


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_stargan_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("stargan")
    network, notes = convert.stargan(golden_vectors.state(golden, "generator"), source="200000-G.ckpt")
    assert notes == ("running statistics: 51 tensors are idle",)
    network, given = network.to(precision), golden_vectors.tensor(golden, "c").to(precision)
    x, coarse = (golden_vectors.tensor(golden, name).to(precision) for name in ("x", "x_coarse"))
    golden_vectors.check(golden, "translated_128", network(x, given))
    golden_vectors.check(golden, "translated_coarse", network(coarse, given))
    tiled = given[:, :, None, None].expand(-1, -1, 128, 128)
    golden_vectors.check(golden, "first_half_bottleneck", network.main[:12](torch.cat([x, tiled], 1)))
    reader = convert.stargan_labels(golden_vectors.state(golden, "discriminator"), source="200000-D.ckpt").to(precision)
    real, logits = reader.discriminator(x)
    golden_vectors.check(golden, "discriminator_src", real)
    golden_vectors.check(golden, "discriminator_cls", logits)
    assert torch.equal(reader(x), logits) and reader.size == 128


def test_running_statistics_are_never_used():
    state = official.bare("stargan", "generator", fill=partial(official.drawn, seed=1))
    other = {key: value + 3 if "running" in key else value for key, value in state.items()}
    networks = [convert.stargan(one, source="x")[0] for one in (state, other)]
    image, given = torch.rand(1, 3, 16, 16), torch.tensor([[1.0, 0, 0, 1, 0]])
    with torch.no_grad():
        first, second = (network.eval()(image, given) for network in networks)
        assert torch.equal(first, second) and torch.equal(first, networks[0].train()(image, given))


LABELS = Labels(
    ["a", "b", "c"], {"up": ["a", True], "down": ["a", False], "other": ["b", True]}, off=-0.5, on=0.5, groups=[["a", "c"]]
)


@pytest.mark.parametrize(
    ("edit", "full", "intensity", "expected"),
    [
        (Edit("up", 1), 1, 2, [1.0, 0.5, -0.5]),  # the test script's: the other of the group is taken away
        (Edit("up", 1), 2, 2, [0.25, 0.5, 0.0]),
        (Edit("up", 2), 1, 1, [1.5, 0.5, -0.5]),  # beyond; what is taken away stays away
        (Edit("up", 0.1), 0, 1, [0.5, 0.5, -0.5]),
        (Edit("down", -1), 1, 2, [1.0, 0.5, -0.5]),
        (Edit("up", -1), 1, 2, [-1.0, 0.5, 0.5]),
        (Edit("other", 1), 1, 1, [-0.5, 0.5, 0.5]),
        (Edit("up", 0), 0, 2, [-0.5, 0.5, 0.5]),
    ],
)
def test_an_edit_moves_its_label_from_the_pictures_own(edit, full, intensity, expected):
    own = LABELS.numbers(torch.tensor([[False, True, True]]))
    assert torch.equal(own, torch.tensor([[-0.5, 0.5, 0.5]]))
    assert torch.allclose(LABELS.moved(own, edit, full=full, intensity=intensity), torch.tensor([expected]))
    assert torch.equal(own, torch.tensor([[-0.5, 0.5, 0.5]]))


def test_labels_that_do_not_fit_are_told():
    with pytest.raises(InvbenchError, match="edit 'yaw': its network was trained for up, down, other"):
        LABELS.moved(torch.zeros(1, 3), Edit("yaw", 0), full=1, intensity=1)
    with pytest.raises(ValueError, match=r"found \['d'\]"):
        Labels(["a"], {"x": ["d", True]}, off=0, on=1)


class Reader(nn.Module):
    """Attributes by the mean of a channel, in another order than the network's."""

    names = ("facing_left", "eyes_open", "bald", "old", "smiling")

    def forward(self, images):
        return images.mean((2, 3))[:, [0, 1, 2, 0, 1]]


def method(kind, **options):
    torch.manual_seed(0)
    network = translation.GENERATORS[kind](**translation.architecture(kind)).eval()
    made = make(discover().methods[kind], {"size": 64, **options})
    return KINDS[kind]({kind: network, f"labels_{kind}": Reader()}, made)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_an_inversion_is_drawn_with_the_pictures_own_labels_and_an_edit_with_the_scripts(kind):
    row, clock = method(kind), StageClock()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[0, 0], images[1, 0] = images[0, 0] - 0.5, images[1, 0] + 0.4
    images = images.clamp(-1, 1)
    with clock:
        inversion = row.invert(images, clock)
        edited = row.edit(inversion, Edit("age", 2.0), clock)
        both = row.edit(inversion, Edit("age+yaw", 2.0), clock)
        same = row.edit(inversion, Edit("age", 0.0), clock)
    has = Reader()(images)[:, [3, 0, 4, 1]] > 0  # old, facing left, smiling, eyes open
    assert (has[:, 0] == torch.tensor([False, True])).all()
    off, on = (0.0, 1.0) if kind == "stargan" else (-0.5, 0.5)
    own = torch.where(has, on, off)
    wanted = own.clone()
    wanted[:, 0] = {"stargan": 1.0, "attgan": own[:, 0] + 2 * (1 - own[:, 0]), "stgan": own[:, 0] + 2 * (0.5 - own[:, 0])}[kind]
    turned, left = wanted.clone(), own[:, 1]  # a positive yaw is not to the left
    turned[:, 1] = {"stargan": 0.0, "attgan": left + 2 * (-1 - left), "stgan": left + 2 * (-0.5 - left)}[kind]
    less = own if kind == "stgan" else 0
    for found, target in ((inversion.images, own), (edited, wanted), (both, turned), (same, own)):
        torch.testing.assert_close(found, row.network(images, target - less))
    assert inversion.latents.shape == (2, 0, 0) and set(inversion.state) == {"seen", "own"}


def test_a_picture_of_another_size_is_seen_at_the_networks_and_enlarged():
    row, clock = method("attgan", size=32), StageClock()
    images = F.interpolate(torch.rand(1, 3, 4, 4), size=(128, 128), mode="bicubic").clamp(-1, 1)
    with clock:
        inversion = row.invert(images, clock)
    assert inversion.images.shape == images.shape and inversion.state["seen"].shape == (1, 3, 32, 32)
    expected = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(inversion.state["seen"], expected)
    with pytest.raises(InvbenchError, match="attgan.size: expected a multiple of 16, found 40"):
        method("attgan", size=40)


def test_a_reader_without_an_attribute_is_refused():
    row = method("stgan")
    row.reader.names = ("old",)
    with pytest.raises(InvbenchError, match="expected a network that reads facing_left, smiling, eyes_open"):
        stgan.STGAN({"stgan": row.network, "labels_stgan": row.reader}, row.options)


# ---- official files


@pytest.mark.parametrize(("variant", "inject"), [("generator_inject1", 1), ("generator_inject0", 0)])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_ports_file_is_recognised_and_loaded_whole(variant, inject, prefix):
    state = official.bare("attgan_layout", variant)
    content = {"G": {f"{prefix}{key}": value for key, value in state.items()}}
    found = recognise(content)
    assert found is not None and found.layout == ("attgan_multi_gpu" if prefix else "attgan")
    network = convert.attgan(content, source="weights.49.pth")
    assert {key: value.shape for key, value in network.state_dict().items()} == {k: v.shape for k, v in state.items()}
    assert network.inject == inject and (network.labels.off, network.labels.on) == (-0.5, 0.5)
    assert [layer.layers[2].negative_slope for layer in network.enc_layers] == [0.01] * 5
    assert {one.eps for one in network.modules() if isinstance(one, nn.BatchNorm2d)} == {1e-5}
    assert ("Mustache", "No_Beard") in network.labels.groups
    with pytest.raises(InvbenchError, match="1 unexpected: more"):
        convert.attgan({"G": content["G"] | {f"{prefix}more": torch.zeros(1)}}, source="x")


@pytest.mark.parametrize("variant", ["tf_generator_128", "tf_generator_384"])
def test_official_attgan_has_its_own_slope_epsilon_and_labels(variant):
    content = official.bare("attgan_layout", variant)
    assert recognise(content).layout == "attgan_tf"
    network = convert.attgan_tensorflow(content, source="attgan_128.npz")
    assert [layer.layers[2].negative_slope for layer in network.enc_layers] == [0.2] * 5
    assert {one.eps for one in network.modules() if isinstance(one, nn.BatchNorm2d)} == {1e-3}
    assert (network.labels.off, network.labels.on, network.inject) == (-1.0, 1.0, 1)
    assert ("Mustache", "No_Beard") not in network.labels.groups
    with pytest.raises(InvbenchError, match="1 unexpected: UNetGdec/more"):
        convert.attgan_tensorflow(content | {"UNetGdec/more": torch.zeros(1)}, source="x")
    lacking = {key: value for key, value in content.items() if key != "UNetGenc/Conv_3/BatchNorm/gamma"}
    with pytest.raises(InvbenchError, match=r"1 missing: enc_layers.3.layers.1.weight"):
        convert.attgan_tensorflow(lacking, source="x")


@pytest.mark.parametrize(("size", "width"), [(128, 64), (384, 48)])
def test_official_stgan_is_recognised_and_loaded_whole(size, width):
    generator = official.bare("stgan_layout", f"tf_generator_{size}")
    content = generator | official.bare("stgan_layout", f"tf_discriminator_{size}")
    assert recognise(content).layout == "stgan_tf" and recognise(generator).layout == "stgan_tf_generator"
    network = convert.stgan(content, source="stgan.npz")
    assert network.labels.difference and network.enc_layers[0].layers[0].weight.shape == (width, 3, 4, 4)
    counted = sum(value.numel() for key, value in network.state_dict().items() if not key.endswith("tracked"))
    assert counted == sum(value.numel() for value in generator.values())
    reader = convert.stgan_labels(content, source="stgan.npz")
    assert reader.size == size and reader.names == network.labels.names
    with pytest.raises(InvbenchError, match="expected variables D/..., found none"):
        convert.stgan_labels(generator, source="x")
    with pytest.raises(InvbenchError, match="1 unexpected: Gstu/more"):
        convert.stgan(content | {"Gstu/more": torch.zeros(1)}, source="x")


@pytest.mark.parametrize(("numbers", "fixed"), [(5, 0), (15, 10)])
def test_stargan_knows_five_attributes_alone_or_beside_rafds(numbers, fixed):
    state = official.bare("stargan", "generator")
    state["main.0.weight"] = torch.zeros(64, 3 + numbers, 7, 7)
    found = recognise(state)
    assert (found.layout, found.facts) == ("stargan", {"labels": numbers})
    network, _ = convert.stargan(state, source="x")
    given = network.labels.given(torch.ones(2, 5), torch.zeros(2, 5))
    assert given.tolist() == [[1.0] * 5 + ([0.0] * 8 + [1.0, 0.0] if fixed else [])] * 2
    state["main.0.weight"] = torch.zeros(64, 10, 7, 7)
    with pytest.raises(InvbenchError, match="expected 5 labels .* found 7"):
        convert.stargan(state, source="x")


# ---- TensorFlow's layers, by loops over the stored kernels


def convolved(x, kernel):
    """Kernel [4, 4, in, out] at stride 2 with padding "same" over x [H, W, in]."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((len(x) // 2, len(x) // 2, kernel.shape[3]))
    for i, j in np.ndindex(out.shape[:2]):
        out[i, j] = np.einsum("abc,abco->o", padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4], kernel)
    return out


def transposed(x, kernel):
    """Kernel [4, 4, out, in] at stride 2 with padding "same": what a convolution's gradient does."""
    out = np.zeros((2 * len(x) + 2, 2 * len(x) + 2, kernel.shape[2]))
    for i in range(len(x)):
        for j in range(len(x)):
            out[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("aboc,c->abo", kernel, x[i, j])
    return out[1:-1, 1:-1]


def test_tensorflows_convolutions_are_ours():
    content = official.translation("attgan", "tf_generator_128")
    network = convert.attgan_tensorflow(content, source="x").double()
    arrays = {key: value.double().numpy() for key, value in content.items()}
    rng = np.random.default_rng(0)

    def normalised(x, name):
        mean, variance, gamma, beta = (
            arrays[f"{name}/BatchNorm/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    x = rng.standard_normal((6, 6, 4))
    found = network.enc_layers[1](torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).detach().numpy()
    expected = normalised(convolved(x, arrays["UNetGenc/Conv_1/weights"]), "UNetGenc/Conv_1")
    np.testing.assert_allclose(found, np.where(expected > 0, expected, 0.2 * expected), atol=1e-9)

    kernel = arrays["UNetGdec/Conv2d_transpose_2/weights"]
    x = rng.standard_normal((3, 3, kernel.shape[3]))
    found = network.dec_layers[2](torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).detach().numpy()
    expected = normalised(transposed(x, kernel), "UNetGdec/Conv2d_transpose_2")
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-9)


@torch.no_grad()
def test_the_discriminator_flattens_with_channels_last():
    content = official.translation("stgan", "tf_generator_128", "tf_discriminator_128")
    reader = convert.stgan_labels(content, source="x").double()
    image = torch.rand(1, 3, 128, 128, dtype=torch.float64)
    feature = reader.discriminator.conv(image).permute(0, 2, 3, 1).reshape(1, -1)
    w, b = "weights", "biases"
    head = [content[f"D/flatten_fully_connected_{i}/fully_connected/{part}"].double() for i in (2, 3) for part in (w, b)]
    hidden = F.leaky_relu(feature @ head[0] + head[1], 0.2)
    torch.testing.assert_close(reader(image), hidden @ head[2] + head[3], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_a_selective_transfer_unit_step_by_step():
    network = convert.stgan(official.translation("stgan", "tf_generator_128", "tf_discriminator_128"), source="x").double()
    image, given = torch.rand(1, 3, 128, 128, dtype=torch.float64), torch.eye(13, dtype=torch.float64)[:1]
    z, features = image, []
    for layer in network.enc_layers:
        z = layer(z)
        features.append(z)

    def beside(x):
        return torch.cat([x, given[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

    state, mixed = features[4], []
    for level, unit in enumerate(network.stu):
        z = features[3 - level]
        raised = F.conv_transpose2d(beside(state), unit.up.weight, unit.up.bias, 2, 1)
        r, u = (torch.sigmoid(gate(torch.cat([z, raised], 1))) for gate in (unit.reset, unit.update))
        state = r * raised
        mixed.append((1 - u) * raised + u * torch.tanh(unit.candidate(torch.cat([z, state], 1))))
    x = beside(features[4])
    for level in range(4):
        x = beside(torch.cat([network.dec_layers[level](x), mixed[level]], 1))
    torch.testing.assert_close(network(image, given), network.dec_layers[4](x))


# ---- the export


class Checkpoint:
    """What TensorFlow's reader of checkpoints offers."""

    def __init__(self, content):
        self.content = content

    def get_variable_to_shape_map(self):
        return {key: list(value.shape) for key, value in self.content.items()}

    def get_tensor(self, name):
        return self.content[name].numpy()


def test_variables_are_exported_without_those_of_optimisers(tmp_path, monkeypatch, capsys):
    content = official.translation("attgan", "tf_generator_128")
    stored = {f"{key.replace('/', '.S')}:0/.ATTRIBUTES/VARIABLE_VALUE": value for key, value in content.items()}
    stored |= {"save_counter/.ATTRIBUTES/VARIABLE_VALUE": torch.zeros(1), "UNetGenc/Conv/weights/Adam_1": torch.zeros(2)}
    train = SimpleNamespace(latest_checkpoint=lambda folder: f"{folder}/last", load_checkpoint=lambda path: Checkpoint(stored))
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(train=train))
    out = tmp_path / "attgan.npz"
    assert tensorflow_export.main([str(tmp_path), str(out)]) == 0 and "47 variables" in capsys.readouterr().out
    found = load_checkpoint(out)
    assert set(found) == set(content) and all(torch.equal(found[key], value) for key, value in content.items())
    assert recognise(found).layout == "attgan_tf"
    stored.clear()
    assert tensorflow_export.main([str(tmp_path), str(out)]) == 2 and tensorflow_export.main([]) == 2
