"""A file of HFGI in the official layout: recognised, loaded without a tensor left over, and run."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from invbench.api import InvbenchError
from invbench.methods.convert.features import hfgi, hfgi_decoder, hfgi_e4e
from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.nets.hfgi import HFGINetwork
from invbench.plugins.config import NetworkConfig
from invbench.weights import build
from invbench.weights.cache import WeightsCache
from invbench.weights.layouts import recognise
from tests.weights import official


def test_a_file_is_told_from_one_of_e4e():
    found = recognise(official.hfgi())
    assert found is not None and found.layout == "hfgi"
    assert found.facts == {"num_ws": 18, "resolution": 1024, "in_channels": 3, "encoder": "e4e", "domain": "faces"}
    plain = recognise(official.e4e(18, "ffhq_encode"))
    assert plain is not None and plain.layout == "encoder"


def test_its_copy_of_e4e_is_used_and_not_that_of_another_file(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    folder = tmp_path / "home/weights"
    mine, other = official.hfgi(), official.e4e(18, "ffhq_encode")
    mine["state_dict"]["encoder.input_layer.1.running_mean"] = torch.arange(64.0)  # as training HFGI moved it
    official.save(mine, folder / "a")
    official.save(other, folder / "b")
    cache = WeightsCache()
    assert [cache.find(id).path.name for id in ("hfgi_ffhq", "e4e_ffhq")] == ["a", "b"]
    source = build.resolve(NetworkConfig(asset="hfgi_ffhq", part="e4e"), cache)
    encoder, _ = build.build(source)
    assert isinstance(encoder, E4EEncoder) and torch.equal(encoder.input_layer[1].running_mean, torch.arange(64.0))
    assert isinstance(build.build(build.resolve(NetworkConfig(asset="hfgi_ffhq"), cache))[0], HFGINetwork)


@torch.no_grad()
def test_an_official_file_is_loaded_and_run():
    content = official.hfgi(fill=partial(official.drawn, seed=7))
    content["latent_avg"] = torch.linspace(-1, 1, 18 * 512).reshape(18, 512)
    network, _ = hfgi(content, source="mine.pt")
    for key, value in content["state_dict"].items():
        if key.startswith(("residue.", "grid_align.")):
            assert torch.equal(network.state_dict()[key], value), key
    assert not any(one.is_meta for one in (*network.parameters(), *network.buffers()))
    encoder, _ = hfgi_e4e(content, source="mine.pt")
    generator, _ = hfgi_decoder(content, source="mine.pt")
    assert torch.equal(encoder.latent_avg, content["latent_avg"]) and generator.resolution == 1024
    images = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1)) * 2 - 1
    residual = network.residual(images, -images)
    scale, shift = network.conditions(network.grid_align(residual, network.seen(images)), 64)
    assert scale.shape == shift.shape == (1, 512, 64, 64) and torch.isfinite(scale).all() and torch.isfinite(shift).all()


def test_what_is_missing_or_left_over_is_told():
    content = official.hfgi()
    gone = content["state_dict"].pop("residue.conv_layer2.1.res_layer.2.weight")
    content["state_dict"]["grid_align.more"] = gone
    left = r"1 missing: residue.conv_layer2.1.res_layer.2.weight \[48\]; 1 unexpected: grid_align.more"
    with pytest.raises(InvbenchError, match=left):
        hfgi(content, source="x")
    content = official.hfgi()
    content["state_dict"]["head.weight"] = torch.zeros(1)
    with pytest.raises(InvbenchError, match="found head.weight"):
        hfgi(content, source="x")
    content = official.hfgi()
    del content["state_dict"]["encoder.styles.3.linear.bias"]  # the copy of e4e counts, too
    with pytest.raises(InvbenchError, match=r"missing: styles.3.linear.bias"):
        hfgi(content, source="x")
    without = {key: value for key, value in official.hfgi()["state_dict"].items() if not key.startswith("decoder.")}
    with pytest.raises(InvbenchError, match="expected a decoder beside the encoder, found none"):
        hfgi_decoder(official.hfgi() | {"state_dict": without}, source="x")
