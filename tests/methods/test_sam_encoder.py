"""SAM's encoder variant: what its pictures are made of, written out, and which encoders it refuses."""

from __future__ import annotations

import pytest
import torch

from invbench.api import Edit, InvbenchError
from invbench.methods.e4e import E4E
from invbench.methods.nets.sam_encoders import SAMEncoders
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.sam import SAM
from invbench.methods.sam_encoder import SPEC, SAMEncoder
from invbench.options import Options, make

ENCODERS = {"F4": {"channels": 8, "stages": [[4, 1], [6, 2]]}}


@pytest.fixture
def trained(networks):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        encoders = SAMEncoders(size=32, encoders=ENCODERS)
        encoders.spaces["F4"].change.weight.data.normal_(std=0.1)
    return networks | {"encoder_sam": encoders.eval().requires_grad_(False)}


def build(networks, **options) -> SAMEncoder:
    made = make(SPEC, {"spaces": ["F4"], "fused": ["skin", "eye"], "threshold": 0.5} | options)
    return SAMEncoder(networks, made, E4E(networks, Options("e4e", {})))


def test_the_change_of_a_feature_is_added_where_the_map_chooses_its_space(trained, images, clock):
    found = build(trained).invert(images, clock)
    generator, encoder = trained["generator"], trained["encoder_sam"].spaces["F4"]
    latents = trained["encoder_e4e"](images)
    assert torch.equal(found.latents, latents)
    drawn = generator.synthesis(latents).clamp(-1, 1)
    change = encoder.change(encoder.body(encoder.input_layer(torch.cat([images, images - drawn], 1))))
    mask = torch.zeros(4, 1, 16, 16)
    mask[:, :, :3, 2:] = 1  # hair: rows 0 to 5 right of column 4, of which W+ errs by 1
    assert torch.equal(found.state["mask.F4"], mask) and change.abs().mean() > 0.01
    torch.testing.assert_close(found.state["F4"], change)
    _, plain = generator.synthesis(latents, return_features=["b16.conv1"])
    whole = FeatureEdit.blend(plain["b16.conv1"] + mask * change, torch.zeros(1, 1, 1, 1))  # equation 3
    torch.testing.assert_close(found.images, generator.synthesis(latents, features={"b16.conv1": whole}), atol=1e-5, rtol=1e-4)
    assert set(clock.stages) == {"encode", "segment", "synthesise"}


def test_the_map_is_the_one_of_the_optimisation_variant(trained, images):
    options = {"threshold": 0.7, "soft_masks": True}
    from_sam = SAM(trained, Options("sam", {"spaces": ("F4",), "fused": ("skin", "eye"), **options}), None)
    mine, theirs = build(trained, **options)._choose_spaces(images), from_sam._choose_spaces(images)
    assert list(mine) == list(theirs) == ["F4"] and torch.equal(mine["F4"], theirs["F4"])


def test_an_edit_keeps_the_features_of_what_is_inverted_in_a_feature_space(trained, images, clock):
    everywhere = build(trained, threshold=0.0).invert(images, clock)
    method = build(trained, threshold=0.0)
    assert everywhere.state["mask.F4"][:, :, :8].min() == 1  # the upper half errs in W+, so all segments in it leave W+
    moved = trained["directions"].move(everywhere.latents, Edit("age", 2.0))
    mask = everywhere.state["mask.F4"]
    with_change = {"b16.conv1": FeatureEdit.add(everywhere.state["F4"], mask)}
    _, kept = trained["generator"].synthesis(everywhere.latents, features=with_change, return_features=["b16.conv1"])
    _, own = trained["generator"].synthesis(moved, return_features=["b16.conv1"])
    feature = kept["b16.conv1"] * mask + own["b16.conv1"] * (1 - mask)
    whole = FeatureEdit.blend(feature, torch.zeros(1, 1, 1, 1))
    expected = trained["generator"].synthesis(moved, features={"b16.conv1": whole})
    torch.testing.assert_close(method.edit(everywhere, Edit("age", 2.0), clock), expected, atol=1e-5, rtol=1e-4)


def test_a_space_without_a_fitting_encoder_is_refused(trained):
    other = SAMEncoders(size=32, encoders={"F4": {"channels": 8, "stages": [[4, 1]]}})
    with pytest.raises(InvbenchError, match=r"sam_encoder.spaces: .*F4 with features \(8, 16, 16\), found \(8, 32, 32\)"):
        build(trained | {"encoder_sam": other})
    without = SAMEncoders(size=32, encoders={})
    with pytest.raises(InvbenchError, match="found none"):
        build(trained | {"encoder_sam": without})


def test_untrained_encoders_change_nothing(networks, images):
    encoders = SAMEncoders(size=32, encoders=ENCODERS).eval()
    method = build(networks | {"encoder_sam": encoders})
    latents = networks["encoder_e4e"](images)
    torch.testing.assert_close(method.invert_single_space(images, latents), networks["generator"].synthesis(latents))


@pytest.mark.parametrize(("option", "value"), [("spaces", ["F6"]), ("fused", ["beard"])])
def test_an_error_names_the_option_and_no_other_method(trained, option, value):
    with pytest.raises(InvbenchError, match=rf"^{option}: .*{value[0]}"):  # the session puts the method before it
        build(trained, **{option: value})
