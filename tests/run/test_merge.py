"""Merged runs: what one run of all would have given, to the byte; merged twice the same; refused where runs disagree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.plugins.registry import discover
from invbench.run.check import check
from invbench.run.merging.merge import merge
from invbench.run.runner import run
from invbench.store import Store, file_digest
from invbench.util.images import encode_png, read_png
from tests.fixtures import TOYS, timeless, toy_settings

MORE = '''
import numpy as np
from invbench.api import Sample
from tests.toys import Toy, Toys

SPECS = [
    {
        "id": "steps", "title": "Steps", "class": "Steps", "family": "encoder", "roles": [], "presets": {"paper": {}},
        "options": {
            "steps": {"default": 2, "unit": "steps", "range": "[1, 9]", "help": "h"},
            "sleep": {"default": 0.0, "unit": "seconds", "range": "[0, inf)", "help": "h"},
            "trouble": {"default": "", "unit": "", "choices": [""], "help": "h"},
            "level": {"default": 9.0, "unit": "levels", "range": "(0, inf)", "help": "h"},
        },
    },
    {"id": "odd", "title": "Odd toys", "class": "Odd", "domain": "toys", "size": 9, "options": {"count": 9}},
]


class Steps(Toy):
    """Takes steps: its keys hold the images of a batch."""


class Odd(Toys):
    def __init__(self, *, count):
        self.names = [f"odd-{index:02d}" for index in range(count)]
'''


CELL = "cells", "toy.paper.toys"


def file(path: Path, *, text: str = MORE) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def runs(tmp_path: Path):
    """make(NAME, **settings) makes a run; join(*NAMES, out=) merges runs. Both return the folder."""
    registry = discover([TOYS, file(tmp_path / "more.py")])
    suite = toy_settings(registry, out=tmp_path / "none").suite

    class Runs:
        lines: list[str] = []

        def make(self, name: str, **changes) -> Path:
            assert run(toy_settings(registry, out=tmp_path / name, **changes), progress=False) in (0, 1)
            return tmp_path / name

        def join(self, *names: str, out: str = "all") -> Path:
            paths = [tmp_path / name for name in names]
            done = merge(paths, tmp_path / out, suite=suite, registry=registry, device="cpu", say=self.lines.append)
            assert done == 0
            return tmp_path / out

    return Runs()


def files(folder: Path, *, kinds: tuple[str, ...] = (".png", ".safetensors")) -> dict[str, bytes]:
    """What has no times in it, but for features of originals: these are kept in portions as they come."""
    every = [path for path in folder.rglob("*") if path.suffix in kinds and not path.parent.name.startswith("inputs.")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in every}


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of the last change of every file."""
    every = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in every}


def same_as_one(merged: Path, one: Path) -> None:
    pd.testing.assert_frame_equal(*(timeless(Store(folder).rows()) for folder in (merged, one)))
    assert files(merged) == files(one)
    assert Store(merged).plan == Store(one).plan
    assert Store(merged).sets() == Store(one).sets()


def test_runs_on_two_datasets_are_as_one_run_of_both(runs) -> None:
    runs.make("a", datasets=["toys"], latency=1)
    runs.make("b", datasets=["odd"], methods=["toy"])
    merged = runs.join("a", "b")
    one = runs.make("one", datasets=["toys", "odd"])
    same_as_one(merged, one)
    assert check(merged).problems == []
    assert len(Store(merged).latency()) == 2
    manifest = Store(merged).manifest
    a, b = (Store(merged.parent / name).manifest for name in "ab")
    assert [call["seconds"] for call in manifest["runs"]] == [a["seconds"], b["seconds"]]
    assert manifest["seconds"]["wall"] == pytest.approx(a["seconds"]["wall"] + b["seconds"]["wall"])
    assert manifest["machines"] == a["machines"] and manifest["git"] == a["git"] and manifest["versions"] == a["versions"]
    assert (manifest["started"], manifest["finished"]) == (min(a["started"], b["started"]), max(a["finished"], b["finished"]))


def test_set_metrics_are_computed_anew_over_images_of_two_runs(runs) -> None:
    runs.make("few", images=6, batch=3)
    runs.make("all", images=10, batch=3)
    merged = runs.join("few", "all", out="both")
    few, every, both = ({row["dataset"]: row for row in Store(merged.parent / name).sets()} for name in ("few", "all", "both"))
    assert few["toys"]["n"] == 6 and few["toys"]["value"] != every["toys"]["value"] and both == every
    same_as_one(merged, runs.make("one", images=10, batch=3))


def test_rows_that_are_ok_replace_failed_ones_whatever_the_order(runs) -> None:
    plan = {"images": 5, "batch": 5}
    bad = runs.make("bad", **plan)
    part = Store(bad).parts("toy.paper.toys")[0]
    for row in part.rows:
        if row["image"] == "toy-01":
            row |= {"status": "failed", "reason": "no convergence"}
            row.pop("picture"), row.pop("mask", None), row.pop("toy_mse@native", None)
    Store(bad).write_part("toy.paper.toys", part)
    good = runs.make("good", **plan)
    for names in (("bad", "good"), ("good", "bad")):
        merged = runs.join(*names, out="-".join(names))
        same_as_one(merged, good)


@pytest.mark.parametrize("again", [["a", "b"], ["b"], ["b", "a", "all"]])
def test_merging_twice_changes_nothing(runs, again: list[str]) -> None:
    runs.make("a", datasets=["toys"], images=6, latency=1)
    runs.make("b", datasets=["toys", "odd"], images=9, methods=["toy:fine"], consistency=["bright:1"])
    merged = runs.join("a", "b")
    before = everything(merged)
    runs.join(*again)
    assert everything(merged) == before


def test_a_later_run_is_added_and_a_run_goes_on_in_a_merged_folder(runs) -> None:
    runs.make("a", images=5)
    runs.make("b", images=5, datasets=["odd"])
    runs.make("c", images=5, datasets=["toys", "odd"], methods=["toy:fine"])
    runs.join("a", "b")
    merged = runs.join("c")
    same_as_one(merged, runs.make("one", images=5, datasets=["toys", "odd"], methods=["toy", "toy:fine"]))
    assert len(Store(merged).manifest["runs"]) == 3
    rows = Store(merged).rows()
    runs.make("all", images=5, datasets=["toys", "odd"], methods=["toy", "toy:fine"])
    pd.testing.assert_frame_equal(Store(merged).rows(), rows)  # nothing was computed again: the times are the same
    runs.make("d", images=6, datasets=["odd"])
    assert len(Store(runs.join("d")).manifest["runs"]) == 5


def test_a_merge_that_was_killed_is_continued(runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.make("a", images=9, datasets=["toys", "odd"])
    writes = []

    def die(store: Store, cell: str, part) -> None:
        writes.append(part.name)
        if len(writes) == 3:
            raise KeyboardInterrupt
        write(store, cell, part)

    write = Store.write_part
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_part", die)
        with pytest.raises(AssertionError):
            runs.join("a")
    merged = runs.join("a")
    same_as_one(merged, merged.parent / "a")
    assert check(merged).problems == []


def change(*keys: str | int, to: object):
    """A function that writes another value into a run's plan or manifest: ``keys`` lead there, the file's name first."""

    def apply(folder: Path) -> None:
        content = getattr(Store(folder), keys[0])
        item = content
        for key in keys[1:-1]:
            item = item[key]
        item[keys[-1]] = to
        Store(folder).write_json(f"{keys[0]}.json", content)

    return apply


def change_picture(folder: Path) -> None:
    """Another picture under the key of a row, scored and sealed as a run would have done it."""
    store = Store(folder)
    part = store.parts("toy.paper.toys")[0]
    path = store.picture("toy.paper.toys", part.rows[0]["image"])
    path.write_bytes(encode_png(255 - read_png(path)))
    part.rows[0]["picture"] = file_digest(path)
    store.write_part("toy.paper.toys", part)


@pytest.mark.parametrize(
    ("apply", "told"),
    [
        (change("plan", "suite", to="faces"), "b: expected the suite of .*a, toys, found faces"),
        (change("plan", *CELL, "images", 2, "sha256", to="0" * 64), "b: toys: toy-02: expected the picture"),
        (change("plan", *CELL, "images", 2, "index", to=7), "b: toys: toy-02: expected place 2 in the"),
        (change("plan", *CELL, "recipe", to="0"), "b: toy.paper.toys: recipe: expected that of .*a, "),
        (change("manifest", "seed", to=1), "b: seed: expected that of .*a, 0, found 1"),
        (change("manifest", "metrics", "toy_mse@native", "recipe", to="0"), "b: metrics: toy_mse@native: recipe: expected"),
        (change("manifest", "edits", "bright", "per_strength", to=1.0), "b: edits: bright: per_strength: expected"),
        (change("manifest", "methods", "toy.paper", "options", "level", to=4.0), "b: methods: toy.paper: options: expected"),
        (change_picture, "b/images/toy.paper.toys/toy-00.png: expected the picture of .*a/images"),
        (lambda b: next(b.glob("images/*/toy-03.png")).unlink(), None),
        (lambda b: (b / "plan.json").write_text("{}"), "b/plan.json: expected the plan of a run, found"),
        (lambda b: shutil.rmtree(b / "inputs"), None),
    ],
)
def test_runs_that_disagree_are_refused_and_nothing_is_written(runs, apply, told: str | None) -> None:
    a = runs.make("a", images=5, edits=["none"])
    b = a.parent / "b"
    shutil.copytree(a, b)
    apply(b)
    if told is None:  # the other run has what this one lost
        same_as_one(runs.join("b", "a"), a)
        return
    with pytest.raises(InvbenchError, match=told):
        runs.join("a", "b")
    left = [path.name for path in (a.parent / "all").rglob("*")]
    assert left in ([], [".lock"])


@pytest.mark.parametrize("lost", ["images/*/toy-03.png", "inputs/*/toy-03.png", "rows/*/*"])
def test_a_damaged_run_is_refused(runs, lost: str) -> None:
    a = runs.make("a", images=5)
    path = next(a.glob(lost))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvbenchError, match=f"{path}: expected "):
        runs.join("a")


def test_the_verb(tmp_path: Path) -> None:
    suite = "[suites.tiny]\ntitle = 'Tiny'\nresolution = 16\ndatasets = ['toys']\ndefault = 'all'\n"
    own = ["--config", str(file(tmp_path / "bench.toml", text=f"{suite}[suites.tiny.collections]\nall = ['toys']\n"))]
    plugin = ["--plugin", str(TOYS)]
    words = ["--suite", "tiny", "--methods", "toy", "--datasets", "toys:4", "--metrics", "toy_mse,toy_set", "--in-process"]
    done = CliRunner().invoke(main, ["run", *own, *plugin, *words, "--quiet", "--out", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, ["merge", str(tmp_path / "a"), "--out", str(tmp_path / "all"), *own, *plugin])
    assert done.exit_code == 0, done.output
    assert done.output == f"{tmp_path / 'all'}: 4 rows of 1 cells, 4 of them new\n"
    done = CliRunner().invoke(main, ["merge", str(tmp_path / "a"), "--out", str(tmp_path / "all"), *own])
    assert done.exit_code == 0 and "toy_set@native: not computed anew" in done.output  # without the plug-in
    same_as_one(tmp_path / "all", tmp_path / "a")


def test_shares_of_the_work_are_one_run_to_the_byte(runs, tmp_path: Path) -> None:
    whole = {"images": 8, "batch": 3, "datasets": ["toys", "odd"], "methods": ["toy", "steps"], "consistency": ["bright:1"]}
    parts = [runs.make(f"part-{number}", share=(number, 3), latency=1, **whole) for number in (1, 2, 3)]
    counts = [len(list(part.glob("rows/*/*.parquet"))) for part in parts]
    assert counts == [4, 4, 4] and not any(Store(part).has_sets() for part in parts)
    merged = runs.join("part-3", "part-1", "part-2")
    one = runs.make("one", latency=1, **whole)
    same_as_one(merged, one)
    originals = sorted(path.relative_to(one) for path in one.glob("features/inputs.*/*"))
    assert originals and all((merged / path).read_bytes() == (one / path).read_bytes() for path in originals)
    assert sorted(path.name for path in merged.glob("rows/*/*")) == sorted(path.name for path in one.glob("rows/*/*"))
    assert len(Store(merged).latency()) == len(Store(one).latency())
    assert check(merged).problems == []


@pytest.mark.parametrize("text", ["0/3", "4/3", "a/3", "2", "2/", "-1/3", "1/3/4", "1.0/3"])
def test_a_share_is_one_of_a_number(text: str) -> None:
    done = CliRunner().invoke(main, ["run", "--shard", text])
    assert done.exit_code == 2 and f"expected I/N with I from 1 to N, found '{text}'" in done.output


def test_a_share_needs_the_same_batches_everywhere() -> None:
    done = CliRunner().invoke(main, ["run", "--shard", "1/2", "--methods", "e4e"])
    assert done.exit_code == 2 and "--shard: expected --batch N" in done.output
