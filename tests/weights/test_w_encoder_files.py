"""Files of the encoders into W of pSp, HyperStyle and HyperInverter: recognised, told apart, loaded whole, and run."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from invbench.api import InvbenchError
from invbench.methods.convert.encoders import decoder, w_encoder
from invbench.methods.nets.w_encoder import WEncoder
from invbench.weights.cache import WeightsCache
from invbench.weights.layouts import recognise
from tests import golden_vectors
from tests.weights import official


@pytest.mark.parametrize(
    ("made", "layout", "facts"),
    [
        (lambda: official.w_encoder(1024, "ffhq_encode"), "encoder_w", {"mean": True, "resolution": 1024, "domain": "faces"}),
        (lambda: official.w_encoder(512, "cars_encode"), "encoder_w", {"mean": True, "resolution": 512, "domain": "cars"}),
        (lambda: official.hyperinverter_w("ffhq_encode"), "encoder_w", {"mean": False, "resolution": 1024, "domain": "faces"}),
        (
            lambda: official.hyperinverter_w("church_encode"),
            "encoder_w_resnet34",
            {"mean": False, "resolution": 256, "domain": "church"},
        ),
    ],
)
def test_a_file_says_backbone_mean_size_and_domain(made, layout, facts):
    found = recognise(made())
    assert found is not None and (found.layout, found.facts) == (layout, facts)


def test_files_of_all_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    ids = {
        "w_encoder_ffhq": official.w_encoder(1024, "ffhq_encode"),
        "w_encoder_wild": official.w_encoder(512, "afhq_wild_encode"),
        "hyperinverter_w_ffhq": official.hyperinverter_w("ffhq_encode"),
        "hyperinverter_w_church": official.hyperinverter_w("church_encode"),
        "psp_ffhq": official.psp(),
    }
    for id, content in ids.items():
        official.save(content, tmp_path / f"home/weights/of {id}")
    cache = WeightsCache()
    assert {id: cache.find(id).path.name for id in ids} == {id: f"of {id}" for id in ids}


@pytest.mark.parametrize("rows", [(512,), (1, 512), (18, 512)])
@torch.no_grad()
def test_a_file_of_hyperstyle_is_loaded_and_run(rows):
    content = official.w_encoder(1024, "ffhq_encode", fill=partial(official.drawn, seed=7))
    content["latent_avg"] = torch.linspace(-1, 1, 512).expand(rows)
    encoder, notes = w_encoder(content, source="mine.pt")
    assert type(encoder) is WEncoder and not encoder.training and notes == ()
    assert torch.equal(encoder.latent_avg, torch.linspace(-1, 1, 512))
    for key, value in content["state_dict"].items():
        if key.startswith("encoder."):
            assert torch.equal(encoder.state_dict()[key.removeprefix("encoder.")], value), key
    if len(rows) == 1:
        images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
        codes = encoder(images)
        encoder.latent_avg.zero_()
        torch.testing.assert_close(codes - torch.linspace(-1, 1, 512), encoder(images), atol=1e-4, rtol=1e-4)
        assert (codes[0] - codes[1]).abs().max() > 1e-4
        assert decoder(content, source="mine.pt")[0].resolution == 1024


@torch.no_grad()
def test_hyperinverter_adds_the_mean_latent_of_the_generator_whatever_its_options_say():
    generator = official.rosinality(256, w_dim=512, z_dim=512)
    generator["latent_avg"] = torch.linspace(-2, 2, 512)
    content = official.hyperinverter_w("church_encode", fill=partial(official.drawn, seed=7))
    content["opts"]["start_from_latent_avg"] = False
    encoder, notes = w_encoder(content, source="w.pt", generator=generator, generator_source="g.pkl")
    assert torch.equal(encoder.latent_avg, generator["latent_avg"])
    assert "latent_avg: not in the file, that of g.pkl is taken" in notes
    assert {"conv1.weight", "body.15.conv2.weight"} <= set(encoder.state_dict())
    codes = encoder(torch.zeros(1, 3, 256, 256))
    assert codes.shape == (1, 512) and torch.isfinite(codes).all()


@torch.no_grad()
def test_hyperinverters_first_phase_reproduces_its_golden_vector():
    golden = golden_vectors.load("hyperinverter")
    state = golden_vectors.state(golden, "w_encoder")
    content = {"state_dict": {f"encoder.{key}": value for key, value in state.items()}, "opts": {}}
    encoder, _ = w_encoder(content | {"latent_avg": torch.zeros(512)}, source="w.pt")
    golden_vectors.check(golden, "w_codes", encoder(golden_vectors.tensor(golden, "x")))


def test_what_does_not_fit_is_told():
    with pytest.raises(InvbenchError, match="x: expected an encoder into W, with encoder.linear.weight, found one into W+"):
        w_encoder(official.psp(), source="x")
    without = official.hyperinverter_w("ffhq_encode")
    with pytest.raises(InvbenchError, match="x: expected latent_avg, or a decoder to take it from, found neither"):
        w_encoder(without, source="x")
    uneven = official.w_encoder(1024, None)
    uneven["latent_avg"] = torch.arange(18.0)[:, None].expand(18, 512)
    with pytest.raises(InvbenchError, match=r"x: latent_avg: expected \[512\], \[1, 512\] or \[1, 512\], found \(18, 512\)"):
        w_encoder(uneven, source="x")
    del uneven["state_dict"]["encoder.linear.bias"]
    uneven["latent_avg"] = torch.zeros(512)
    with pytest.raises(InvbenchError, match=r"1 missing: linear.bias \[512\]"):
        w_encoder(uneven, source="x")
