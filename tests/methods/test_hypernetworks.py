"""The hypernetworks of HyperStyle and HyperInverter: official layouts and vectors, and a second build of plain calls."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.methods.convert.hypernetworks import hyperinverter
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.nets.encoders import PSPEncoder
from invbench.methods.nets.hyperinverter import HyperInverterNetwork, LayerWiseEncoder, style_of, target_names
from invbench.methods.nets.hyperstyle import HyperStyleNetwork, layer_names
from invbench.methods.nets.restyle import RESNET34, ReStylePSPEncoder
from tests import golden_vectors
from tests.methods.test_encoders import filled

CHANNELS = {4: 8, 8: 8, 16: 8, 32: 6, 64: 4}
STYLE = {
    "resolution": 64, "channels": CHANNELS, "size": 64, "stages": [[4, 1], [6, 1], [8, 2], [10, 1]], "code": 12, "inner": [6, 8]
}  # fmt: skip
INVERT = {
    "resolution": 64, "channels": CHANNELS, "w_dim": 16, "hidden": 6, "fused": 5, "size": 64,
    "stages": [[4, 1], [8, 1], [10, 2], [16, 1]], "width": 7, "grid": 4,
}  # fmt: skip


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


@pytest.fixture
def drawn() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def shapes_of(network: torch.nn.Module, prefix: str = "") -> dict[str, list[int]]:
    return {prefix + key: list(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.parametrize(("layout", "separable"), [("hypernet", False), ("hypernet_separable", True)])
def test_hyperstyle_has_the_official_tensors(layout, separable):
    with torch.device("meta"):
        network = HyperStyleNetwork(separable=separable)
    official = golden_vectors.load("hyperstyle_layout")[layout]
    copies = {key: shape for key, shape in official.items() if ".hypernet." in key}
    assert len(copies) == 4 * 9
    assert shapes_of(network) == {key: shape for key, shape in official.items() if key not in copies}
    assert [len(layer_names(resolution)) for resolution in (1024, 512, 256)] == [26, 23, 20]
    assert layer_names(256)[14] == "b128.conv0" and layer_names(1024)[25] == "b1024.torgb"


def test_hyperinverter_has_the_official_tensors():
    with torch.device("meta"):
        network = HyperInverterNetwork()
    modules = golden_vectors.load("hyperinverter")["modules"]
    for name in ("w_bar_encoder", "hypernet"):
        expected = {key: shape for key, (shape, _) in modules[name]["keys"].items()}
        assert shapes_of(network.get_submodule(name)) == expected
    assert [style_of(name) for name in network.targets][:6] == [0, 1, 2, 3, 3, 4]
    assert style_of("b1024.conv0.weight") == 16 and style_of("b1024.torgb.weight") == 17


def test_the_resnet_of_churches_has_the_official_backbone():
    with torch.device("meta"):
        network = LayerWiseEncoder(14, size=256, backbone="resnet", stages=RESNET34, width=512, grid=8)
        theirs = ReStylePSPEncoder(14, backbone="resnet", stages=RESNET34)
    found, expected = shapes_of(network), shapes_of(theirs)
    assert found.pop("conv1.weight") == [64, 3, 7, 7] and expected.pop("conv1.weight") == [64, 6, 7, 7]
    backbone = {key: shape for key, shape in expected.items() if key.startswith(("bn1", "relu", "body"))}
    assert {key: shape for key, shape in found.items() if not key.startswith(("styles", "latlayer"))} == backbone
    assert network.taps == (6, 12, 15)


@torch.no_grad()
def test_variants_of_hyperinverter_read_less(images, drawn):
    """Table 3 of the paper: without the first phase's drawing, and with one code for all layers."""
    whole, alone, shared = (
        filled(HyperInverterNetwork(**INVERT, **changes)) for changes in ({}, {"drawn": False}, {"layer_wise": False})
    )
    assert all({name: value.shape[1:] for name, value in found.items()} == whole.targets for found in (whole(images, drawn),))
    one, other = alone(images, drawn), alone(images, -drawn)
    assert all(torch.equal(one[name], other[name]) for name in whole.targets)
    assert any(not torch.equal(whole(images, drawn)[name], whole(images, -drawn)[name]) for name in whole.targets)
    assert len(shared.w_bar_encoder.styles) == 1 and len(whole.w_bar_encoder.styles) == whole.num_ws
    codes = [shared.w_bar_encoder(one)[:, 0] for one in (drawn, images)]
    found = shared(images, drawn)
    for name in ("b4.conv1.weight", "b64.torgb.weight"):
        regressor = shared.hypernet.weight_regressors[name.replace(".", "_")]
        torch.testing.assert_close(found[name], regressor(*codes))


@pytest.mark.slow
@torch.no_grad()
def test_hyperinverter_is_the_official_one():
    golden = golden_vectors.load("hyperinverter")
    state = {
        f"{name}.{key}": value
        for name in ("w_bar_encoder", "hypernet")
        for key, value in golden_vectors.state(golden, name).items()
    }
    opts = {"hidden_dim": 128, "output_size": 1024, "target_shape_name": "conv_without_bias"}
    network, _ = hyperinverter({"state_dict": state, "opts": opts}, source="golden")
    golden_vectors.check(golden, "w_bar_codes_of_x", network.w_bar_encoder(golden_vectors.tensor(golden, "x")))
    codes = [golden_vectors.tensor(golden, name) for name in ("w_image_codes", "w_bar_codes")]
    added = network.hypernet(*codes)
    assert len(added) == 26
    for name, value in added.items():
        golden_vectors.check(golden, f"added_{name}", value)
    generator = convert_generator(golden_vectors.state(golden, "decoder"), source="golden").network()
    ws = golden_vectors.tensor(golden, "ws")
    golden_vectors.check(golden, "image_without_added", generator.synthesis(ws))
    names = target_names(generator.channels, "conv_without_bias")
    own = {name: generator.synthesis.get_parameter(name) + added[name] for name in names}
    golden_vectors.check(golden, "image_with_added", generator.synthesis(ws, weights=own))


@torch.no_grad()
def delta_by_hand(network: HyperStyleNetwork, x: Tensor, number: int) -> Tensor:
    """Delta of one layer from features x [N, C, s, s], by plain calls on the tensors of the state dict."""
    state = network.state_dict()
    place = f"refinement_blocks.{number}."
    own = {key.removeprefix(place): value for key, value in state.items() if key.startswith(place)}
    n_out, n_in, taps, _ = network.targets[f"{layer_names(64)[number]}.weight"]
    shared = "linear.weight" in own
    count = len([key for key in own if key.startswith("convs.") and key.endswith("weight")])
    for i in range(count):
        stride = 1 if shared and i == 0 else 2
        x = F.leaky_relu(F.conv2d(x, own[f"convs.{2 * i}.weight"], own[f"convs.{2 * i}.bias"], stride=stride, padding=1), 0.01)
    if shared:
        code = x[:, :, 0, 0] @ own["linear.weight"].T / math.sqrt(x.shape[1]) + own["linear.bias"]
        w1, b1, w2, b2 = (state[f"shared_weight_hypernet.{name}"] for name in ("w1", "b1", "w2", "b2"))
        found = []
        for one in code:
            rows = (one @ w2 + b2).reshape(n_in, len(one))
            found.append((rows @ w1 + b1).reshape(n_out, n_in, 3, 3))
        return torch.stack(found)
    if "output.0.make_kernel_in.weight" in own:

        def linear(name: str) -> tuple[Tensor, Tensor]:
            return own[f"output.0.{name}.weight"], own[f"output.0.{name}.bias"]

        into, out = (F.linear(x[:, :, 0, 0], *linear(f"make_kernel_{end}")) for end in ("in", "out"))
        kernel = torch.einsum("nhwo,nhwi->nhwoi", out.reshape(-1, 3, 3, n_out), into.reshape(-1, 3, 3, n_in))
        weight, bias = linear("kernel_linear_in")
        kernel = torch.einsum("nhwoi,ji->nhwoj", kernel, weight) + bias
        weight, bias = linear("kernel_linear_out")
        return (torch.einsum("nhwoj,po->nhwpj", kernel, weight) + bias[:, None]).permute(0, 3, 4, 1, 2)
    place = "output.0" if taps == 1 else "output.1"
    pairs = x.mean((2, 3)) @ own[f"{place}.weight"][:, :, 0, 0].T + own[f"{place}.bias"]
    return pairs.reshape(-1, n_out, n_in, 1, 1).repeat(1, 1, 1, taps, taps)


@pytest.mark.parametrize("separable", [False, True])
@torch.no_grad()
def test_hyperstyles_blocks_are_what_the_public_code_computes(separable, images, drawn):
    network = filled(HyperStyleNetwork(**STYLE, layers=[0, 1, 2, 6, 8, 9, 12, 13], separable=separable))
    x = torch.cat([images, drawn], 1)
    for name in network.trunk:
        x = network.get_submodule(name)(x)
    assert x.shape == (3, 10, 4, 4)
    found = network(images, drawn)
    assert list(found) == list(network.targets)
    for number, name in zip((0, 1, 2, 6, 8, 9, 12, 13), found, strict=True):
        assert found[name].shape == (3, *network.targets[name])
        torch.testing.assert_close(found[name], delta_by_hand(network, x, number), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_regressor_is_what_the_public_code_computes():
    network = filled(HyperInverterNetwork(**INVERT, targets="all_without_bias"))
    draw = torch.Generator().manual_seed(4)
    of_drawn, of_images = (torch.randn(2, 10, 7, 4, 4, generator=draw) for _ in range(2))
    found = network.hypernet(of_drawn, of_images)
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == network.targets
    state = network.hypernet.state_dict()
    for name in ("b4.conv1.weight", "b32.conv0.weight", "b64.torgb.weight", "b16.conv0.affine.weight"):
        own = {k.split(".", 2)[2]: v for k, v in state.items() if k.split(".")[1] == name.replace(".", "_")}
        x = torch.cat([of_drawn[:, style_of(name)], of_images[:, style_of(name)]], 1)
        x = F.conv2d(x, own["fusion.0.weight"], own["fusion.0.bias"])
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        x = F.conv2d(x.relu(), own["feature_extractor.0.weight"], own["feature_extractor.0.bias"], padding=1).relu()
        for place in ("2", "4"):
            layer = own[f"feature_extractor.{place}.weight"], own[f"feature_extractor.{place}.bias"]
            x = F.conv2d(x, *layer, stride=2, padding=1).relu()
        rows = (x[:, :, 0, 0] @ own["w1"] + own["b1"]).reshape(2, -1, 6)
        expected = (rows @ own["w2"] + own["b2"]).reshape(2, *network.targets[name])
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_second_encoder_has_psps_pyramid(images):
    network = filled(HyperInverterNetwork(**INVERT)).w_bar_encoder
    psp = PSPEncoder(10, 16, size=64, stages=INVERT["stages"], heads=4)
    known = network.state_dict()
    psp.load_state_dict({k: known.get(k, v) for k, v in psp.state_dict().items() if not k.startswith("styles")}, strict=False)
    taps = psp.eval()._taps(images)
    found = network(images)
    assert found.shape == (3, 10, 7, 4, 4)
    expected = [head(taps[psp._level(i)]) for i, head in enumerate(network.styles)]
    torch.testing.assert_close(found, torch.stack(expected, 1))
    large = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(5))
    plain = F.interpolate(large, size=(64, 64), mode="bilinear", align_corners=False)  # the public code has no filter
    torch.testing.assert_close(network(large), network(plain))


@pytest.mark.parametrize(
    ("cls", "change", "message"),
    [
        (HyperStyleNetwork, {"size": 48}, "size: expected"),
        (HyperStyleNetwork, {"layers": [30]}, "layers: expected"),
        (HyperStyleNetwork, {"layers": [0, 12], "shared": [12]}, "shared: expected"),
        (HyperStyleNetwork, {"resolution": 32}, "channels: expected"),
        (HyperInverterNetwork, {"grid": 8}, "size, grid: expected"),
        (HyperInverterNetwork, {"targets": "all"}, "targets: expected"),
        (HyperInverterNetwork, {"targets": ["b8.conv0.bias"]}, "targets: expected"),
        (HyperInverterNetwork, {"backbone": "vgg"}, "backbone: expected"),
    ],
)  # fmt: skip
def test_impossible_architectures_are_refused(cls, change, message):
    with pytest.raises(ValueError, match=message):
        cls(**{**(STYLE if cls is HyperStyleNetwork else INVERT), **change})
