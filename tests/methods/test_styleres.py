"""StyleRes: golden vectors of its networks, and an inversion and its edits step by step."""

from __future__ import annotations

import pytest
import torch

from invbench.api import Edit, InvbenchError
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.nets.styleres import GatedEdit, StyleResNetwork
from invbench.methods.styleres import SPEC, StyleRes
from invbench.options import make
from invbench.util.clock import StageClock
from tests import golden_vectors
from tests.methods.test_encoders import filled

SMALL = {"num_ws": 8, "w_dim": 8, "channels": 8, "size": 32, "stages": [[4, 1], [6, 1], [6, 2], [8, 1]], "heads": 8}
BLOCK = "synthesis.b64."


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_official_networks_reproduce_the_golden_vectors(precision):
    golden = golden_vectors.load("styleres")
    whole, encoder = (golden_vectors.state(golden, name) for name in ("generator", "e4e"))
    own = {key.removeprefix(BLOCK): value for key, value in whole.items() if ".modify_feature_" in key}
    state = own | {f"e4e.{key}": value for key, value in encoder.items()}
    network = StyleResNetwork()
    network.load_state_dict(state | {"e4e.latent_avg": golden_vectors.tensor(golden, "latent_avg")})
    network.eval().to(precision)
    rest = {key: value for key, value in whole.items() if ".modify_feature_" not in key}
    generator = convert_generator({"G_ema": rest}, source="golden").network().to(precision)
    images, wplus, edited = (golden_vectors.tensor(golden, name).to(precision) for name in ("x", "wplus", "wplus_edited"))
    codes, encoded = network.encode(images)
    golden_vectors.check(golden, "codes", codes)
    golden_vectors.check(golden, "skip_64", encoded)
    near = {"relative": 1e-6}  # the official code demodulates without the equalised gain: the epsilon of a sum differs
    plain, features = generator.synthesis(wplus, return_features=["b64.conv0"])
    golden_vectors.check(golden, "image_without_features", plain, **near)
    golden_vectors.check(golden, "F_feats", features["b64.conv0"], **near)
    aligned = network.modify_feature_alignment(encoded, features["b64.conv0"])
    golden_vectors.check(golden, "aligned_features", aligned, **near)
    lost = network.lost(encoded, features["b64.conv0"])
    golden_vectors.check(golden, "extracted_features", lost, **near)
    gated = {"b64.conv0": GatedEdit(network.modify_feature_gates, lost)}
    golden_vectors.check(golden, "image_inversion", generator.synthesis(wplus, features=gated), **near)
    drawn = generator.synthesis(edited, return_features=["b64.conv0"])[1]["b64.conv0"]
    change, logits = network.modify_feature_gates(drawn, lost)
    golden_vectors.check(golden, "delta_edited", change, **near)
    golden_vectors.check(golden, "gate_logits_edited", logits, **near)
    golden_vectors.check(golden, "gate_edited", logits.sigmoid(), **near)
    golden_vectors.check(golden, "image_edited", generator.synthesis(edited, features=gated), **near)


@pytest.fixture(scope="module")
def trained(networks):
    network = filled(StyleResNetwork(**SMALL)).requires_grad_(False)
    network.e4e.latent_avg.copy_(networks["generator"].mean_latent.expand(8, 8))
    return networks | {"styleres": network}


def row(networks, **options) -> StyleRes:
    return StyleRes(networks, make(SPEC, {"fusion_resolution": 16, **options}))


@torch.no_grad()
def test_gates_see_the_edited_picture_and_what_was_lost_stays(trained, images):
    generator, network, clock = trained["generator"], trained["styleres"], StageClock("cpu")
    method = row(trained)
    found = method.invert(images, clock)
    latents, encoded = network.encode(images)
    torch.testing.assert_close(latents, network.e4e(images))
    feature = generator.synthesis(latents, return_features=["b16.conv0"])[1]["b16.conv0"]
    lost = network.lost(encoded, feature)
    torch.testing.assert_close(found.state["lost"], lost)
    torch.testing.assert_close(method.edit(found, Edit("age", 0), clock), found.images)
    for strength, picture in ((0.0, found.images), (2.0, method.edit(found, Edit("age", 2.0), clock))):
        moved = latents + strength * trained["directions"]["age"]
        seen = generator.synthesis(moved, return_features=["b16.conv0"])[1]["b16.conv0"]
        change, logits = network.modify_feature_gates(seen, lost)
        gated = FeatureEdit.add(torch.sigmoid(logits) * change)
        torch.testing.assert_close(picture, generator.synthesis(moved, features={"b16.conv0": gated}), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_image_is_the_same_alone(trained, images):
    method, clock = row(trained), StageClock("cpu")
    whole, alone = method.invert(images, clock), method.invert(images[1:2], clock)
    torch.testing.assert_close(alone.images, whole.images[1:2], atol=1e-3, rtol=1e-3)


def test_a_place_that_the_network_was_not_made_for_is_refused(trained):
    with pytest.raises(InvbenchError, match="styleres.fusion_resolution: expected .* with 8 channels, found 64 with none"):
        row(trained, fusion_resolution=64)
