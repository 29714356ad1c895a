"""Files of ReStyle in the official layout: recognised, loaded without a tensor left over, and run."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.convert.encoders import convert_restyle, restyle_decoder, restyle_e4e, restyle_psp
from invbench.methods.nets.restyle import ReStyleE4EEncoder, ReStylePSPEncoder
from invbench.weights.cache import WeightsCache
from invbench.weights.layouts import recognise
from tests.weights import official

LOADERS = {"psp": (restyle_psp, ReStylePSPEncoder), "e4e": (restyle_e4e, ReStyleE4EEncoder)}


def drawings(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, height, width, generator=draw) * 2 - 1, torch.rand(count, 3, 256, 256, generator=draw) * 2 - 1


@pytest.mark.parametrize(
    ("num_ws", "over", "dataset", "layout", "domain"),
    [
        (18, "psp", "ffhq_encode", "restyle_irse50", "faces"),
        (18, "e4e", "ffhq_encode", "restyle_irse50", "faces"),
        (16, "psp", "cars_encode", "restyle_resnet34", "cars"),
        (16, "e4e", "afhq_wild_encode", "restyle_resnet34", "wild"),
        (14, "e4e", "horse_encode", "restyle_resnet34", "horse"),
    ],
)
def test_a_file_says_backbone_method_size_and_domain(num_ws, over, dataset, layout, domain):
    found = recognise(official.restyle(num_ws, over, dataset))
    assert found is not None and found.layout == layout
    assert found.facts == {
        "num_ws": num_ws, "resolution": 2 ** (num_ws // 2 + 1), "in_channels": 6, "encoder": f"restyle_{over}", "domain": domain
    }  # fmt: skip


def test_a_file_that_does_not_name_its_class_is_told_by_its_discriminator_or_not_at_all():
    content = official.restyle(14, "e4e", "church_encode")
    del content["opts"]["encoder_type"]
    found = recognise(content)
    assert found is not None and "encoder" not in found.facts
    content["discriminator_state_dict"] = {"mlp.0.weight": official.one([512, 512])}
    found = recognise(content)
    assert found is not None and found.facts["encoder"] == "restyle_e4e"


def test_files_of_the_two_methods_and_of_pyramids_are_not_mixed_up(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    for number, content in enumerate(
        [official.restyle(18, "psp", "ffhq_encode"), official.restyle(18, "e4e", "ffhq_encode"), official.psp()]
    ):
        official.save(content, tmp_path / f"home/weights/{number}")
    cache = WeightsCache()
    assert [cache.find(id).path.name for id in ("restyle_psp_ffhq", "restyle_e4e_ffhq", "psp_ffhq")] == ["0", "1", "2"]


@pytest.mark.parametrize(("num_ws", "over", "size"), [(18, "e4e", (256, 256)), (16, "psp", (384, 512))])
@torch.no_grad()
def test_an_official_file_is_loaded_and_run(num_ws, over, size):
    content = official.restyle(num_ws, over, None, fill=partial(official.drawn, seed=7))
    content["latent_avg"] = torch.linspace(-1, 1, num_ws * 512).reshape(num_ws, 512)
    load, cls = LOADERS[over]
    encoder, _ = load(content, source="mine.pt")
    assert type(encoder) is cls and encoder.num_ws == num_ws and not encoder.training
    assert torch.equal(encoder.start(1)[0], content["latent_avg"])
    for key, value in content["state_dict"].items():
        if key.startswith("encoder."):
            assert torch.equal(encoder.state_dict()[key.removeprefix("encoder.")], value), key
    images, drawn = drawings(1, *size)
    first = encoder(images, drawn, encoder.start(1))
    assert first.shape == (1, num_ws, 512) and torch.isfinite(first).all()
    bound = 1e-5 * first.abs().max().item()
    torch.testing.assert_close(encoder(images, drawn, 2 * encoder.start(1)) - first, encoder.start(1), atol=bound, rtol=0)
    assert (encoder(images, -drawn, encoder.start(1)) - first).abs().max() > 1e-3


def test_the_decoder_in_the_file_is_the_generator_and_gives_a_mean_that_is_not_stored():
    content = official.restyle(14, "psp", "church_encode")
    del content["latent_avg"]
    generator, _ = restyle_decoder(content, source="mine.pt")
    encoder, notes = restyle_psp(content, source="mine.pt")
    assert generator.resolution == 256
    assert any("latent_avg: not in the file" in note for note in notes)
    torch.testing.assert_close(encoder.latent_avg, generator.mean_latent.expand(14, 512))
    without = official.restyle(14, "psp", "church_encode", decoder=False)
    with pytest.raises(InvbenchError, match=r"mine.pt: expected a decoder beside the encoder, found none"):
        restyle_decoder(without, source="mine.pt")
    del without["latent_avg"]
    with pytest.raises(InvbenchError, match="mine.pt: expected latent_avg, or a decoder to take it from, found neither"):
        restyle_psp(without, source="mine.pt")


def test_the_mean_latent_counts_whatever_the_options_say():
    content = official.restyle(14, "psp", "church_encode", decoder=False)
    content["opts"]["start_from_latent_avg"] = False  # of pSp's own files this means none is added; ReStyle adds it always
    content["latent_avg"] = torch.full((1, 512), 2.0)
    assert (convert_restyle(content, ReStylePSPEncoder, source="x").encoder.latent_avg == 2).all()


@pytest.mark.parametrize("num_ws", [18, 14])
def test_what_is_missing_or_left_over_is_told(num_ws):
    content = official.restyle(num_ws, "e4e", None, decoder=False)
    gone = "encoder.styles.3.convs.2.bias"
    del content["state_dict"][gone]
    content["state_dict"]["encoder.latlayer1.bias"] = torch.zeros(512)
    with pytest.raises(InvbenchError, match=r"1 missing: styles.3.convs.2.bias \[512\]; 1 unexpected: latlayer1.bias \[512\]"):
        restyle_e4e(content, source="x")
    del content["state_dict"]["encoder.latlayer1.bias"]
    with pytest.raises(InvbenchError, match="found more"):
        restyle_e4e(content | {"more": 1}, source="x")
