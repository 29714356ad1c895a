"""Diff-CAM: golden vectors of its mask, the deghosting network's layout, and an edit step by step."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from invbench.api import Edit, InvbenchError
from invbench.methods.convert import diffcam as convert
from invbench.methods.diffcam import SPEC, DiffCAMEditing
from invbench.methods.nets.deghosting import Deghosting
from invbench.methods.nets.diffcam import DiffCAM
from invbench.options import make
from invbench.plugins import pairs, registry
from invbench.plugins.registry import discover
from invbench.run.sums import Sums
from invbench.util.clock import StageClock
from tests import golden_vectors
from tests.methods.test_encoders import filled
from tests.methods.test_refinement import E4E, build
from tests.weights import official

SMALL = {"outputs": 3, "size": 32, "stages": [[4, 1], [4, 1], [4, 2], [8, 1]], "cut": 1, "reduce": False}
NARROW = {
    "in_size": 16, "width": 6, "units": 1, "growth": 4, "encoded": {4: 6, 8: 6, 16: 8}, "decoded": [6, 6],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_the_published_network_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("ood_diffcam")
    network, _ = convert.diffcam(golden_vectors.state(golden, "diffcam"), source="diff_cam_weight.pt")
    network = network.to(precision)
    for name, suffix, output in (("x", "", 10), ("x_coarse", "_coarse", 15)):
        inverted, edited = golden_vectors.tensor(golden, name).to(precision).split(3, dim=1)
        with torch.no_grad():
            golden_vectors.check(golden, f"logits{suffix}", network(inverted, edited))
            mask = network.mask(inverted, edited, torch.full((2,), output))[:, 0]
        golden_vectors.check(golden, f"cam_index_{output}{suffix}", mask)


def test_a_mask_is_grad_cam_by_autograd():
    network = filled(DiffCAM({"a": 0}, **SMALL)).double()
    draws = torch.Generator().manual_seed(1)
    before, after = torch.rand(2, 3, 3, 32, 32, generator=draws, dtype=torch.float64) * 2 - 1
    outputs = torch.tensor([2, 0, 1])
    responses = network.responses(before, after).detach().requires_grad_()
    logits = network.fc(responses.mean((2, 3)))
    assert torch.allclose(logits, network(before, after))
    (gradient,) = torch.autograd.grad(logits.gather(1, outputs[:, None]).sum(), responses)
    cam = (gradient.mean((2, 3), keepdim=True) * responses).sum(1, keepdim=True).clamp_min(0).detach()
    cam = F.interpolate(cam, size=(32, 32), mode="bilinear")
    for i, one in enumerate(cam):
        told = {"max": one / one.max(), "range": (one - one.min()) / (one - one.min()).max()}
        for kind, expected in told.items():
            found = network.mask(before, after, outputs, normalise=kind)[i]
            torch.testing.assert_close(found, expected.nan_to_num(0))


def test_pictures_that_do_not_differ_have_no_mask():
    network = filled(DiffCAM({"a": 0}, **SMALL))
    images = torch.rand(2, 3, 32, 32)
    other = images.clone()
    other[1] += 0.3
    mask = network.mask(images, other, torch.zeros(2, dtype=torch.long))
    assert torch.isfinite(mask).all() and mask[0].max() == 0


@pytest.mark.parametrize("layout", ["deghosting_1024", "deghosting_128_256"])
def test_the_public_layout_of_the_deghosting_network_is_read_whole(layout):
    state = official.deghosting(layout)
    network, notes = convert.deghosting(state, source="deghosting.pt")
    assert network.in_size == 128 and network.out_size == (1024 if layout.endswith("1024") else 256)
    assert torch.equal(network.FCN.encoder[6][3].weight, state["FCN.encoder.6.3.weight"])
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))  # filters are in no file
    own = network.generator.synthesis
    assert torch.equal(own.b16.conv0.weight, state["generator.convs.2.conv.weight_orig"][0])
    assert torch.equal(own.b16.conv0.affine.weight, state["generator.convs.2.conv.style_modulation.linear.weight_orig"])
    assert torch.equal(own.b4.conv1.noise_const, state["generator.injected_noise_0"][0, 0])
    assert notes == ("mean latent: not in the file, estimated from 10000 samples with seed 0",)
    for key in ("FCN.fusion_skip.2.bias", "generator.convs.3.activate.bias"):
        less = {name: value for name, value in state.items() if name != key}
        with pytest.raises(InvbenchError, match=r"^deghosting.pt.*missing"):
            convert.deghosting(less, source="deghosting.pt")
    with pytest.raises(InvbenchError, match=r"unexpected: FCN.extra"):
        convert.deghosting(state | {"FCN.extra": torch.zeros(1)}, source="deghosting.pt")


def test_another_number_of_attributes_is_told():
    with pytest.raises(InvbenchError, match="^da.pt: fc.weight: expected at least 17 attributes, found 3"):
        convert.diffcam(DiffCAM({"a": 0}, **SMALL).state_dict(), source="da.pt")


@pytest.fixture(scope="module")
def nets(networks):
    generator = networks["generator"]
    network = filled(DiffCAM({"age": 1}, **SMALL)).requires_grad_(False)
    channels = dict(generator.channels)
    ghosts = filled(Deghosting(channels, generator.num_ws, generator.w_dim, **NARROW)).requires_grad_(False)
    return networks | {"diffcam": network, "deghosting": ghosts}


def method(nets, **options):
    return DiffCAMEditing(nets, make(SPEC, options), build(E4E, nets))


@pytest.mark.parametrize("options", [{}, {"normalise": "max", "enlarge": "bilinear"}, {"paste": True}])
def test_an_edit_composes_and_draws_anew(nets, images, options):
    row, clock = method(nets, **options), StageClock("cpu")
    inversion = row.invert(images, clock)
    edited = row.edit(inversion, Edit("age", 2.0), clock)
    synthesis = nets["generator"].synthesis
    latents = inversion.latents
    before, after = synthesis(latents), synthesis(nets["directions"].move(latents, Edit("age", 2.0)))
    ones = torch.ones(len(images), dtype=torch.long)
    mask = nets["diffcam"].mask(before, after, ones, normalise=options.get("normalise", "range"))
    expected = nets["deghosting"](after * mask + images * (1 - mask), nets["generator"])
    if options.get("paste"):
        expected = expected * mask + images * (1 - mask)
    torch.testing.assert_close(edited, expected, atol=1e-5, rtol=1e-4)
    assert (edited - inversion.images).abs().max() > 1e-3


@pytest.mark.parametrize("paste", [False, True])
def test_an_edit_of_strength_0_is_the_inversion(nets, images, paste):
    row, clock = method(nets, paste=paste), StageClock("cpu")
    inversion = row.invert(images, clock)
    torch.testing.assert_close(row.edit(inversion, Edit("age", 0.0), clock), inversion.images)
    torch.testing.assert_close(inversion.images, nets["deghosting"](images, nets["generator"]))


@pytest.mark.parametrize("options", [{}, {"normalise": "max", "paste": True}])
def test_edits_of_a_sum_have_masks_of_their_own(nets, images, options):
    """Section 3.6 written out: pairs of successive pictures, the largest mask of each pixel, the last picture composed."""
    attributes = {"age": 1, "yaw": 2}
    network = filled(DiffCAM(attributes, **SMALL)).requires_grad_(False)
    nets = nets | {"diffcam": network, "directions": Sums(nets["directions"])}
    row, clock = method(nets, **options), StageClock("cpu")
    inversion = row.invert(images, clock)
    synthesis, kind = nets["generator"].synthesis, options.get("normalise", "range")
    latents, pictures, masks = inversion.latents, [synthesis(inversion.latents)], []
    for name, output in attributes.items():
        latents = latents + 3 * nets["directions"][name]
        pictures.append(synthesis(latents))
        chosen = torch.full((len(images),), output)
        masks.append(nets["diffcam"].mask(pictures[-2], pictures[-1], chosen, normalise=kind))
    mask = torch.stack(masks).amax(0)
    expected = nets["deghosting"](pictures[-1] * mask + images * (1 - mask), nets["generator"])
    if options.get("paste"):
        expected = expected * mask + images * (1 - mask)
    torch.testing.assert_close(row.edit(inversion, Edit("age+yaw", 3.0), clock), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(row.edit(inversion, Edit("age+yaw", 0.0), clock), inversion.images)
    assert not torch.equal(masks[0], masks[1])


@pytest.mark.parametrize("name", ["diffcam", "diffcam+psp", "diffcam+e4e", "diffcam+idinvert"])
def test_it_works_over_any_inversion_and_any_direction(nets, images, name):
    encoders = dict.fromkeys(["encoder_psp", "encoder_idinvert"], nets["encoder_e4e"])
    network = filled(DiffCAM({"age": 1, "yaw": 2}, **SMALL)).requires_grad_(False)
    nets = nets | encoders | {"features_idinvert": nets["perceptual_vgg"], "diffcam": network}
    spec, clock = pairs.find(name, discover().methods), StageClock("cpu")
    options = {option: one.default for option, one in spec.options.items()}
    if "embedder.steps" in options:
        options["embedder.steps"] = 2
    row = registry.build(spec, options, lambda spec, options: nets | {"directions": Sums(nets["directions"])})
    inversion = row.invert(images, clock)
    for edit in (Edit("age", 3.0), Edit("age+yaw", 3.0)):
        edited = row.edit(inversion, edit, clock)
        assert edited.shape == images.shape and (edited - inversion.images).abs().max() > 1e-3


def test_features_of_encoder_and_generator_meet_where_they_should(nets):
    """The whole network written out with the generator's own layers."""
    network, generator = nets["deghosting"], nets["generator"]
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    fcn, synthesis = network.FCN, generator.synthesis
    x = F.adaptive_avg_pool2d(images, 16)
    encoded = {}
    for size, part in zip((16, 8, 4), fcn.encoder):
        encoded[size] = x = part(x)
    ws = fcn.encoder[3](x).reshape(2, generator.num_ws, generator.w_dim)
    out = synthesis.b4.const.expand(2, -1, -1, -1)
    place, kept = 0, {}
    for i, size in enumerate((4, 8, 16, 32)):
        block = getattr(synthesis, f"b{size}")
        for name in ("conv0", "conv1") if size > 4 else ("conv1",):
            layer = getattr(block, name)
            out = layer(out, ws[:, place], layer.noise_const[None, None], {})
            place += 1
        kept[size] = out
        if size <= 16:
            out = fcn.fusion_out[i](torch.cat([out, encoded[size]], 1))
    up = F.pixel_shuffle(fcn.decoder[0].upsample_conv(encoded[16]), 2)
    expected = fcn.decoder[1](torch.cat([up, kept[32]], 1))
    torch.testing.assert_close(network(images, generator), expected, atol=1e-4, rtol=1e-4)


def test_an_edit_that_the_network_was_not_trained_for_is_refused(nets, images):
    row, clock = method(nets), StageClock("cpu")
    with pytest.raises(InvbenchError, match="diffcam: edit 'yaw': its network was trained for age"):
        row.edit(row.invert(images, clock), Edit("yaw", 1.0), clock)
    with pytest.raises(InvbenchError, match="diffcam: edit 'yaw': its network was trained for age"):
        row.edit(row.invert(images, clock), Edit("age+yaw", 1.0), clock)


def test_a_deghosting_network_of_another_size_is_refused(nets):
    with pytest.raises(InvbenchError, match="for 32 pixels, found one for 64"):
        larger = Deghosting({**nets["generator"].channels, 64: 8}, 8, 8, **NARROW | {"decoded": [6, 6, 6]})
        method(nets | {"deghosting": larger})
