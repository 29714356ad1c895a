"""StyleFeatureEditor: the official layout, its networks against another build of them, an inversion and its edits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import Edit, InvbenchError
from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.nets.feature_style import FeatureStyleEncoder
from invbench.methods.nets.partial import up_to
from invbench.methods.nets.sfe import FeatureFuser, SFENetwork, reduced, start_near
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.sfe import SPEC, StyleFeatureEditor
from invbench.options import make
from invbench.util.clock import StageClock
from tests import golden_vectors
from tests.methods.test_encoders import filled
from tests.methods.test_feature_style import leaky, normalised

SMALL = {"num_ws": 8, "w_dim": 8, "size": 32, "stages": [[4, 1], [6, 2], [8, 1], [8, 1]], "feature": 8, "blocks": 2}
E4E = {"num_ws": 8, "w_dim": 8, "size": 32, "stages": [[4, 1], [6, 1], [6, 1], [8, 1]], "heads": 8}


def test_it_has_the_official_tensors():
    with torch.device("meta"):
        built = SFENetwork()
    shapes = {key: list(value.shape) for key, value in built.state_dict().items()}
    assert shapes.pop("inverter.fs_backbone.latent_avg") == [18, 512]
    layout = golden_vectors.load("sfe_layout")
    expected = {f"inverter.{key}": shape for key, shape in layout["inverter"].items()}
    assert shapes == expected | {f"editor.{key}": shape for key, shape in layout["feature_editor"].items()}


@torch.no_grad()
def test_the_fuser_from_its_tensors_alone():
    fuser = filled(FeatureFuser(6, blocks=3))
    first, second = torch.randn(2, 2, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    s = fuser.state_dict()
    x = F.conv2d(torch.cat([first, second], 1), s["conv.weight"], s["conv.bias"])
    for i in range(3):
        y = F.conv2d(normalised(x, s, f"body.{i}.body.0"), s[f"body.{i}.body.1.weight"], padding=1)
        y = leaky(normalised(y, s, f"body.{i}.body.2"), s, f"body.{i}.body.3")
        x = x + normalised(F.conv2d(y, s[f"body.{i}.body.4.weight"], padding=1), s, f"body.{i}.body.5")
    torch.testing.assert_close(fuser(first, second), x, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_third_stage_keeps_its_size_and_pictures_are_reduced_without_antialiasing():
    network = filled(SFENetwork(**SMALL))
    wide = {key: value for key, value in SMALL.items() if key != "blocks"}
    plain = FeatureStyleEncoder(**wide, strides=(2, 2, 1, 2), feature_stride=1)
    plain.load_state_dict(network.inverter.fs_backbone.state_dict())
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    middle = [(images[:, :, 1 + i :: 4, 1 + j :: 4]) for i in (0, 1) for j in (0, 1)]  # of four rows the two in the middle
    small = sum(middle) / 4
    torch.testing.assert_close(reduced(images, 32), small)
    latents, predicted = network.inverter(images)
    assert predicted.shape == (2, 8, 8, 8)
    for found, expected in zip((latents, predicted), plain.eval()(small), strict=True):
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_the_lower_blocks_give_the_features_of_the_whole_pass(networks):
    generator = networks["generator"]
    latents = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(2))
    lower = up_to(generator.synthesis, generator.config, 16)
    shared = {id(one) for one in generator.synthesis.parameters()}
    assert lower.num_ws == 6 and {id(one) for one in lower.parameters()} < shared
    found = lower(latents[:, :6], return_features=["b16.conv1"])[1]["b16.conv1"]
    assert torch.equal(found, generator.synthesis(latents, return_features=["b16.conv1"])[1]["b16.conv1"])


@torch.no_grad()
def test_a_fuser_starts_near_what_it_is_told():
    fuser = filled(FeatureFuser(6, blocks=2))
    first, second = torch.randn(2, 2, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    for value in (one for key, one in fuser.named_parameters() if key.endswith("body.5.bias")):
        value.zero_()
    start_near(fuser, 1.0, -1.0, size=0.0)
    torch.testing.assert_close(fuser(first, second), first - second)


class Sees(nn.Module):
    """A parser whose background is the left half."""

    classes = ("skin", "background")

    def forward(self, images: Tensor) -> Tensor:
        scores = images.new_full((len(images), 2, *images.shape[2:]), -3.0)
        scores[:, 1, :, : images.shape[-1] // 2] = 3.0
        return scores


@pytest.fixture(scope="module")
def trained(networks):
    # e4e has a mean latent of its own, which counts for nothing here
    found = {"sfe": filled(SFENetwork(**SMALL)), "encoder_e4e": filled(E4EEncoder(**E4E))}
    found["encoder_e4e"].latent_avg.fill_(7.0)
    found["sfe"].latent_avg.copy_(networks["generator"].mean_latent.expand(8, 8))
    return networks | {role: network.requires_grad_(False) for role, network in found.items()}


def row(networks, **options) -> StyleFeatureEditor:
    return StyleFeatureEditor(networks, make(SPEC, {"feature_resolution": 8, **options}))


def replaced(generator, latents: Tensor, feature: Tensor) -> Tensor:
    own = generator.synthesis(latents, return_features=["b8.conv1"])[1]["b8.conv1"]
    return generator.synthesis(latents, features={"b8.conv1": FeatureEdit.add(feature - own)})


@torch.no_grad()
def test_an_inversion_step_by_step(trained, images):
    generator, network = trained["generator"], trained["sfe"]
    found = row(trained).invert(images, StageClock("cpu"))
    latents, predicted = network.inverter.fs_backbone(images)
    own = generator.synthesis(latents, return_features=["b8.conv1"])[1]["b8.conv1"]
    fused = network.inverter.fuser(predicted, own)
    torch.testing.assert_close(found.latents, latents)
    torch.testing.assert_close(found.state["fused"], fused)
    expected = replaced(generator, latents, network.editor(fused, torch.zeros_like(fused)))
    torch.testing.assert_close(found.images, expected, atol=1e-4, rtol=1e-4)
    codes = trained["encoder_e4e"](images) - 7.0 + generator.mean_latent
    torch.testing.assert_close(found.state["latents_e4e"], codes, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_editor_sees_the_unedited_feature_of_e4e_minus_the_edited_one(trained, images):
    generator, network, method, clock = trained["generator"], trained["sfe"], row(trained), StageClock("cpu")
    found = method.invert(images, clock)
    torch.testing.assert_close(method.edit(found, Edit("age", 0), clock), found.images)
    step = 2 * trained["directions"]["age"]
    codes = found.state["latents_e4e"]
    before, after = (generator.synthesis(w, return_features=["b8.conv1"])[1]["b8.conv1"] for w in (codes, codes + step))
    fused = found.state["fused"]
    edited = method.edit(found, Edit("age", 2.0), clock)
    expected = replaced(generator, found.latents + step, network.editor(fused, before - after))
    torch.testing.assert_close(edited, expected, atol=1e-4, rtol=1e-4)
    turned = replaced(generator, found.latents + step, network.editor(fused, after - before))
    assert (edited - turned).abs().mean() > 1e-3
    halved = row(trained, **SPEC["presets"]["released"])
    torch.testing.assert_close(halved.edit(found, Edit("age", 4.0), clock), edited, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_first_phase_keeps_its_feature(trained, images):
    method, clock = row(trained, phase="inverter"), StageClock("cpu")
    found = method.invert(images, clock)
    assert set(found.state) == {"fused"}
    moved = found.latents + 2 * trained["directions"]["age"]
    for latents, picture in ((found.latents, found.images), (moved, method.edit(found, Edit("age", 2.0), clock))):
        expected = replaced(trained["generator"], latents, found.state["fused"])
        torch.testing.assert_close(picture, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_background_keeps_its_feature(trained, images):
    networks, clock = trained | {"parser": Sees()}, StageClock("cpu")
    method = row(networks, keep="background", background_threshold=0.9)
    found = method.invert(images, clock)
    mask = found.state["background"]
    assert mask.shape == (4, 1, 8, 8) and torch.equal(mask[..., :4], torch.ones(4, 1, 8, 4)) and not mask[..., 4:].any()
    step = 2 * trained["directions"]["age"]
    codes = found.state["latents_e4e"]
    draw = trained["generator"].synthesis
    before, after = (draw(w, return_features=["b8.conv1"])[1]["b8.conv1"] for w in (codes, codes + step))
    change = torch.cat([torch.zeros_like(before[..., :4]), (before - after)[..., 4:]], 3)
    expected = replaced(trained["generator"], found.latents + step, trained["sfe"].editor(found.state["fused"], change))
    torch.testing.assert_close(method.edit(found, Edit("age", 2.0), clock), expected, atol=1e-4, rtol=1e-4)
    assert not row(networks, keep="background", background_threshold=0.96).invert(images, clock).state["background"].any()
    with pytest.raises(InvbenchError, match="sfe.keep: expected a suite whose role parser has a class background"):
        row({role: one for role, one in trained.items() if role != "parser"}, keep="background")


@torch.no_grad()
def test_an_image_is_the_same_alone(trained, images):
    method, clock = row(trained), StageClock("cpu")
    whole, alone = method.invert(images, clock), method.invert(images[1:2], clock)
    torch.testing.assert_close(alone.images, whole.images[1:2], atol=1e-3, rtol=1e-3)


def test_a_place_that_the_networks_were_not_made_for_is_refused(trained, images):
    with pytest.raises(InvbenchError, match=r"sfe.feature_resolution: expected one of \[8, 16\] .*, found 64 with none"):
        row(trained, feature_resolution=64)
    with pytest.raises(InvbenchError, match=r"expected a feature \(4, 8, 16, 16\) from the inverter, found \(4, 8, 8, 8\)"):
        row(trained, feature_resolution=16).invert(images, StageClock("cpu"))
