"""Published judges and encoders: official layouts load whole, golden vectors are met, what does not fit is listed."""

from __future__ import annotations

from pathlib import Path

import lpips
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import InvbenchError
from invbench.methods.convert.encoders import convert_e4e, convert_psp
from invbench.methods.convert.invertibility import convert_invertibility
from invbench.methods.nets.encoders import E4EEncoder, PSPEncoder
from invbench.methods.nets.w_encoder import WEncoder
from invbench.metrics.nets import arcface, bisenet, curricularface, dex, lpips_package
from invbench.metrics.nets.irse import IR101, FaceEmbedding, stage_ends
from invbench.metrics.nets.published import LISTED
from invbench.weights.checkpoints import load_checkpoint
from tests import golden_vectors
from tests.agreement import agree

KERNEL = torch.tensor([1.0, 3.0, 3.0, 1.0])
NETS = ("alex", "vgg", "squeeze")


def layout(name: str, variant: str) -> dict[str, list[int]]:
    """Key -> shape of an official file."""
    if name in ("curricularface_ir101", "dex_age", "lpips", "sam_invertibility"):
        return golden_vectors.load(f"{name}_layout")[variant]
    return {key: shape for key, (shape, _) in golden_vectors.load(name)["modules"][variant]["keys"].items()}


def stand_in(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Tensors of these shapes that need no memory: one number each, repeated."""
    return {key: torch.full((1,) * len(shape), 0.5).expand(shape) for key, shape in shapes.items()}


def drawn(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Small random tensors of these shapes."""
    random = torch.Generator().manual_seed(0)
    return {k: torch.randn(s, generator=random) / max(1, torch.Size(s[1:]).numel()) ** 0.5 for k, s in shapes.items()}


BARE = [
    (arcface, "arcface_irse50", "facenet", 397),
    (curricularface, "curricularface_ir101", "facenet", 672),
    (bisenet, "bisenet_face_parsing", "net", 191),
]


# Layouts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "name", "variant", "count"), BARE)
def test_bare_state_dicts_load_whole(module, name, variant, count):
    shapes = layout(name, variant)
    network = module.from_checkpoint(stand_in(shapes), source="official.pth")
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == shapes
    assert len(shapes) == count
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


def test_dex_loads_whole_from_its_wrapper_with_hyphens():
    shapes = layout("dex_age", "age_net")
    hyphens = {key.replace("_", "-"): value for key, value in stand_in(shapes).items()}
    network = dex.from_checkpoint({"state_dict": hyphens}, source="dex.pth")
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == shapes
    with pytest.raises(InvbenchError, match="^dex.pth: expected the key 'state_dict', found the keys conv1-1.weight,"):
        dex.from_checkpoint(hyphens, source="dex.pth")


@pytest.mark.parametrize("net", NETS)
def test_every_lpips_layout_loads_whole_and_means_the_same(net):
    package = drawn(layout("lpips", f"pypi_lpips_{net}"))
    package |= {key: package[key.replace("lins.", "lin")] for key in package if key.startswith("lins.")}
    package |= {
        f"scaling_layer.{name}": torch.tensor(values).view(1, 3, 1, 1)
        for name, values in (("shift", lpips_package.SHIFT), ("scale", lpips_package.SCALE))
    }
    criteria, linear, trunk = {}, {}, {}
    for key in layout("lpips", f"criteria_lpips_{net}"):
        part, rest = key.split(".", 1)
        if part == "lin":
            number = rest.split(".")[0]
            linear[f"lin{number}.model.1.weight"] = criteria[key] = package[f"lin{number}.model.1.weight"]
        elif rest in ("mean", "std"):
            criteria[key] = package[f"scaling_layer.{'shift' if rest == 'mean' else 'scale'}"]
        else:
            layer = rest.removeprefix("layers.")
            criteria[key] = next(v for k, v in package.items() if k.startswith("net.") and k.split(".", 2)[2] == layer)
            trunk[f"features.{layer}"] = criteria[key]
    assert {key: list(value.shape) for key, value in linear.items()} == layout("lpips", f"linear_weights_v0.1_{net}")
    trunk["classifier.1.weight"] = torch.zeros(2, 2)
    a, b = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1

    with torch.device("meta"):
        reference = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    reference.load_state_dict(package, assign=True)
    with torch.no_grad():
        expected = reference(a, b).flatten()
        for checkpoint, beside in ((package, None), (criteria, None), (linear, trunk)):
            network = lpips_package.from_checkpoint(checkpoint, source="lpips.pth", trunk=beside)
            assert network.net == net
            assert {f"model.{key}" for key in layout("lpips", f"pypi_lpips_{net}")} == set(network.state_dict())
            torch.testing.assert_close(network.distance(a, b), expected, rtol=1e-5, atol=0)
            assert len(network.maps(a, b)) == len(linear)
    assert (network.distance(a, a) == 0).all()


def test_linear_weights_of_the_package_are_the_official_layout():
    for net in NETS:
        state = load_checkpoint(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth")
        found = {key: list(value.shape) for key, value in state.items()}
        assert found == layout("lpips", f"linear_weights_v0.1_{net}")


def test_lpips_has_a_gradient_where_features_are_zero():
    state = stand_in(layout("lpips", "pypi_lpips_alex"))
    network = lpips_package.from_checkpoint({k: -v if "net." in k else v for k, v in state.items()}, source="lpips.pth")
    images = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    dark = torch.full((1, 3, 64, 64), -1.0)
    network.distance(images, dark).sum().backward()
    assert not network.features(images.detach())[0].any() and network.features(dark)[0].all()
    assert images.grad is not None and images.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if "lin" not in k}, "expected LPIPS weights with 'lin1.model.1.weight'"),
        (lambda s: {k: v for k, v in s.items() if k.startswith("lin")}, "linear weights only, expected .* trunk for alex"),
        (lambda s: s | {"lins.2.model.1.weight": torch.zeros(1, 384, 1, 1)}, "expected equal tensors under lin2.model"),
        (lambda s: s | {"lin1.model.1.weight": torch.zeros(1, 7, 1, 1)}, "expected 7 linear layers, or 5 with 192 or 128"),
        (lambda s: s | {"net.slice9.99.weight": torch.zeros(2)}, "1 unexpected: model.net.slice9.99.weight"),
    ],
)
def test_lpips_files_that_do_not_fit(change, message):
    state = stand_in(layout("lpips", "pypi_lpips_alex"))
    with pytest.raises(InvbenchError, match=f"^lpips.pth: .*{message}"):
        lpips_package.from_checkpoint(change(state), source="lpips.pth")


def test_a_trunk_of_another_network_is_refused():
    linear = stand_in(layout("lpips", "linear_weights_v0.1_alex"))
    theirs = stand_in(layout("lpips", "criteria_lpips_vgg"))
    vgg = {key.replace("net.layers", "features"): value for key, value in theirs.items() if "layers" in key}
    with pytest.raises(InvbenchError, match="^vgg.pth: expected torchvision's features for alex, missing features.3"):
        lpips_package.from_checkpoint(linear, source="alex.pth", trunk=vgg, trunk_source="vgg.pth")


def test_one_error_lists_everything_that_does_not_fit():
    state = stand_in(layout("bisenet_face_parsing", "net"))
    for key in [key for key in state if key.startswith("ffm.")]:
        del state[key]
    state |= {"sp.conv.weight": torch.zeros(3, 4), "conv_out.conv_out.weight": torch.zeros(11, 256, 1, 1)}
    with pytest.raises(InvbenchError) as failure:
        bisenet.from_checkpoint(state, source="parser.pth")
    message = str(failure.value)
    assert message.startswith("parser.pth: tensors do not fit the network: 8 missing: ffm.convblk.conv.weight [256, 256, 1, 1]")
    assert "1 unexpected: sp.conv.weight [3, 4]" in message
    assert "1 wrong shape: conv_out.conv_out.weight (expected [19, 256, 1, 1], found [11, 256, 1, 1])" in message
    whole = stand_in(layout("bisenet_face_parsing", "net"))
    few = {key: value for key, value in whole.items() if "bn" not in key}
    with pytest.raises(InvbenchError, match=f"missing: .* and {len(whole) - len(few) - LISTED} more"):
        bisenet.from_checkpoint(few, source="parser.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {4: torch.zeros(1)}])
def test_what_is_no_state_dict_is_refused(content):
    with pytest.raises(InvbenchError, match="^face.pth: expected a (dictionary of tensors|tensor under each name), found"):
        arcface.from_checkpoint(content, source="face.pth")


# What they compute ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
def test_arcface_reproduces_the_golden_vectors(dtype):
    golden = golden_vectors.load("arcface_irse50")
    network = arcface.from_checkpoint(golden_vectors.state(golden, "facenet"), source="model_ir_se50.pth").to(dtype)
    with torch.no_grad():
        golden_vectors.check(golden, "embedding", network.embedding(golden_vectors.tensor(golden, "x").to(dtype)))
        golden_vectors.check(golden, "embedding_of_cropped_256", network(golden_vectors.tensor(golden, "image256").to(dtype)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_dex_reproduces_the_golden_vectors(dtype):
    golden = golden_vectors.load("dex_age")
    hyphens = {key.replace("_", "-"): value for key, value in golden_vectors.state(golden, "age_net").items()}
    network = dex.from_checkpoint({"state_dict": hyphens}, source="dex.pth").to(dtype)
    images = golden_vectors.tensor(golden, "x").to(dtype)
    golden_vectors.check(golden, "logits", network.logits(images))
    golden_vectors.check(golden, "age", network.age(images))


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
def test_bisenet_reproduces_the_golden_vectors(dtype):
    golden = golden_vectors.load("bisenet_face_parsing")
    network = bisenet.from_checkpoint(golden_vectors.state(golden, "net"), source="79999_iter.pth").to(dtype)
    with torch.no_grad():
        for name, output in zip(("out", "out16", "out32"), network.maps(golden_vectors.tensor(golden, "x").to(dtype))):
            golden_vectors.check(golden, name, output)
        coarse = golden_vectors.tensor(golden, "x_coarse").to(dtype)
        golden_vectors.check(golden, "out_coarse", network.maps(coarse)[0])
        # As a parser it takes pictures in [-1, 1]; undoing its normalisation gives the same map.
        mean, std = (torch.tensor(v, dtype=dtype).view(3, 1, 1) for v in (bisenet.IMAGENET_MEAN, bisenet.IMAGENET_STD))
        logits = network((coarse * std + mean) * 2 - 1)
    torch.testing.assert_close(logits, network.maps(coarse)[0], rtol=1e-4, atol=1e-4)


def test_curricularface_is_ir101():
    assert stage_ends(IR101)[-1] == 48
    network = curricularface.from_checkpoint(stand_in(layout("curricularface_ir101", "facenet")), source="c.pth")
    assert not any("fc1" in key or key == "output_layer.4.weight" for key in network.state_dict())
    assert [unit.res_layer[3].stride[0] for unit in network.body].count(2) == 4
    with pytest.raises(ValueError, match=r"faces: expected shape \[N, 3, 112, 112\], found"):
        network(torch.zeros(1, 3, 256, 256))


def test_curricularfaces_units_are_the_published_ones():
    """Against the layers written out one by one, in float64 and with fewer and narrower units."""
    widths = (8, 8, 12, 16)
    with torch.device("meta"):
        network = FaceEmbedding(stages=[(width, 2) for width in widths], gated=False, affine=False, features=24)
    w = drawn({key: list(value.shape) for key, value in network.state_dict().items()})
    w = {key: value.double().abs() + 0.5 if key.endswith("var") else value.double() for key, value in w.items()}
    network.double().eval().load_state_dict(w, assign=True)

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias = w.get(f"{name}.weight"), w.get(f"{name}.bias")
        return F.batch_norm(x, w[f"{name}.running_mean"], w[f"{name}.running_var"], weight, bias)

    faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    x = F.prelu(norm(F.conv2d(faces, w["input_layer.0.weight"], padding=1), "input_layer.1"), w["input_layer.2.weight"])
    for unit in range(8):
        name, stride = f"body.{unit}", 2 - unit % 2
        y = F.conv2d(norm(x, f"{name}.res_layer.0"), w[f"{name}.res_layer.1.weight"], padding=1)
        y = F.conv2d(F.prelu(y, w[f"{name}.res_layer.2.weight"]), w[f"{name}.res_layer.3.weight"], stride=stride, padding=1)
        shortcut = f"{name}.shortcut_layer"
        wider = f"{shortcut}.0.weight" in w
        x = norm(F.conv2d(x, w[f"{shortcut}.0.weight"], stride=2), f"{shortcut}.1") if wider else x[..., ::stride, ::stride]
        x = x + norm(y, f"{name}.res_layer.4")
    x = norm(x, "output_layer.0").reshape(2, -1)
    x = norm(F.linear(x, w["output_layer.3.weight"], w["output_layer.3.bias"]), "output_layer.4")
    with torch.no_grad():
        agree(network.embedding(faces), x / x.norm(dim=1, keepdim=True), relative=1e-6)


def test_age_is_the_mean_of_the_softmax():
    state = stand_in(layout("dex_age", "age_net"))
    weights = {key: torch.zeros(1).expand(value.shape) for key, value in state.items()}
    scores = torch.full((101,), -30.0)
    scores[[20, 60]] = torch.tensor([0.75, 0.25]).log()
    del weights["fc8_101.bias"]
    network = dex.from_checkpoint({"state_dict": weights | {"fc8-101.bias": scores}}, source="dex.pth")
    with torch.no_grad():
        images = torch.zeros(1, 3, 32, 32)
        torch.testing.assert_close(network.age(images), torch.tensor([30.0]))
        torch.testing.assert_close(network(images), torch.tensor([[0.3]]))
    assert (network.names, network.low, network.high, network.units) == (("age",), (0.0,), (100.0,), ("years",))


def test_dex_is_the_published_network():
    """Against the layers written out one by one, at full size with drawn convolutions."""
    shapes = layout("dex_age", "age_net")
    state = drawn({key: shape for key, shape in shapes.items() if key.startswith("conv")})
    state |= {key: torch.full((1,) * len(shape), 0.01).expand(shape) for key, shape in shapes.items() if key.startswith("fc")}
    rows = torch.linspace(0, 1, 101)[:, None]
    state["fc8_101.weight"] = rows.expand(101, 4096) * 1e-4
    network = dex.from_checkpoint({"state_dict": state}, source="dex.pth")
    images = torch.rand(1, 3, 300, 260, generator=torch.Generator().manual_seed(2)) * 2 - 1
    x = F.interpolate(images, size=(224, 224), mode="bilinear")
    for names in ("1_1 1_2", "2_1 2_2", "3_1 3_2 3_3", "4_1 4_2 4_3", "5_1 5_2 5_3"):
        for name in names.split():
            x = torch.relu(F.conv2d(x, state[f"conv{name}.weight"], state[f"conv{name}.bias"], padding=1))
        x = F.max_pool2d(x, 2, 2)
    x = x.reshape(1, -1)
    for name in ("fc6", "fc7"):
        x = torch.relu(F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]))
    expected = F.linear(x, state["fc8_101.weight"], state["fc8_101.bias"])
    assert expected.std() > 1e-6
    with torch.no_grad():
        agree(network.logits(images), expected, relative=1e-5)


# Encoders and SAM ----------------------------------------------------------------------------------------------------


def encoder_file(name: str, module: str, heads: int, **extra: object) -> dict[str, object]:
    """A checkpoint as the encoders' authors write it: ``heads`` of the encoder's heads, and the 256 px decoder."""
    shapes = {k: s for k, s in layout(name, module).items() if not k.startswith("styles.") or int(k.split(".")[1]) < heads}
    state = {f"encoder.{key}": value for key, value in stand_in(shapes).items()}
    kernel = torch.outer(KERNEL, KERNEL) / 64
    for key, value in stand_in(layout("stylegan2_rosinality", "generator")).items():
        state[f"decoder.{key}"] = 4 * kernel if key.endswith("kernel") else value
    return {"state_dict": state, "latent_avg": torch.arange(512.0).expand(14, 512), "opts": {"stylegan_size": 256}} | extra


@pytest.mark.parametrize(
    ("convert", "name", "module", "heads", "cls"),
    [
        (convert_psp, "psp", "encoder", 14, PSPEncoder),
        (convert_e4e, "e4e", "encoder", 14, E4EEncoder),
        (convert_psp, "psp", "w_encoder", 0, WEncoder),
    ],
)
def test_encoder_files_load_whole(convert, name, module, heads, cls):
    mean = {} if heads else {"latent_avg": torch.arange(512.0)[None]}
    found = convert(encoder_file(name, module, heads, **mean), source="encoder.pt")
    assert type(found.encoder) is cls
    assert found.encoder.latent_avg.shape == ((14, 512) if heads else (512,))
    assert (found.encoder.latent_avg == torch.arange(512.0)).all()
    assert torch.equal(found.decoder.state["mapping.w_avg"], torch.arange(512.0))
    assert found.decoder.config.resolution == 256 and found.notes == ()


def test_mean_latents_of_every_kind():
    for latent_avg in (torch.arange(512.0), torch.arange(512.0)[None], torch.arange(512.0).expand(14, 512)):
        found = convert_e4e(encoder_file("e4e", "encoder", 14, latent_avg=latent_avg), source="e.pt")
        assert torch.equal(found.encoder.latent_avg, torch.arange(512.0).expand(14, 512))
    rows = torch.arange(14.0)[:, None].expand(14, 512)
    found = convert_e4e(encoder_file("e4e", "encoder", 14, latent_avg=rows), source="e.pt")
    assert torch.equal(found.encoder.latent_avg, rows)
    assert (found.decoder.state["mapping.w_avg"] == 6.5).all() and "latent_avg differs" in found.notes[0]
    opts = {"start_from_latent_avg": False}
    assert not convert_psp(encoder_file("psp", "encoder", 14, opts=opts), source="e.pt").encoder.latent_avg.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_avg": torch.zeros(18, 512)}, r"latent_avg: expected \[512\], \[1, 512\] or \[14, 512\], found \(18, 512\)"),
        ({"unknown": 1}, "expected encoder.*found unknown"),
        ({"state_dict": {}}, "expected an encoder with styles"),
        ({"state_dict": {"net.x": torch.zeros(1)}}, "found net.x"),
    ],
)
def test_encoder_files_that_do_not_fit(change, message):
    with pytest.raises(InvbenchError, match=f"^encoder.pt: .*{message}"):
        convert_psp(encoder_file("psp", "encoder", 14, **change), source="encoder.pt")


def test_invertibility_predictors_load_whole():
    spaces = ("W+", "F4", "F6", "F8", "F10")
    checkpoint = {"sd_base": stand_in(layout("sam_invertibility", "sd_base"))}
    checkpoint |= {space: stand_in(layout("sam_invertibility", "head")) for space in spaces}
    network = convert_invertibility(checkpoint, source="sam.pt")
    assert network.spaces == spaces and not network.training
    checkpoint["F4"]["m.0.weight"] = torch.zeros(1)
    message = r"^sam.pt: .*1 wrong shape: heads.F4.m.0.weight \(expected \[8, 4, 3, 3\], found \[1\]\)"
    with pytest.raises(InvbenchError, match=message):
        convert_invertibility(checkpoint, source="sam.pt")
    with pytest.raises(InvbenchError, match="^sam.pt: expected a head for at least one latent space"):
        convert_invertibility({"sd_base": {}}, source="sam.pt")
