"""Files of networks that change features beside the latents: recognised, loaded whole, and run."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from invbench.api import InvbenchError
from invbench.methods.convert.features import feature_style, sfe, styleres, styleres_generator
from invbench.methods.convert.padding import generator, padding
from invbench.methods.nets.feature_style import FeatureStyleEncoder
from invbench.methods.nets.padding import padded
from invbench.plugins.config import NetworkConfig
from invbench.weights import build
from invbench.weights.cache import WeightsCache
from invbench.weights.layouts import recognise
from tests.weights import official

MEAN = {"latent_avg": torch.linspace(-1, 1, 18 * 512).reshape(18, 512)}


def test_files_say_what_they_are():
    found = recognise(official.feature_style())
    assert found is not None and (found.layout, found.facts) == ("feature_style", {"num_ws": 18, "resolution": 1024})
    for size, vectors in ((1024, 18), (256, 14)):
        found = recognise(official.padinv(size))
        assert found is not None and (found.layout, found.facts) == ("padinv", {"num_ws": vectors, "resolution": size})


def test_the_feature_style_encoder_takes_its_mean_latent_from_psps_file(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    official.save(official.feature_style(), tmp_path / "home/weights/a")
    official.save(official.psp() | MEAN, tmp_path / "home/weights/b")
    network, notes = build.build(build.resolve(NetworkConfig(asset="feature_style_ffhq"), WeightsCache()))
    assert isinstance(network, FeatureStyleEncoder) and torch.equal(network.latent_avg, MEAN["latent_avg"])
    assert any("latent_avg: of" in note for note in notes)


@torch.no_grad()
def test_an_official_file_of_feature_style_is_loaded_and_run():
    content = official.feature_style(fill=partial(official.drawn, seed=7))
    network, _ = feature_style(content, source="mine.pth", mean=MEAN, mean_source="psp.pt")
    for key, value in content.items():
        assert torch.equal(network.state_dict()[key], value), key
    assert not any(one.is_meta for one in (*network.parameters(), *network.buffers()))
    images = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latents, feature = network(images)
    assert latents.shape == (1, 18, 512) and feature.shape == (1, 512, 16, 16)
    assert torch.isfinite(latents).all() and torch.isfinite(feature).all()


@torch.no_grad()
def test_an_official_file_of_padinv_is_loaded_and_run():
    content = official.padinv(256, fill=partial(official.drawn, seed=7))
    network, notes = padding(content, source="mine.pth")
    drawer, _ = generator(content, source="mine.pth")
    assert network.num_ws == 14 and "latent_heads: 4 of 18 are idle" in notes
    for key, value in content["models"]["encoder"].items():
        assert torch.equal(network.state_dict()[key], value), key
    assert torch.equal(network.latent_avg, content["models"]["generator"]["w_avg"])
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert not any(one.is_meta for one in (*network.buffers(), *padded(drawer).buffers(), *padded(drawer).parameters()))
    latents, maps = network(images)
    assert torch.isfinite(padded(drawer).synthesis(latents, weights=maps)).all()


@torch.no_grad()
def test_an_official_file_of_styleres_is_loaded_and_run():
    content = official.styleres(fill=partial(official.drawn, seed=7)) | MEAN
    found = recognise(content)
    assert found is not None and (found.layout, found.facts) == ("styleres", {"num_ws": 18, "resolution": 1024})
    network, _ = styleres(content, source="mine.pth")
    drawer, _ = styleres_generator(content, source="mine.pth")
    assert torch.equal(network.e4e.latent_avg, MEAN["latent_avg"]) and drawer.config.conv_clamp == 256
    for key, value in content["generator_smooth"].items():
        if "modify_feature" in key:
            assert torch.equal(network.state_dict()[key.removeprefix("synthesis.b64.")], value), key
    images = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert not any(one.is_meta for one in (*network.buffers(), *drawer.buffers()))
    latents, encoded = network.encode(images)
    assert latents.shape == (1, 18, 512) and encoded.shape == (1, 128, 64, 64)
    assert torch.isfinite(network.lost(encoded, torch.zeros(1, 512, 64, 64))).all()
    content["generator_smooth"]["synthesis.b64.modify_feature_gates.down3.bias"] = torch.zeros(2)
    with pytest.raises(InvbenchError, match=r"1 unexpected: modify_feature_gates.down3.bias \[2\]"):
        styleres(content, source="x")
    with pytest.raises(InvbenchError, match="expected e4e, latent_avg, generator_smooth, found more"):
        styleres(official.styleres() | {"more": {}}, source="x")


@torch.no_grad()
def test_an_official_file_of_sfe_is_loaded_and_run():
    content = official.sfe(fill=partial(official.drawn, seed=7))
    found = recognise(content)
    assert found is not None and (found.layout, found.facts) == ("sfe", {"num_ws": 18, "resolution": 1024})
    plain = official.rosinality(1024, w_dim=512, z_dim=512)
    network, notes = sfe(content, source="mine.pt", generator=plain, generator_source="ffhq.pt")
    assert notes == ("latent_avg: of ffhq.pt",) and torch.equal(network.latent_avg, plain["latent_avg"].expand(18, 512))
    state = network.state_dict()
    for key, value in content["state_dict"].items():
        assert torch.equal(state[key.replace("encoder.", "editor.") if key.startswith("encoder.") else key], value), key
    assert len(state) == len(content["state_dict"]) + 1
    images = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latents, predicted = network.inverter(images)
    assert latents.shape == (1, 18, 512) and predicted.shape == (1, 512, 64, 64)
    edited = network.editor(network.inverter.fuser(predicted, torch.zeros_like(predicted)), torch.zeros_like(predicted))
    assert edited.shape == predicted.shape and torch.isfinite(edited).all() and torch.isfinite(latents).all()


def test_files_of_both_phases_of_sfe_are_told_apart_and_a_whole_training_is_read():
    plain = official.rosinality(1024, w_dim=512, z_dim=512)
    inverter = {f"encoder.{key}": value for key, value in official.bare("sfe_layout", "inverter").items()}
    found = recognise({"state_dict": inverter})
    assert found is not None and found.layout == "sfe_inverter"
    whole = official.sfe(whole=True)
    network, notes = sfe(whole, source="x", generator=plain, generator_source="y")
    assert torch.equal(network.latent_avg[3], whole["latent_avg"]) and notes[0] == "latent_avg: of x"
    assert [note.partition(":")[0] for note in notes[1:]] == ["decoder", "discriminator", "e4e_encoder"]
    del whole["state_dict"]["e4e_encoder.styles.3.linear.bias"]
    with pytest.raises(InvbenchError, match=r"x: decoder, e4e_encoder: .*1 missing: styles.3.linear.bias \[512\]"):
        sfe(whole, source="x", generator=plain, generator_source="y")
    with pytest.raises(InvbenchError, match="expected state_dict, .* found more, other"):
        odd = official.sfe()["state_dict"] | {"other.weight": torch.zeros(1)}
        sfe({"state_dict": odd, "more": 1}, source="x", generator=plain, generator_source="y")
    with pytest.raises(InvbenchError, match=r"1 unexpected: inverter.fuser.gate \[1\]"):
        odd = official.sfe()["state_dict"] | {"inverter.fuser.gate": torch.zeros(1)}
        sfe({"state_dict": odd}, source="x", generator=plain, generator_source="y")


def test_what_is_missing_or_left_over_is_told():
    content = official.feature_style()
    gone = content.pop("block_3.2.bn2.bias")
    content["fc.weight"] = gone
    with pytest.raises(InvbenchError, match=r"1 missing: block_3.2.bn2.bias \[256\]; 1 unexpected: fc.weight \[256\]"):
        feature_style(content, source="x", mean=MEAN, mean_source="y")
    with pytest.raises(InvbenchError, match="y: expected the key 'latent_avg'"):
        feature_style(official.feature_style(), source="x", mean={}, mean_source="y")
    content = official.padinv(256)
    content["models"]["encoder"]["more"] = content["models"]["encoder"].pop("fpn.lateral_layers.1.bias")
    with pytest.raises(InvbenchError, match=r"1 missing: fpn.lateral_layers.1.bias \[512\]; 1 unexpected: more \[512\]"):
        padding(content, source="x")
    content = official.padinv(256)
    del content["models"]["generator"]["synthesis.layer4.style.bias"]  # the encoder needs the generator's mean latent
    with pytest.raises(InvbenchError, match="missing: synthesis.b16.conv1.affine.bias"):
        padding(content, source="x")
    with pytest.raises(InvbenchError, match="models: expected some of encoder, generator, .*, found more"):
        padding(official.padinv(256, more={}), source="x")
