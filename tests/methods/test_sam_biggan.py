"""SAM and its start on a class-conditional generator: spaces by layer, the prior of z and class, edits of chosen segments."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invbench.api import Edit, InvbenchError
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.sam import SAM
from invbench.methods.sam import SPEC as SAM_SPEC
from invbench.methods.z_class import SPEC, ZClass
from invbench.options import make
from invbench.plugins import config, pairs, registry, selection
from tests.contract.stand_ins import conditional
from tests.methods.conftest import CLASSES, Parser, Perceptual


class Predictor(nn.Module):
    """Z+ errs above 0.5 in the upper half, F0 above 0.5 in the upper quarter, F1 nowhere."""

    def forward(self, images):
        found = {}
        for space, share in (("Z+", 2), ("F0", 4), ("F1", 1000)):
            found[space] = images.new_zeros(len(images), 1, *images.shape[2:])
            found[space][:, :, : images.shape[2] // share] = 1
        return found


class Segments(Parser):
    """Three rows of segments: the upper quarter is hair, the next eye, the rest skin."""

    def forward(self, images):
        logits = images.new_zeros(len(images), len(CLASSES), *images.shape[2:])
        logits[:, 1] = 1
        logits[:, 2, : images.shape[2] // 2] = 5
        logits[:, 3, : images.shape[2] // 4] = 9
        return logits


@pytest.fixture(scope="module")
def drawn():
    networks = conditional(["age", "yaw"], resolution=16)
    networks |= {"perceptual_vgg": Perceptual(), "segmenter": Segments(), "invertibility": Predictor()}
    c = networks["generator"].sample_w(3, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        images = networks["generator"].synthesis(networks["generator"].repeat(c))
    return networks, images


def sam(networks, **options):
    start = ZClass(networks, make(SPEC, {"steps": 5, "lr": 0.1}))
    return SAM(networks, make(SAM_SPEC, {"spaces": ["F0", "F1"], "fused": [], "threshold": 0.3, "steps": 30, **options}), start)


def error(found, images):
    return (found - images).square().mean((1, 2, 3))


def test_z_and_class_are_found_in_all_layers_alike(drawn, clock):
    networks, images = drawn
    method = ZClass(networks, make(SPEC, {"steps": 60, "lr": 0.2, "lambda_prior": 1e-6}))
    found = method.invert(images, clock)
    assert torch.equal(found.latents, found.latents[:, :1].expand_as(found.latents))
    generator = networks["generator"]
    with torch.no_grad():
        before = generator.synthesis(generator.repeat(generator.mean_latent[None])).expand_as(images)
    assert (error(found.images, images) < 0.5 * error(before, images)).all()
    strict = ZClass(networks, make(SPEC, {"steps": 60, "lr": 0.2, "lambda_prior": 10.0})).invert(images, clock)
    prior = networks["latent_stats"].prior
    assert (prior(strict.latents) < 0.1 * prior(found.latents)).all()


def test_segments_get_spaces_by_layer(drawn, clock):
    networks, images = drawn
    found = sam(networks, soft_masks=False).invert(images, clock)
    assert {key: tuple(value.shape[1:]) for key, value in found.state.items()} == {
        "F0": (32, 4, 4), "mask.F0": (1, 4, 4), "F1": (16, 8, 8), "mask.F1": (1, 8, 8), "domain_mask": (1, 16, 16),
    }  # fmt: skip
    rows = found.state["mask.F0"][:, 0, :, 0], found.state["mask.F1"][:, 0, :, 0]
    assert rows[0].tolist() == [[0, 1, 0, 0]] * 3 and rows[1].tolist() == [[1, 1, 0, 0, 0, 0, 0, 0]] * 3
    start = sam(networks, steps=0).invert(images, clock)
    assert (error(found.images, images) < 0.8 * error(start.images, images)).all()
    assert not torch.equal(found.latents, found.latents[:, :1].expand_as(found.latents))  # Z+: each layer its own


def test_an_edit_keeps_the_features_of_chosen_segments(drawn, clock):
    networks, images = drawn
    method, generator = sam(networks, soft_masks=False), networks["generator"]
    found = method.invert(images, clock)
    assert torch.allclose(method.edit(found, Edit("age", 0.0), clock), found.images, atol=1e-5)
    edited = method.edit(found, Edit("age", 2.0), clock)
    moved = found.latents + 2.0 * networks["directions"]["age"]
    masks, layers = (found.state[f"mask.F{i}"] for i in (0, 1)), ("layers.0", "layers.1")
    with torch.no_grad():
        added = {layer: FeatureEdit.add(found.state[f"F{i}"] * found.state[f"mask.F{i}"]) for i, layer in enumerate(layers)}
        _, kept = generator.synthesis(found.latents, features=added, return_features=layers)
        pasted = {layer: FeatureEdit(1 - mask, kept[layer] * mask) for layer, mask in zip(layers, masks, strict=True)}
        expected = generator.synthesis(moved, features=pasted)
    torch.testing.assert_close(edited, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(edited, generator.synthesis(moved, features=added), atol=1e-3)


def test_spaces_that_the_generator_has_not_are_refused(drawn):
    networks, _ = drawn
    with pytest.raises(InvbenchError, match=r"spaces: F9 .*expected some of F0, F1, F2, F3"):
        sam(networks, spaces=["F0", "F9"])


def test_methods_run_where_the_generator_has_their_spaces():
    known, suite = registry.methods(), config.load()["procfaces"]
    classes = suite.model_copy(update={"id": "other", "spaces": ("z", "z+")})
    assert "z_class" not in selection.supported(suite, known) and "e4e" in selection.supported(suite, known)
    without_latents = {"stargan", "attgan", "stgan", "stargan_cam", "attgan_cam"}
    assert set(selection.supported(classes, known)) == {"z_class", *without_latents}
    assert not pairs.foreign_space(pairs.find("sam+z_class", known), classes.spaces)
    found = {"registry": registry.discover([]), "device": "cpu", "seed": 0}
    for one, name, reason in (
        (suite, "z_class", "procfaces does not run z_class: its generator has latents in W or W+, and z_class works in Z"),
        (suite, "sam+z_class", "procfaces does not run sam.z_class: its generator has latents in W or W+, and z_class"),
        (classes, "e4e", "other does not run e4e: its generator has latents in Z or Z+, and e4e works in W+"),
        (classes, "sam", "other does not run sam: its generator has latents in Z or Z+, and e4e works in W+"),
        (classes, "pti+z_class", "pti starts from latents in W or W+, and z_class gives Z"),
        (classes, "styleres", "and styleres works in W or W+"),
    ):
        with pytest.raises(InvbenchError, match=reason.replace("+", r"\+")):
            selection.settings(one, methods=[name], **found)
