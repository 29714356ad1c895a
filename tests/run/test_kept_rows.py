"""What a run folder holds stays true: one picture under a name, no row lost, what failed or is gone made again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from invbench.api import InvbenchError
from invbench.compare import baseline
from invbench.plugins.config import DatasetChoice
from invbench.plugins.registry import discover, load
from invbench.reports.run import Run
from invbench.run import runner
from invbench.specs import DatasetSpec
from invbench.store import Store
from invbench.util.images import encode_png
from tests.fixtures import TOYS, timeless


def paint(folder: Path, **seeds: int) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, seed in seeds.items():
        picture = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder


def over(settings, folder: Path, count: int | None = None):
    """The settings with the pictures of a folder as dataset."""
    entry = "invbench.datasets.folder:Folder"
    spec = DatasetSpec("chg", "chg", entry, domain="toys", size=None, options={"root": str(folder), "resolution": 16})
    return settings.model_copy(update={"datasets": (DatasetChoice(spec=spec, count=count),)})


def run(settings) -> int:
    return runner.run(settings, progress=False)


# -- F2: another picture under the same name ------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["replaced", "other folder", "unusable"])
def test_f2_another_picture_under_a_name_is_refused_before_any_work(make_settings, tmp_path, how):
    """F2, and its like: another folder of the same name, a picture that can no longer be used."""
    folder = paint(tmp_path / "one" / "chg", a=1, b=2)
    assert run(over(make_settings(), folder)) == 0
    store = Store(make_settings().out)
    before, inputs = store.rows(), store.input("chg", "a").read_bytes()
    old = hashlib.sha256(np.asarray(Image.open(folder / "a.png")).tobytes()).hexdigest()
    if how == "unusable":
        Image.new("RGB", (20, 16)).save(folder / "a.png")
    else:
        folder = paint(folder if how == "replaced" else tmp_path / "two" / "chg", a=3, b=2)
    new = hashlib.sha256(np.asarray(Image.open(folder / "a.png")).tobytes()).hexdigest()
    told = "one that cannot be used" if how == "unusable" else f"sha256 {new}"
    with pytest.raises(InvbenchError, match=rf"chg: a: expected the original .*{old}.*found {told}"):
        run(over(make_settings(methods=["toy:fine"]), folder))
    pd.testing.assert_frame_equal(store.rows(), before)
    assert store.input("chg", "a").read_bytes() == inputs
    assert run(over(make_settings(methods=["toy:fine"], fresh=True), folder)) == (how == "unusable")


def test_f2_a_folder_merged_by_hand_is_no_table(make_settings, tmp_path):
    """F2: plans put together by hand, in which methods saw different pictures under one name."""
    settings = make_settings()
    run(over(settings, paint(tmp_path / "chg", a=1)))
    store = Store(settings.out)
    plan = store.plan
    other = plan["cells"]["toy.paper.chg"]
    plan["cells"]["other.paper.chg"] = {**other, "method": "other", "images": [{**other["images"][0], "sha256": "f" * 64}]}
    store.write_json("plan.json", plan)
    with pytest.raises(InvbenchError, match=r"chg: a: expected one picture for all methods, found .*f{64} in other"):
        Run.of(store)


def test_f2_a_changed_copy_of_an_original_is_not_measured_against(make_settings, tmp_path):
    """F2: a picture replaced inside the run folder is written anew by the run."""
    settings = over(make_settings(), paint(tmp_path / "chg", a=1, b=2, c=3, d=4))
    run(settings)
    store = Store(settings.out)
    good, sets = store.input("chg", "a").read_bytes(), store.sets()
    store.input("chg", "a").write_bytes(encode_png(np.zeros((16, 16, 3), np.uint8)))
    shutil.rmtree(store.path / "features")
    assert run(settings) == 0 and store.input("chg", "a").read_bytes() == good and store.sets() == sets


# -- F60: twins -----------------------------------------------------------------------------------------------------------
def test_f60_equal_pictures_under_two_names_have_a_row_each(make_settings, tmp_path):
    """F60: a finished twin is not the other; nor is a picture finished that was renamed."""
    folder = paint(tmp_path / "chg", a=1, b=1, c=2)
    assert run(over(make_settings(), folder, count=1)) == 0
    assert run(over(make_settings(), folder)) == 0
    rows = Store(make_settings().out).rows()
    assert sorted(rows[rows.edit.isna()].image) == ["a", "b", "c"] and rows.key.is_unique
    (folder / "c.png").rename(folder / "d.png")
    assert run(over(make_settings(), folder)) == 0
    assert "d" in set(Store(make_settings().out).rows().image)


# -- F63: a metric that raised --------------------------------------------------------------------------------------------
def test_f63_a_metric_that_raised_is_tried_again_until_it_succeeds(make_settings, monkeypatch):
    """F63: not a finished value; the reason stays and the exit code is 1 as long as it is missing."""
    cls = load(discover([TOYS]).metrics["toy_mse@native"])
    settings = make_settings(images=3)
    monkeypatch.setattr(cls, "__call__", lambda self, given: 1 / 0)
    assert run(settings) == 1 and run(settings) == 1
    noted = {"toy_mse@native": {"count": 3, "reason": "ZeroDivisionError: division by zero"}}
    assert Store(settings.out).manifest["metric_failures"] == noted
    assert run(make_settings(images=3, metrics=["toy_truth"])) == 0  # not asked for: the reason stays
    assert Store(settings.out).manifest["metric_failures"] == noted
    monkeypatch.undo()
    monkeypatch.setattr("invbench.run.shard.run", lambda *_: pytest.fail("the method ran again"))
    assert run(settings) == 0
    rows = Store(settings.out).rows()
    assert rows[rows.edit.isna()]["toy_mse@native"].notna().all() and not Store(settings.out).manifest["metric_failures"]


@pytest.mark.parametrize("what", ["compute", "features"])
def test_f63_a_set_metric_that_raises_is_a_failure_and_tried_again(make_settings, monkeypatch, what):
    """F63: the same of set metrics, whose originals may fail as well as their value."""
    cls = load(discover([TOYS]).metrics["toy_set@native"])
    right, calls = getattr(cls, what), []

    def broken(self, *given):
        calls.append(1)
        if what == "features" and len(calls) <= 3:  # the reconstructions are well, their originals not
            return right(self, *given)
        raise RuntimeError("no memory")

    monkeypatch.setattr(cls, what, broken)
    settings = make_settings()
    assert run(settings) == 1
    assert Store(settings.out).sets()[0]["reason"] == "RuntimeError: no memory"
    assert run(settings) == 1
    monkeypatch.setattr(cls, what, right)
    assert run(settings) == 0 and Store(settings.out).sets()[0]["value"] is not None


# -- F64: names of folders ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["method=zzz/run", "seed=1/run", "a[bc]/*/r?n", "index=3"])
def test_f64_names_of_folders_are_not_columns_or_patterns(make_settings, tmp_path, place):
    """F64: rows, set metrics, times and baselines come from the files meant."""
    plain, odd = tmp_path / "plain", tmp_path / place
    run(make_settings(images=4, out=plain, latency=1))
    shutil.copytree(plain, odd)
    decoy = tmp_path / "ab" / "x" / "ran"  # what the pattern would match
    shutil.copytree(plain, decoy)
    one, other = Store(plain), Store(odd)
    pd.testing.assert_frame_equal(one.rows(), other.rows())
    pd.testing.assert_frame_equal(one.latency(), other.latency())
    assert one.sets() == other.sets() and list(Run.of(one).specs) == list(Run.of(other).specs)
    pd.testing.assert_frame_equal(baseline.read(plain).rows, baseline.read(odd).rows)
    stored = odd / "year=2026.parquet"
    baseline.write(stored, baseline.read(odd))
    pd.testing.assert_frame_equal(baseline.read(stored).rows, baseline.read(plain).rows)


# -- F69, F68, F21: files gone, changed, damaged ----------------------------------------------------------------------------
KEPT = (
    "images/*/toy-01.png",
    "images/*/toy-02@*.png",
    "masks/*/toy-00.png",
    "features/toy*/*",
    "features/in*/*",
    "rows/*/*",
)


def _gone(path: Path) -> None:
    path.unlink()


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [_gone, _emptied, _cut, _flipped])
@pytest.mark.parametrize("kind", KEPT)
def test_f69_files_that_are_gone_or_damaged_are_made_again(make_settings, kind, harm):
    """F69, F68, F21: the same command ends with the files and the values of a folder that nobody touched."""
    settings = make_settings(images=5)
    assert run(settings) == 0
    store = Store(settings.out)
    rows, sets, target = store.rows(), store.sets(), sorted(store.path.glob(kind))[0]
    pictures = {path: path.read_bytes() for path in store.path.rglob("*.png")}
    harm(target)
    assert run(settings) == 0
    assert target.exists() and {path: path.read_bytes() for path in store.path.rglob("*.png")} == pictures
    found, asked = (timeless(frame).drop(columns="batch") for frame in (store.rows(), rows))  # one image is a smaller batch
    pd.testing.assert_frame_equal(found, asked, check_like=True)
    assert store.sets() == sets


@pytest.mark.parametrize("harm", [_emptied, _cut, _flipped])
def test_f68_a_damaged_part_is_one_line_for_every_reader(make_settings, harm):
    """F68, F21: nobody reads other values than were written."""
    settings = make_settings(images=2)
    run(settings)
    store = Store(settings.out)
    part = next(store.path.glob("rows/*/*.parquet"))
    harm(part)
    for read in (store.rows, lambda: store.parts("toy.paper.toys"), lambda: Run.of(store), lambda: baseline.read(store.path)):
        with pytest.raises(InvbenchError, match=rf"{part.name}: expected a part of a run, found an? [^\n]*$"):
            read()


def test_f68_no_flipped_bit_gives_other_values(tmp_path, make_settings):
    """F68: each of 300 bits is found, or is no part of a value."""
    settings = make_settings(images=2)
    run(settings)
    store = Store(settings.out)
    part = next(store.path.glob("rows/*/*.parquet"))
    data, rows, silent = part.read_bytes(), store.parts("toy.paper.toys")[0], 0
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 300):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        part.write_bytes(changed)
        try:
            silent += str(store.parts("toy.paper.toys")[0]) != str(rows)
        except InvbenchError:
            continue
    assert silent == 0


@pytest.mark.parametrize(("name", "content"), [("plan.json", "{}"), ("plan.json", "[]"), ("manifest.json", "{}"),
                                               ("plan.json", '{"suite": "s", "cells": {"a": {}}}')])  # fmt: skip
def test_f70_hollow_plans_and_manifests_are_told(make_settings, name, content):
    """F70: one line that names the file and the key."""
    settings = make_settings(images=2)
    run(settings)
    (settings.out / name).write_text(content)
    with pytest.raises(InvbenchError, match=rf"{name}: [^\n]*expected [^\n]*, found [^\n]*$"):
        Run.of(Store(settings.out))


# -- F75: the same bytes ----------------------------------------------------------------------------------------------------
def test_f75_features_have_the_same_bytes_in_every_process(tmp_path):
    """F75: metadata has one order, whatever the process."""
    script = (
        "import sys, numpy as np; from invbench.store import Store; recipes = {f'f{i}': str(i) for i in range(9)}\n"
        "features = {name: np.ones((1, 2), np.float32) for name in recipes}\n"
        "Store(sys.argv[1]).write_features('c', 'p', features=features, images=['a'], recipes=recipes)"
    )
    found = set()
    for seed in "012":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], check=True, env=environment)
        found.add((tmp_path / seed / "features" / "c" / "p.safetensors").read_bytes())
    assert len(found) == 1


# -- F61: killed before the plan ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("left", ["truth_masks/d/a.png", "truths/d/a@b+1.png", "inputs/d/a.png", ".plan.json.tmp", ".lock"])
@pytest.mark.parametrize("fresh", [False, True])
def test_f61_a_folder_without_a_plan_is_continued(make_settings, left, fresh):
    """F61: whatever a run may leave that was killed before its plan."""
    settings = make_settings(images=2, fresh=fresh)
    path = settings.out / left
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert run(settings) == 0


def test_f61_a_folder_of_something_else_is_still_refused(make_settings):
    """F61: a photo folder is not a run folder."""
    settings = make_settings(images=2)
    paint(settings.out, holiday=1)
    with pytest.raises(InvbenchError, match="expected a run folder or an empty one, found 'holiday.png'"):
        run(settings)
