"""Roles of a suite from official files: which parts are built, what is checked, what is measured once, what keys cover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invbench.api import InvbenchError, MissingWeights
from invbench.methods.convert import latent_stats
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.nets.encoders import E4EEncoder, PSPEncoder
from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.nets.stylegan2 import Generator
from invbench.metrics.nets.lpips_package import LpipsPackage
from invbench.plugins.config import NetworkConfig, Suite
from invbench.weights import build
from invbench.weights.cache import WeightsCache
from invbench.weights.networks import Networks
from tests.weights import official


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    return tmp_path / "home/weights"


def suite(resolution: int = 1024, domain: str | None = "faces", **networks: Any) -> Suite:
    return Suite.model_validate(
        {
            "id": "mine",
            "title": "mine",
            "resolution": resolution,
            "domain": domain,
            "datasets": ["d"],
            "collections": {"all": ["d"]},
            "default": "all",
            "networks": networks,
        }
    )


GENERATOR = {"asset": ["stylegan2_ffhq", "stylegan2_ffhq_rosinality"]}


def test_one_file_serves_several_roles(folder):
    official.save(official.e4e(18, "ffhq_encode"), folder / "any")
    official.save(official.psp(), folder / "other")
    networks = Networks(
        suite(
            encoder_e4e={"asset": "e4e_ffhq"},
            encoder_psp={"asset": "psp_ffhq"},
            generator={"asset": "e4e_ffhq", "part": "generator"},
            twin={"asset": "e4e_ffhq", "part": "generator"},
        )
    )
    encoder, generator = networks["encoder_e4e"], networks["generator"]
    assert type(encoder) is E4EEncoder and type(networks["encoder_psp"]) is PSPEncoder and encoder.num_ws == 18
    assert isinstance(generator, Generator) and generator.resolution == 1024 and networks["twin"] is generator
    for network in (encoder, generator):
        assert not network.training and not any(p.requires_grad for p in network.parameters())
        assert all(p.dtype == torch.float32 for p in network.parameters())
    about = networks.provenance("generator")
    assert about["file"] == "e4e_ffhq" and about["sha256"] == WeightsCache().find("e4e_ffhq").sha256
    assert about["class"] == "invbench.methods.convert.encoders:decoder"
    assert [code.__name__ for code in networks.code("generator")] == ["decoder"]


def test_the_moving_average_is_taken_and_the_first_choice_that_is_there(folder):
    checkpoint = official.rosinality(1024)
    averaged = convert_generator(checkpoint, source="x").state
    official.save({"g": {k: 0 * v for k, v in checkpoint["g_ema"].items()}, **checkpoint}, folder / "g.pt")
    network = Networks(suite(generator=GENERATOR))["generator"]
    assert all(torch.equal(value, averaged[key]) for key, value in network.state_dict().items())


def test_statistics_of_latents_are_measured_once_for_a_generator(folder, monkeypatch):
    asked = {"asset": "stylegan2_ffhq_rosinality", "part": "latent_stats"}
    path = official.save(official.rosinality(1024), folder / "g.pt")
    calls = []
    real = latent_stats.measure
    monkeypatch.setattr(latent_stats, "measure", lambda *args, **named: calls.append(named) or real(*args, **named))
    first = Networks(suite(latent_stats=asked))["latent_stats"]
    again = Networks(suite(latent_stats=asked))["latent_stats"]
    assert isinstance(again, LatentStatistics) and len(calls) == 1
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    fewer = Networks(suite(latent_stats={**asked, "config": {"samples": 500}}))
    assert not torch.equal(fewer["latent_stats"].mean, first.mean) and len(calls) == 2
    assert fewer.provenance("latent_stats") != Networks(suite(latent_stats=asked)).provenance("latent_stats")
    kept = sorted((folder.parent / "derived").iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    kept[1].write_bytes(b"")
    assert torch.equal(Networks(suite(latent_stats=asked))["latent_stats"].mean, first.mean) and len(calls) == 3
    official.save(official.rosinality(1024, seed=1), path)
    assert not torch.equal(Networks(suite(latent_stats=asked))["latent_stats"].mean, first.mean) and len(calls) == 4


def test_statistics_are_those_of_the_published_projector():
    config, state = official.generator(16)
    generator = Generator(config)
    generator.load_state_dict(state)
    stats, made_with = latent_stats.measure(generator, samples=2500)
    z = np.random.RandomState(123).randn(2500, config.z_dim)
    w = generator.mapping(torch.from_numpy(z).float()).detach().double().numpy()
    mean = w.mean(0)
    torch.testing.assert_close(stats.mean.double(), torch.from_numpy(mean), rtol=1e-5, atol=1e-6)
    assert float(stats.std) == pytest.approx((((w - mean) ** 2).sum() / 2500) ** 0.5, rel=1e-5)
    assert made_with == {"dim": config.w_dim}


def test_lpips_is_joined_with_its_trunk(folder):
    with pytest.raises(MissingWeights, match="weights missing: alexnet .*`invbench weights get alexnet`"):
        Networks(suite(perceptual_alex={"asset": "lpips_alex"}))["perceptual_alex"]
    trunk = {
        f"features.{number}.{kind}": torch.randn(shape if kind == "weight" else shape[:1])
        for number, shape in ((0, (64, 3, 11, 11)), (3, (192, 64, 5, 5)), (6, (384, 192, 3, 3)), (8, (256, 384, 3, 3)))
        for kind in ("weight", "bias")
    }
    trunk |= {"features.10.weight": torch.randn(256, 256, 3, 3), "features.10.bias": torch.randn(256)}
    trunk |= {f"classifier.{i}.weight": official.one(shape) for i, shape in ((1, [4096, 9216]), (6, [1000, 4096]))}
    path = official.save(trunk, folder / "trunk.pth")
    cache = WeightsCache()
    cache.ledger.record("alexnet", sha256=cache.inspect(path).sha256, size=1, source="added by hand")
    networks = Networks(suite(perceptual_alex={"asset": "lpips_alex"}))
    network = networks["perceptual_alex"]
    assert isinstance(network, LpipsPackage) and network.net == "alex"
    assert torch.equal(network.model.net.slice1[0].weight, trunk["features.0.weight"])
    assert networks.provenance("perceptual_alex")["beside trunk"] == f"alexnet {cache.inspect(path).sha256}"


def test_directions_come_from_several_files_or_from_the_generator(folder):
    edits = {"age": {"file": "age"}, "yaw": {"file": "pose", "scale": 2.0}}
    table = {
        "loader": "invbench.methods.convert.directions:edit_directions",
        "assets": {"age": "interfacegan_age", "pose": "interfacegan_pose"},
        "config": {"num_ws": 18, "edits": edits},
    }
    with pytest.raises(MissingWeights, match="`invbench weights get interfacegan_age`"):
        Networks(suite(directions=table))["directions"]
    cache = WeightsCache()
    for id, shape in (("interfacegan_age", (1, 512)), ("interfacegan_pose", (1, 18, 512))):
        path = official.save(torch.randn(shape), folder / f"{id}.any")
        cache.ledger.record(id, sha256=cache.inspect(path).sha256, size=1, source="added by hand")
    networks = Networks(suite(directions=table))
    assert networks["directions"].names == ("age", "yaw") and networks["directions"]["yaw"].shape == (18, 512)
    assert networks.provenance("directions")["beside pose"] == f"interfacegan_pose {cache.inspect(path).sha256}"
    with pytest.raises(InvbenchError, match="suite mine: directions: expected 16 style vectors for 512 pixels, found .* 18"):
        Networks(suite(512, directions=table))["directions"]
    official.save(official.rosinality(1024), folder / "g.pt")
    own = {"asset": "stylegan2_ffhq_rosinality", "part": "sefa", "config": {"edits": {"first": {"layers": [0, 4]}}}}
    first, again = (Networks(suite(directions=own))["directions"] for _ in range(2))
    assert torch.equal(first["first"], again["first"]) and float(first["first"][:4].norm(dim=1).min()) == pytest.approx(1)
    assert len(list((folder.parent / "derived").glob("sefa-*.safetensors"))) == 1


def test_another_resolution_or_domain_than_the_suite_is_refused(folder):
    official.save(official.rosinality(1024), folder / "g.pt")
    with pytest.raises(InvbenchError, match=r"suite mine: generator: .*rosinality \(g.pt\): expected weights for 512 x 512"):
        Networks(suite(512, generator=GENERATOR))["generator"]
    with pytest.raises(InvbenchError, match=r"expected weights of the domain cars, found faces"):
        Networks(suite(1024, "cars", generator=GENERATOR))["generator"]
    network = Generator(official.generator(64)[0])
    with pytest.raises(InvbenchError, match="suite s: generator: expected a network for 1024 pixels, found one for 64"):
        build.check_network("generator", network, suite="s", resolution=1024)


def test_files_that_do_not_fit_are_told_key_by_key(folder):
    content = official.e4e(18, "ffhq_encode")
    del content["state_dict"]["encoder.latlayer2.bias"]
    content["state_dict"]["encoder.extra"] = torch.zeros(2)
    official.save(content, folder / "a.pt")
    with pytest.raises(InvbenchError, match=r"a.pt: .*1 missing: latlayer2.bias \[512\]; 1 unexpected: extra \[2\]"):
        Networks(suite(encoder_e4e={"asset": "e4e_ffhq"}))["encoder_e4e"]


def test_a_missing_file_names_asset_folders_command_and_the_other_choices(folder):
    networks = Networks(suite(generator=GENERATOR))
    message = (
        r"weights missing: stylegan2_ffhq \(StyleGAN2 FFHQ .*\); looked in .*home/weights; "
        r"`invbench weights get stylegan2_ffhq`; or instead of it: stylegan2_ffhq_rosinality"
    )
    for ask in (networks.__getitem__, networks.provenance, networks.code):
        with pytest.raises(MissingWeights, match=message):
            ask("generator")


def test_a_part_that_a_file_has_not_and_a_foreign_loader_are_refused(folder):
    official.save(official.rosinality(1024), folder / "g.pt")
    with pytest.raises(InvbenchError, match="stylegan2_ffhq_rosinality: a file of layout .* has no part 'encoder'"):
        Networks(suite(encoder={"asset": "stylegan2_ffhq_rosinality", "part": "encoder"}))["encoder"]
    with pytest.raises(InvbenchError, match="os:system: expected a class in one of the packages"):
        Networks(suite(x={"loader": "os:system", "assets": {"a": "stylegan2_ffhq_rosinality"}}))["x"]
    with pytest.raises(InvbenchError, match="stylegan2:generator: the configuration does not fit it: .*depth"):
        Networks(suite(g={"asset": "stylegan2_ffhq_rosinality", "config": {"depth": 3}}))["g"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "expected one of the keys class, asset and loader, found none"),
        ({"class": "a:B", "asset": "dex"}, "expected one of the keys class, asset and loader, found class and asset"),
        ({"asset": "dex", "weights": "x.safetensors"}, "weights: goes with class, found asset"),
        ({"class": "a:B", "part": "generator"}, "part: goes with asset, found class"),
        ({"asset": "dex", "aset": 1}, "unknown key 'aset'; did you mean 'asset'"),
    ],
)
def test_network_tables_have_one_form(table, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig.model_validate(table)
