"""Sources of edit directions in runs: names, keys, moves, rows and reports; and `invbench directions`."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from invbench.api import Edit, InvbenchError, sources_of
from invbench.cli import main
from invbench.datasets.procfaces import INDEX
from invbench.methods.common.moves import scaled_move
from invbench.methods.directions.linear import Directions
from invbench.methods.directions.positions import EditDirections
from invbench.methods.train.directions import unit_of
from invbench.plugins import edit_names
from invbench.plugins.config import load
from invbench.run import plan, sourced
from invbench.run.merging.plans import together
from invbench.run.sourced import Sourced
from invbench.run.sums import Sums
from invbench.store import Store
from invbench.util.images import read_png
from invbench.weights.networks import Networks


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def call(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def test_names_of_edits_have_sources():
    suite = load()["procfaces"]
    assert set(suite.sources) >= {"interfacegan", "ganspace", "sefa", "distillation"}
    assert edit_names.parsed(suite, ["age@sefa:2", "age"])[0] == Edit("age@sefa", 2.0)
    usual = [edit.strength for edit in edit_names.parsed(suite, ["age@ganspace"])]
    assert usual == list(suite.edits["age"].strengths)
    (both,) = edit_names.parsed(suite, ["age@sefa+smile:1"])
    assert both.plain == Edit("age+smile", 1.0) and sources_of(both.name) == ("sefa",)
    assert Edit("age", 1.0).plain == Edit("age", 1.0) and sources_of("age") == ()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("age@gansapce", "unknown source of directions 'gansapce'; did you mean 'ganspace'"),
        ("agee@ganspace", "unknown edit 'agee'; did you mean 'age'"),
        ("age@", "unknown source of directions ''"),
        ("age@sefa+age@ganspace:1", "expected each edit of a sum once, found age twice"),
    ],
)
def test_what_is_no_source_is_told(edit, told):
    with pytest.raises(InvbenchError, match=told):
        edit_names.parsed(load()["procfaces"], [edit])


def cell(edits: list[Edit], directions: dict[str, str]) -> plan.Cell:
    entry = plan.Entry(0, "a", "0" * 64)
    head = {"method": "m", "preset": "p", "options": {}, "stepwise": False, "dataset": "d", "recipe": "r", "batch": 1}
    return plan.Cell(**head, entries=(entry,), edits=tuple(edits), directions=directions)


def test_keys_hold_the_source_that_an_edit_names_and_no_other():
    """A run without sources has the keys and the plan that it had before there were any."""
    edits = [Edit("age", 1.0), Edit("age@sefa", 1.0)]
    plain, one, two = (cell(edits, sources) for sources in ({}, {"sefa": "1"}, {"sefa": "2"}))
    entry = plain.entries[0]
    content = {"recipe": "r", "image": ["a", "0" * 64], "edit": {"name": "age", "strength": 1.0}}
    assert plain.key(entry, edits[0]) == one.key(entry, edits[0]) == plan.digest(content)
    assert len({made.key(entry, edits[1]) for made in (plain, one, two)}) == 3
    assert "directions" not in plain.describe() and plan.Cell.read(one.describe() | {"method": "m"}).directions == {"sefa": "1"}
    merged = plan.merge({"cells": {one.id: one.describe()}}, "s", [replace(plain, edits=(Edit("age", 1.0),))])
    again = plan.Cell.read(merged["cells"][one.id])
    assert set(again.keys()) == set(one.keys())  # the rows of the source are still known


def test_merged_runs_keep_their_sources_and_refuse_two_of_one_name():
    one = cell([Edit("age@sefa", 1.0)], {"sefa": "1"})
    two = cell([Edit("age@ganspace", 1.0)], {"ganspace": "2"})
    made = {name: {"suite": "s", "cells": {one.id: of.describe()}} for name, of in (("a", one), ("b", two))}
    merged = plan.Cell.read(together(list(made.items()))["cells"][one.id])
    assert set(merged.keys()) == {*one.keys(), *two.keys()}
    made["b"]["cells"][one.id]["directions"] = {"sefa": "3"}
    with pytest.raises(InvbenchError, match=r"b: m.p.d: directions sefa: expected that of a, 1, found 3"):
        together(list(made.items()))


class Two(dict):
    """Networks of a suite with one source."""

    suite = load()["procfaces"]


def networks() -> Two:
    draws = torch.Generator().manual_seed(0)
    own = Directions(["age", "yaw"], 4, 5)
    own.vectors.copy_(torch.randn(2, 4, 5, generator=draws))
    other = EditDirections(names=["age", "yaw"], num_ws=4, dim=5)
    other.vectors.copy_(torch.randn(2, 4, 5, generator=draws))
    other.readings[1] = torch.randn(5, generator=draws)
    return Two(directions=own, directions_ganspace=other)


def test_latents_move_by_the_source_and_compose_with_sums():
    found = networks()
    own, other = found["directions"], found["directions_ganspace"]
    latents = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    mover = Sums(Sourced(own, found))
    assert torch.equal(mover.move(latents, Edit("age", 2.0)), own.move(latents, Edit("age", 2.0)))
    assert torch.equal(mover.move(latents, Edit("age@ganspace", 2.0)), other.move(latents, Edit("age", 2.0)))
    assert torch.equal(mover.move(latents, Edit("age@ganspace", 0.0)), latents)
    both = mover.move(latents, Edit("age@ganspace+age", 2.0))
    torch.testing.assert_close(both, latents + 2 * (own["age"] + other["age"]))
    torch.testing.assert_close(scaled_move(mover, latents, Edit("age@ganspace", 2.0), 0.5), latents + other["age"])
    to = other.move(latents, Edit("yaw", 2.0))  # to a position: never scaled
    torch.testing.assert_close(scaled_move(mover, latents, Edit("yaw@ganspace", 2.0), 0.5), to)
    assert mover.names == ("age", "yaw") and torch.equal(mover["age@ganspace"], other["age"])
    with pytest.raises(InvbenchError, match="unknown source of directions 'mine'"):
        mover.move(latents, Edit("age@mine", 1.0))


def test_a_source_without_the_attribute_is_told_before_any_work():
    found = Networks(load()["procfaces"])
    made = sourced.digests(found, [Edit("age", 1.0), Edit("age@sefa+smile@ganspace", 1.0)])
    assert set(made) == {"sefa", "ganspace"} and len(set(made.values())) == 2
    found._loaded["directions_sefa"] = Directions(["yaw"], 10, 128)
    with pytest.raises(InvbenchError, match="edit age@sefa: sefa has directions for yaw, found 'age'"):
        sourced.digests(found, [Edit("age@sefa", 1.0)])


@torch.no_grad()
def test_shipped_sources_do_what_they_are_named_after():
    suite = load()["procfaces"]
    networks = Networks(suite)
    generator, regressor = networks["generator"], networks["regressor"]
    base = generator.repeat(generator.sample_w(8, generator=torch.Generator().manual_seed(7))).contiguous()
    before = regressor(generator.synthesis(base).clamp(-1, 1))
    for source, role in suite.sources.items():
        network = networks[role]
        assert network.names == tuple(suite.edits), source
        for name in network.names:
            assert torch.equal(network.move(base, Edit(name, 0.0)), base)
            moved = [generator.synthesis(network.move(base, Edit(name, s))).clamp(-1, 1) for s in (-3.0, 3.0)]
            low, high = (float((regressor(one) - before)[:, INDEX[name]].mean()) / unit_of(name) for one in moved)
            assert -4.5 < low < -1.2 and 1.2 < high < 4.5, (source, name, low, high)  # of 8 pictures; 3 in the mean of many


def test_a_run_edits_by_several_sources_and_reports_compare_them(tmp_path):
    edits = "age:-2,age:2,age@ganspace:-2,age@ganspace:2,smile@sefa:0"
    words = ["run", "--methods", "e4e", "--datasets", "procfaces-test:3", "--edits", edits, "--in-process", "--quiet"]
    call(*words, "--metrics", "age_change,leakage,id_kept,truth_psnr", "--out", tmp_path / "run")
    store = Store(tmp_path / "run")
    rows = store.rows()
    assert (rows["status"] == "ok").all() and set(rows["edit"].dropna()) == {"age", "age@ganspace", "smile@sefa"}
    of = dict(list(rows.groupby("edit")))
    assert of["age@ganspace"]["truth_psnr@native"].notna().all() and of["age@ganspace"]["age_change@native"].notna().all()
    assert (of["smile@sefa"]["leakage@native"] == 0).all()
    for name in ("test-0000", "test-0001", "test-0002"):
        same = [store.picture("e4e.paper.procfaces-test", name, edit) for edit in (None, Edit("smile@sefa", 0.0))]
        np.testing.assert_array_equal(*map(read_png, same))
    table = call("show", tmp_path / "run", "--all")
    assert "sources of directions at an equal change" in table and "(own)" in table
    call("report", tmp_path / "run")
    page = (tmp_path / "run" / "report" / "edits.html").read_text()
    assert "Sources of directions" in page and "e4e @ganspace" in page and 'data-value="ganspace"' in page
    assert call("score", tmp_path / "run", "--metrics", "id_kept").count("different") <= 1
    call(*words, "--metrics", "id_kept", "--out", tmp_path / "run")  # nothing is left to do


def test_sources_are_listed_and_shown(tmp_path):
    listed = call("directions", "list")
    assert all(name in listed for name in ("(own)", "interfacegan", "ganspace", "sefa", "distillation", "age, yaw, smile"))
    shown = call("directions", "show", "ganspace", "(own)", "--edits", "smile", "--images", 2, "--out", tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "directions.csv").open()))
    assert {row["source"] for row in rows} == {"ganspace", "(own)"} and len(rows) == 2 * 7
    by = {(row["source"], float(row["strength"])): row for row in rows}
    assert float(by["ganspace", 0.0]["change"]) == 0 and float(by["ganspace", 3.0]["change"]) > 0.1
    assert float(by["(own)", 3.0]["asked"]) == pytest.approx(0.3) and "smile_change@native" in shown
    strip = read_png(tmp_path / "out" / "smile+ganspace.png")
    assert strip.shape == (2 * 64 + 4, 7 * 64 + 6 * 4, 3)
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<img") == 2 and "http" not in page.replace("http-equiv", "")
    assert "unknown source of directions 'ganspase'" in call("directions", "show", "ganspase", code=2)


def test_a_fitted_source_becomes_one_of_the_suite(tmp_path):
    told = call("directions", "fit", "distillation", "--edits", "smile", "--samples", 100, "--probes", 8)
    assert "smile@my-distillation" in told and "smile_change@native" in told
    path = tmp_path / "home/directions/procfaces/my-distillation.safetensors"
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["source"] == "distillation" and record["validation"]["smile_effect_+3"] == pytest.approx(3, abs=1)
    suite = load()["procfaces"]
    assert suite.sources["my-distillation"] == "directions_my-distillation"
    network = Networks(suite)["directions_my-distillation"]
    assert network.names == ("smile",) and not network["smile"][8:].any()
    path.with_suffix(".json").write_text("none")
    assert "my-distillation.json: expected JSON" in call("directions", "show", "my-distillation", code=2)
    assert "Traceback" not in call("directions", "list")
    assert "has a source of this name already" in call("directions", "fit", "sefa", "--as", "sefa", code=2)
    assert "expected the source interfacegan, found sefa" in call("directions", "fit", "sefa", "--conditional", code=2)
    assert "expected lower-case letters" in call("directions", "fit", "sefa", "--as", "../x", code=2)


def test_published_directions_are_added(tmp_path):
    vector = np.random.default_rng(0).standard_normal((1, 128)).astype(np.float32)
    np.save(tmp_path / "age.npy", vector)
    call("directions", "add", tmp_path / "age.npy", "--as", "ours", "--edit", "age", "--layers", "0-3", "--unit-length")
    comp = np.eye(128, dtype=np.float32)[:4, None]
    np.savez(tmp_path / "pca.npz", lat_comp=comp, lat_mean=np.ones((1, 128), np.float32), lat_stdev=np.full(4, 2, np.float32))
    words = ["directions", "add", tmp_path / "pca.npz", "--as", "ours", "--edit", "smile", "--layers", "4:6"]
    assert "expected --component, one of its 4" in call(*words, code=2)
    assert "goes to a position, layers 4 to 5" in call(*words, "--component", 2, "--scale", -5)
    network = Networks(load()["procfaces"])["directions_ours"]
    assert network.names == ("age", "smile")
    unit = (vector / np.linalg.norm(vector))[0]
    np.testing.assert_allclose(network["age"][:4].numpy(), np.repeat(unit[None], 4, axis=0), atol=1e-6)
    assert not network["age"][4:].any()
    latents = torch.randn(2, 10, 128, generator=torch.Generator().manual_seed(0))
    moved = network.move(latents, Edit("smile", 2.0))
    torch.testing.assert_close(moved[:, 4, 2], latents[:, 4, 2] + 2 * (-10.0 - (latents[:, 0, 2] - 1) / 2))
    assert torch.equal(moved[:, [0, 1, 2, 3, 6, 7, 8, 9]], latents[:, [0, 1, 2, 3, 6, 7, 8, 9]])
    np.save(tmp_path / "other.npy", np.ones((1, 512), np.float32))
    told = call("directions", "add", tmp_path / "other.npy", "--as", "ours", "--edit", "age", code=2)
    assert "expected a direction of 128 numbers a layer, found 512" in told
    told = call("directions", "add", tmp_path / "age.npy", "--as", "ours", "--edit", "age", "--layers", "3:99", code=2)
    assert "--layers: expected FIRST:END or FIRST-LAST within 0:10" in told
    np.save(tmp_path / "zero.npy", np.zeros((1, 128), np.float32))
    told = call("directions", "add", tmp_path / "zero.npy", "--as", "ours", "--edit", "age", code=2)
    assert "edit age: expected a direction of finite numbers that moves something" in told
