"""Official files under any name: told apart by layout, by hash and by what the user says; never opened twice."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from invbench.api import InvbenchError, MissingWeights
from invbench.cli.weights import _uses
from invbench.plugins.config import load
from invbench.plugins.registry import discover
from invbench.util.cache import caches, home
from invbench.weights import cache as weights_cache
from invbench.weights.cache import WeightsCache
from invbench.weights.catalogue import FILE, catalogue
from invbench.weights.layout import Derived
from invbench.weights.layouts import LAYOUTS, recognise
from tests.weights import official


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``INVBENCH_HOME/weights`` of an empty home."""
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    (tmp_path / "home/weights").mkdir(parents=True)
    return tmp_path / "home/weights"


def told(path: Path) -> tuple[tuple[str, ...], str]:
    """Assets that a file of the folder fits, and the problem."""
    match = next(match for match in WeightsCache().matches() if match.found.path == path)
    return match.assets, match.problem


# Home ---------------------------------------------------------------------------------------------------------------


def test_home_and_caches_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("INVBENCH_SHARED", os.pathsep.join([str(tmp_path / "b"), "", "~/c"]))
    assert home() == tmp_path / "a" and caches() == [tmp_path / "b", Path.home() / "c"]
    monkeypatch.delenv("INVBENCH_HOME")
    monkeypatch.delenv("INVBENCH_SHARED")
    assert home().name == "invbench" and home().is_absolute() and caches() == []


# The list -----------------------------------------------------------------------------------------------------------


def test_every_asset_names_what_a_person_needs_to_know():
    assets = catalogue().assets
    for asset in assets.values():
        assert asset.page.startswith("https://") and (asset.address or asset.note), asset.id
        assert asset.size or asset.about or asset.address, asset.id
    addresses = [asset.address for asset in assets.values() if asset.address]
    assert len(set(addresses)) == len(addresses) and len({asset.file for asset in assets.values()}) == len(assets)


def test_loaders_and_parts_exist_for_every_asset():
    from invbench.plugins.registry import load_callable

    names = {part for layout in LAYOUTS.values() for part in layout.parts.values() if isinstance(part, str)}
    names |= {name for layout in LAYOUTS.values() for part in layout.parts.values() if isinstance(part, Derived)
              for name in (part.measure, part.cls)}  # fmt: skip
    assert all(callable(load_callable(name)) for name in names)
    for asset in catalogue().assets.values():
        for layout in asset.layouts:
            assert not asset.part or asset.part in LAYOUTS[layout].parts, asset.id


def test_every_listed_asset_is_used_by_a_suite_and_the_list_says_by_which():
    networks = [(suite.id, role, network) for suite in load().values() for role, network in suite.networks.items()]
    used = {id for _, _, network in networks for id in network.needed}
    listed = catalogue().assets
    used |= {other for id in used for other in catalogue().find(id).beside.values()}
    beside = {"farl_parser"}  # in place of BiSeNet
    imagenet = {f"biggan_deep_{size}" for size in (128, 256, 512)}  # for suites of one's own
    assert set(listed) - used == beside | imagenet
    suites, roles = _uses(listed.values(), None)
    for id in used:
        asked = {asset.id for asset in listed.values() if id in asset.beside.values()} | {id}
        assert set(suites[id]) == {suite for suite, _, network in networks if asked & set(network.needed)}
        assert set(roles[id]) == {role for _, role, network in networks if asked & set(network.needed)}


def test_roles_of_methods_are_served_by_some_suite():
    asked = {role for spec in discover().methods.values() for role in spec.roles}
    assert asked <= {role for suite in load().values() for role in suite.networks}


def test_a_wrong_list_is_told_with_file_and_key(tmp_path):
    text = FILE.read_text()
    for old, new, message in (
        ('layouts = ["bisenet"]', 'layouts = ["bisnet"]', r"assets.bisenet: layouts: unknown layout 'bisnet'; did you mean 'b"),
        ('licence = "cc-by-nc"', 'licence = "cc"', "assets.unet_celebamask: unknown licence 'cc'"),
        ("about = 539", 'aboot = 539', "assets.dex: unknown key 'aboot'; did you mean 'about'"),
    ):  # fmt: skip
        path = tmp_path / f"{len(message)}.toml"
        path.write_text(text.replace(old, new))
        with pytest.raises(InvbenchError, match=re.escape(str(path)) + f": .*{message}"):
            catalogue(path)


# Recognition ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda: official.e4e(18, "ffhq_encode"), "e4e_ffhq"),
        (lambda: official.e4e(18, None), "e4e_ffhq"),
        (lambda: official.e4e(16, "cars_encode"), "e4e_cars"),
        (lambda: official.e4e(14, "church_encode"), "e4e_church"),
        (lambda: official.e4e(14, "horse_encode"), "e4e_horse"),
        (lambda: official.e4e(14, "lsuncats_encode"), "e4e_cat"),
        (lambda: official.psp(), "psp_ffhq"),
        (lambda: official.rosinality(1024), "stylegan2_ffhq_rosinality"),
        (lambda: official.bare("arcface_irse50", "facenet"), "arcface_irse50"),
        (lambda: official.bare("curricularface_ir101_layout", "facenet"), "curricularface"),
        (lambda: official.bare("bisenet_face_parsing", "net"), "bisenet"),
        (
            lambda: {"state_dict": {k.replace("_", "-"): v for k, v in official.bare("dex_age_layout", "age_net").items()}},
            "dex",
        ),
    ],
)
def test_files_are_told_by_their_layout(content, expected, folder):
    path = official.save(content(), folder / "whatever.bin")
    assert told(path) == ((expected,), "")
    assert WeightsCache().find(expected).path == path


def test_what_layouts_cannot_tell_apart_is_asked_for_once(folder):
    path = official.save(official.e4e(14, None), folder / "e4e_church_encode.pt")
    assets, problem = told(path)
    assert set(assets) == {"e4e_church", "e4e_horse", "e4e_cat"}
    assert "its layout fits e4e_church, e4e_horse, e4e_cat; say which: invbench weights add FILE --as ID" in problem
    with pytest.raises(MissingWeights, match=r"missing: e4e_church .*; looked in .*home/weights; `invbench weights get"):
        WeightsCache().find("e4e_church")
    cache = WeightsCache()
    cache.ledger.record("e4e_horse", sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size=1, source="added by hand")
    assert told(path) == (("e4e_horse",), "") and WeightsCache().find("e4e_horse").path == path


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda: official.psp("ffhq_frontalize"), "no listed asset is of layout encoder with .*task ffhq_frontalize"),
        (lambda: official.e4e(16, "dogs_encode"), "no listed asset is of layout encoder with .*domain dogs_encode"),
        (lambda: official.rosinality(128), "no listed asset is of layout stylegan2_rosinality with resolution 128"),
        (lambda: {"weight": torch.zeros(3)}, "its tensors are those of no listed asset"),
        (lambda: {"tensor": torch.zeros(1, 512)}, "looks like interfacegan_age, interfacegan_smile, whose published"),
    ],
)
def test_other_networks_are_not_taken_for_ours(content, problem, folder):
    path = official.save(content(), folder / "e4e_ffhq_encode.pt")
    assert re.match(problem, told(path)[1])


def test_published_digests_decide(folder, tmp_path):
    np.save(folder / "direction", np.ones((1, 16, 512), np.float32))
    text = FILE.read_text()
    digest = hashlib.sha256((folder / "direction.npy").read_bytes()).hexdigest()
    known = re.search(r'sam_cars_snow\].*?sha256 = \["(\w+)"', text, re.S)[1]
    listed = tmp_path / "assets.toml"
    listed.write_text(text.replace(known, digest))
    matches = WeightsCache(listed=catalogue(listed)).matches()
    assert [match.id for match in matches] == ["sam_cars_snow"]
    listed.write_text(text.replace(known, digest[:8]))
    catalogue.cache_clear()
    assert [match.id for match in WeightsCache(listed=catalogue(listed)).matches()] == ["sam_cars_snow"]


def test_a_file_that_is_not_the_one_recorded_is_refused(folder):
    official.save(official.e4e(18, "ffhq_encode"), folder / "a.pt")
    WeightsCache().ledger.record("e4e_ffhq", sha256="0" * 64, size=1, source="https://example.org")
    assets, problem = told(folder / "a.pt")
    assert assets == ("e4e_ffhq",) and "looks like e4e_ffhq, which was fetched or added with another sha256 (0000" in problem
    with pytest.raises(MissingWeights, match="a.pt: looks like e4e_ffhq"):
        WeightsCache().find("e4e_ffhq")


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"<!DOCTYPE html><title>Quota exceeded</title>", "found a web page"), (b"PK\x03\x04half", "truncated or damaged")],
)
def test_broken_files_are_told(data, problem, folder):
    (folder / "e4e_ffhq_encode.pt").write_bytes(data)
    assert problem in told(folder / "e4e_ffhq_encode.pt")[1]


# Folders and memory ------------------------------------------------------------------------------------------------------


def test_shared_caches_come_first_and_are_never_written(folder, tmp_path, monkeypatch):
    flat, shaped = tmp_path / "flat", tmp_path / "shaped"
    for place in (folder, flat, shaped / "weights"):
        official.save(official.rosinality(1024, seed=len(str(place))), place / "g.pt")
    before = sorted(map(str, [*flat.rglob("*"), *shaped.rglob("*")]))
    for shared, expected in ((f"{flat}{os.pathsep}{shaped}", flat), (str(shaped), shaped / "weights"), ("", folder)):
        monkeypatch.setenv("INVBENCH_SHARED", shared)
        assert WeightsCache().find("stylegan2_ffhq_rosinality").path == expected / "g.pt"
    assert sorted(map(str, [*flat.rglob("*"), *shaped.rglob("*")])) == before


def test_a_file_is_opened_once_and_again_when_it_changed(folder, monkeypatch):
    path = official.save(official.rosinality(1024), folder / "g.pt")
    opened = []
    real = weights_cache.load_checkpoint
    monkeypatch.setattr(weights_cache, "load_checkpoint", lambda path, **how: opened.append(path) or real(path, **how))
    assert [WeightsCache().find("stylegan2_ffhq_rosinality").path for _ in range(3)] == [path] * 3
    assert opened == [path]
    official.save(official.rosinality(64), path)
    with pytest.raises(MissingWeights):
        WeightsCache().find("stylegan2_ffhq_rosinality")
    assert opened == [path, path]
    index = folder.parent / "weights.index.json"
    assert set(json.loads(index.read_text())["files"]) == {str(path)}
    index.write_text("{ broken")
    with pytest.raises(MissingWeights):
        WeightsCache().find("stylegan2_ffhq_rosinality")
    assert len(opened) == 3


def test_an_installed_package_serves_what_it_brings(folder):
    found = WeightsCache().find("lpips_alex")
    assert found.path.name == "alex.pth" and found.sha256 == catalogue().assets["lpips_alex"].published
    assert found.facts == {"net": "alex", "whole": False}


def test_an_unknown_asset_is_told_with_the_nearest(folder):
    with pytest.raises(InvbenchError, match="unknown asset 'e4e_car'; did you mean 'e4e_cars'"):
        WeightsCache().find("e4e_car")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"state_dict": {"encoder": 3}, "opts": None},
        {"G_ema": {"synthesis.b4.const": torch.zeros(4, 4, 4), "mapping.fc0.weight": torch.zeros(4, 4)}, "init_kwargs": None},
        {"sd_base": {"backbone.conv1.weight": torch.zeros(64, 3, 7, 7)}, "W+": {"m.0.weight": torch.zeros(8, 4, 3, 3)}, 3: 1},
    ],
)
def test_files_with_something_odd_in_them_are_none_of_ours(content):
    assert recognise(content) is None


def test_an_encoder_with_odd_options_is_none_of_ours():
    assert recognise(official.e4e(18, None) | {"opts": [1, 2]}) is None


def test_a_text_in_a_file_cannot_speak_to_the_terminal():
    told = recognise(official.e4e(18, "\x1b[2Jdogs" + "x" * 100))
    assert told is not None and told.facts["task"].startswith("??2Jdogsx") and len(told.facts["task"]) == 40
    assert told.facts["domain"].isprintable()
