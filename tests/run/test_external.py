"""Pictures made elsewhere: pairing, what is refused, that the numbers are those of a run, and the check of a run by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from invbench import schema
from invbench.api import Edit, InvbenchError
from invbench.cli import main
from invbench.compare.baseline import of_run
from invbench.compare.gate import gate
from invbench.plugins.registry import discover
from invbench.run import external, external_folder, runner
from invbench.run.verification import verify
from invbench.store import Store
from invbench.util.images import read_png
from tests.fixtures import TOYS

COUNT = 12
METRICS = ["toy_mse", "toy_mask", "toy_truth", "toy_set"]
CELL = "mine.scored.toys"


@pytest.fixture
def measured(make_settings) -> Store:
    settings = make_settings()
    assert runner.run(settings, progress=False) == 0
    return Store(settings.out)


@pytest.fixture
def suite(make_settings):
    return make_settings().suite


@pytest.fixture
def measure(suite, tmp_path):
    """Score a folder; returns the exit code, the run folder and the lines that were said."""

    def run(folder: Path, *, against: str = "toys", out: Path | None = None, name: str = "mine", metrics=METRICS):
        chosen = external.settings(
            suite, discover([TOYS]), name=name, against=against, metrics=metrics, device="cpu", out=out or tmp_path / "scored"
        )
        lines: list[str] = []
        return external.score(chosen, folder, progress=False, say=lines.append), Store(chosen.out), lines

    return run


def pictures(folder: Path, store: Store, *, edits: bool = True) -> Path:
    """The pictures of a run's method as another code would leave them: one folder for each edit."""
    for index in range(COUNT):
        name = f"toy-{index:02d}"
        for edit in (None, Edit("bright", -1.0), Edit("bright", 1.0)) if edits else (None,):
            place = folder if edit is None else folder / f"bright_{edit.strength:+g}"
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(store.picture("toy.paper.toys", name, edit), place / f"{name}.png")
    return folder


def test_the_same_pictures_get_the_same_scores(measured, measure, tmp_path):
    code, store, lines = measure(pictures(tmp_path / "mine", measured))
    assert code == 0 and lines == [f"{CELL}: 36 of 36 rows ok, in {store.path}"]
    columns = ["image", "edit", "strength", "toy_mse@native", "toy_truth@native"]
    pd.testing.assert_frame_equal(store.rows()[columns], measured.rows()[columns], check_exact=True)
    assert store.rows()["toy_mask@native"].isna().all()  # nobody but the method knows its mask
    sets = [one.query("SELECT metric, value, n FROM sets") for one in (store, measured)]
    pd.testing.assert_frame_equal(*sets, check_exact=True)
    assert not [name for name in store.rows() if name.startswith(("seconds.", "memory."))]
    for name in ("toy-03", "toy-11"):
        for edit in (None, Edit("bright", 1.0)):
            copy, original = store.picture(CELL, name, edit), measured.picture("toy.paper.toys", name, edit)
            assert np.array_equal(read_png(copy), read_png(original))


def test_a_run_folder_of_pictures_can_be_scored_as_it_is(measured, measure):
    code, store, _ = measure(measured.path / "images" / "toy.paper.toys")
    assert code == 0 and len(store.rows()) == 36
    assert list(store.rows()["toy_truth@native"].dropna()) == list(measured.rows()["toy_truth@native"].dropna())


def test_it_stands_beside_measured_methods(measured, measure, make_settings, tmp_path):
    before, manifest = measured.rows(), measured.manifest
    folder = pictures(tmp_path / "mine", measured)
    code, store, _ = measure(folder, out=measured.path, metrics=["toy_mse"])
    assert code == 0 and set(store.plan["cells"]) == {"toy.paper.toys", CELL}
    rows = store.rows()
    pd.testing.assert_frame_equal(rows[rows.method == "toy"].reset_index(drop=True)[before.columns], before, check_exact=True)
    assert {key: store.manifest[key] for key in ("machine", "seconds", "command", "finished")} == {
        key: manifest[key] for key in ("machine", "seconds", "command", "finished")
    }
    assert set(store.manifest["metrics"]) == set(manifest["metrics"])
    assert store.manifest["methods"]["mine.scored"]["family"] == "scored"
    assert list(store.query("SELECT DISTINCT method FROM sets").method) == ["toy"]  # only toy_mse was asked for
    assert gate(of_run(store.path), of_run(store.path)).code == 0
    again = make_settings()
    assert runner.run(again, progress=False) == 0  # a run goes on beside it
    assert len(store.rows()) == len(rows) and "mine.scored" in store.manifest["methods"]


def test_every_mismatch_is_listed_and_every_failure_is_a_row(measured, measure, tmp_path):
    folder = pictures(tmp_path / "mine", measured)
    (folder / "toy-00.png").unlink()
    shutil.copy(folder / "toy-01.png", folder / "toy-01.webp")
    Image.fromarray(read_png(folder / "toy-02.png")[:8]).save(folder / "toy-02.png")
    (folder / "toy-03.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "bright_+1" / "toy-04.png").unlink()
    Image.fromarray(read_png(folder / "toy-05.png")).save(folder / "toy-05.jpg", quality=95)
    (folder / "toy-05.png").unlink()
    (folder / "notes.txt").write_text("mine")
    (folder / "toy-99.png").write_bytes(b"")
    (folder / "age_+1").mkdir()
    (folder / "bright_+1" / "deep").mkdir()
    shutil.copy(folder / "toy-06.png", folder / "bright_+1" / "deep" / "other.png")
    code, store, lines = measure(folder)
    rows = store.rows().set_index(["image", "edit", "strength"])
    assert code == 1 and len(rows) == 36
    failed = rows[rows.status == "failed"]
    reason = {key[0]: text for key, text in failed.reason.items() if not isinstance(key[1], str)}
    assert set(reason) == {"toy-00", "toy-01", "toy-02", "toy-03"}
    assert reason["toy-00"] == f"no picture of this name in {folder}"
    assert reason["toy-01"] == "ambiguous: toy-01.png, toy-01.webp"
    assert reason["toy-02"] == f"{folder}/toy-02.png: expected 16x16 pixels as the original, found 16x8; nothing is resized"
    assert "corrupt or truncated" in reason["toy-03"] or "found something else" in reason["toy-03"]
    assert rows.loc[("toy-00", "bright", 1.0)].reason.startswith("no reconstruction to compare the edit with: no picture")
    assert rows.loc[("toy-04", "bright", 1.0)].reason == f"no bright+1 of this name in {folder}"
    assert len(failed) == 4 * 3 + 1 and failed["toy_mse@native"].isna().all()
    assert rows.loc["toy-05"][schema.JPEG].tolist() == [1.0, 0.0, 0.0]
    text = "\n".join(lines)
    assert "left out: 1 file that is not read (notes.txt)" in text and "left out: toy-99.png: no image of this name" in text
    assert "left out: age_+1/: expected EDIT_STRENGTH with an edit of the suite (bright)" in text
    assert "left out: bright_+1/deep/other.png: no image of this name" in text
    assert "failed: reconstruction of 1: toy-01: ambiguous: toy-01.png, toy-01.webp" in text
    assert "1 of 36 pictures are JPEG" in text and f"{CELL}: 23 of 36 rows ok" in text
    assert store.query("SELECT n FROM sets").n.tolist() == [8]


def test_jpeg_and_webp_are_decoded_and_scored_from_what_they_show(measured, measure, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for index in range(COUNT):
        picture = Image.fromarray(read_png(measured.picture("toy.paper.toys", f"toy-{index:02d}")))
        picture.save(folder / f"toy-{index:02d}.{'jpg' if index % 2 else 'webp'}", quality=60)
    code, store, lines = measure(folder)
    rows = store.rows()
    assert code == 0 and rows[schema.JPEG].tolist() == [0.0, 1.0] * 6 and "6 of 12 pictures are JPEG" in lines[0]
    assert (rows["toy_mse@native"] > measured.rows().query("edit.isna()")["toy_mse@native"].to_numpy()).all()
    assert store.manifest["methods"]["mine.scored"]["options"]["pictures"] == "6 JPEG, 6 WEBP"


def test_a_second_call_computes_nothing_and_changed_files_replace_the_row(measured, measure, tmp_path, monkeypatch):
    folder = pictures(tmp_path / "mine", measured)
    _, store, _ = measure(folder)
    first = store.rows()
    with monkeypatch.context() as patch:
        patch.setattr("invbench.run.external_rows.Rows._picture", lambda *_: pytest.fail("a picture was read again"))
        assert measure(folder)[0] == 0
    pd.testing.assert_frame_equal(store.rows(), first, check_exact=True)
    shutil.rmtree(folder / "bright_+1")
    shutil.copy(folder / "toy-01.png", folder / "toy-00.png")
    code, store, _ = measure(folder)
    now = store.rows()
    assert code == 0 and len(now) == 24 and not set(now.key) & set(first.key)
    assert now["toy_mse@native"][0] > 10 * first["toy_mse@native"][0]


def test_any_folder_of_originals_will_do_at_its_own_size(measure, suite, tmp_path):
    random, originals, mine = np.random.default_rng(0), tmp_path / "originals", tmp_path / "mine"
    originals.mkdir()
    mine.mkdir()
    errors = []
    for name in ("ada", "bo.b"):
        picture = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        other = (picture // 2).astype(np.uint8)
        errors.append(np.mean((picture / 127.5 - other / 127.5) ** 2))
        Image.fromarray(picture).save(originals / f"{name}.png")
        Image.fromarray(other).save(mine / f"{name}.png")
    code, store, _ = measure(mine, against=f"{originals}", metrics=["toy_mse"])
    assert code == 0 and store.rows()["toy_mse@native"].tolist() == pytest.approx(errors, rel=1e-5)
    checks = verify(store.path, suite, discover([TOYS]), metrics=(), device="cpu", say=print)
    assert [(one.metric, one.n, one.unequal) for one in checks] == [("toy_mse@native", 2, 0)]


def test_f9_originals_of_several_sizes(measure, suite, tmp_path):
    """F9: each size is scored by itself; set metrics get the features of all of them, as if each were alone."""
    random, errors, means = np.random.default_rng(0), {}, []
    for side in ("originals", "mine"):
        (tmp_path / side).mkdir()
    for name, size in {"a": (40, 48), "b": (64, 64), "c": (33, 47), "d": (64, 64), "e": (48, 40)}.items():
        picture = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "originals" / f"{name}.png")
        Image.fromarray(picture // 2).save(tmp_path / "mine" / f"{name}.png")
        errors[name] = np.mean((picture / 127.5 - (picture // 2) / 127.5) ** 2)
        means.append([(one / 127.5 - 1).mean(axis=(0, 1)) for one in (picture, picture // 2)])
    code, store, lines = measure(tmp_path / "mine", against=str(tmp_path / "originals"), metrics=["toy_mse", "toy_set"])
    (line,) = lines
    assert code == 0 and line.endswith(f": 5 of 5 rows ok, in {store.path}")
    assert dict(zip(store.rows()["image"], store.rows()["toy_mse@native"])) == pytest.approx(errors, rel=1e-5)
    reference, found = np.stack([one for one, _ in means]), np.stack([two for _, two in means])
    (one,) = store.sets()
    assert (one["n"], one["value"]) == (5, pytest.approx(np.square(reference - found).sum(), rel=1e-4))
    assert measure(tmp_path / "mine", against=str(tmp_path / "originals"), metrics=["toy_mse", "toy_set"])[0] == 0


def test_what_metrics_could_not_measure_is_counted_and_named_in_one_line(tmp_path):
    """F9 with the default metrics of procfaces, whose networks want sides that are multiples of 16 or 32."""
    for side in ("originals", "results"):
        (tmp_path / side).mkdir()
        for name, size in {"a": (40, 48), "b": (64, 64), "c": (64, 64), "d": (64, 64)}.items():
            picture = np.random.default_rng(ord(name)).integers(0, 250, (*size, 3), dtype=np.uint8)
            Image.fromarray(picture + 5 * (side == "results")).save(tmp_path / side / f"{name}.png")
    out = tmp_path / "out"
    words = ["score", str(tmp_path / "results"), "--against", str(tmp_path / "originals"), "--out", str(out)]
    done = CliRunner().invoke(main, [*words, "--suite", "procfaces", "--quiet"])
    rows = Store(out).rows().set_index("image")
    assert done.exit_code == 1 and (rows["status"] == "ok").all() and len(rows) == 4, done.output
    (line,) = [line for line in done.output.splitlines() if "left out" in line]
    assert line.startswith("left out: 1 of 4 images (a) by ") and "multiples of 16" in line and "multiples of 32" in line
    full = {id for id in rows.columns if schema.is_metric(id) and rows.loc[["b", "c", "d"], id].notna().all()}
    without = {id for id in full if pd.isna(rows.loc["a", id])}
    assert without == {"lpips_proc@native", "id_proc@native"} and {"mse@native", "psnr@native", "ssim@native"} <= full
    assert all(id in line for id in without) and {one["n"] for one in Store(out).sets()} == {3}
    assert all(one["metric"] in line for one in Store(out).sets())


def test_other_originals_in_the_same_run_folder_are_refused(measured, measure, tmp_path):
    folder = pictures(tmp_path / "mine", measured, edits=False)
    plan = measured.plan
    plan["cells"]["toy.paper.toys"]["images"][3]["sha256"] = "0" * 64
    measured.write_json("plan.json", plan)
    with pytest.raises(InvbenchError, match="toy-03: expected the original that this run folder has"):
        measure(folder, out=measured.path)


def test_what_cannot_work_is_said_before_anything_is_written(measure, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvbenchError, match="expected pictures named like the images of the dataset, found none"):
        measure(tmp_path / "empty")
    with pytest.raises(InvbenchError, match="unknown dataset 'toyz'; did you mean 'toys'"):
        measure(tmp_path / "empty", against="toyz")
    assert not (tmp_path / "scored").exists()


def test_a_run_reproduces_its_scores_and_a_changed_picture_is_found(measured, suite):
    registry = discover([TOYS])
    checks = verify(measured.path, suite, registry, metrics=(), device="cpu", say=print)
    assert {one.metric: (one.n, one.unequal, one.changed) for one in checks} == {
        "toy_mse@native": (12, 0, False),
        "toy_mask@native": (12, 0, False),
        "toy_truth@native": (24, 0, False),
    }
    path = measured.picture("toy.paper.toys", "toy-04")
    Image.fromarray(255 - read_png(path)).save(path)
    (mse,) = verify(measured.path, suite, registry, metrics=("toy_mse",), device="cpu", say=print)
    assert mse.unequal == 1 and mse.largest > 0.1


@pytest.mark.parametrize(
    ("name", "edit"),
    [("bright_3", 3.0), ("bright_+3", 3.0), ("bright_-1.5", -1.5), ("bright_+2.0", 2.0), ("bright", None), ("bright_+x", None)],
)
def test_names_of_edit_folders(tmp_path, name, edit):
    for place in (tmp_path, tmp_path / name):
        place.mkdir(exist_ok=True)
        (place / "a.png").write_bytes(b"")
    found = external_folder.scan(tmp_path, ["a"], ["bright"])
    assert found.edits == (() if edit is None else (Edit("bright", edit),)) and len(found.strange) == (edit is None)


def test_the_command_line(measured, tmp_path):
    config = tmp_path / "suite.toml"
    config.write_text(
        '[suites.toys]\ntitle = "toys"\nresolution = 16\ndatasets = ["toys"]\ndefault = "all"\n'
        'metrics = ["toy_mse", "toy_truth"]\n'
        '[suites.toys.collections]\nall = ["toys"]\n[suites.toys.edits.bright]\nunit = "levels"\nper_strength = 12.75\n'
        "strengths = [-1, 1]\n"
    )
    common = ["--plugin", str(TOYS), "--config", str(config)]
    folder, out = pictures(tmp_path / "My Code", measured), tmp_path / "out"
    done = CliRunner().invoke(
        main, ["score", str(folder), "--against", "toys:5", "--suite", "toys", "--out", str(out), *common]
    )
    assert done.exit_code == 0, done.output
    assert "my-code.scored.toys: 15 of 15 rows ok" in done.output
    assert "alone was measured" in done.output and "toys: " in done.output  # it ends with its scores
    assert "left out: 21 pictures of images beyond the first 5" in done.output
    shown = CliRunner().invoke(main, ["show", str(out), "--all"])
    assert shown.exit_code == 0 and "my-code" in shown.output and "5/5" in shown.output
    page = CliRunner().invoke(main, ["report", str(out)])
    assert page.exit_code == 0 and "my-code" in (out / "report" / "index.html").read_text()
    checked = CliRunner().invoke(main, ["score", str(out), *common])
    assert checked.exit_code == 0 and "15 scores computed again from the pictures, 0 of them different" in checked.output
    wrong = CliRunner().invoke(main, ["score", str(folder)])
    assert wrong.exit_code == 2 and "expected --against DATASET, or a run folder" in wrong.output
    assert not [name for name in Store(out).rows() if name.startswith(("seconds.", "memory."))]


def test_networks_of_another_domain_do_not_judge_a_folder_unless_told(tmp_path):
    for side in ("originals", "results"):
        folder = tmp_path / side
        folder.mkdir()
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "a.png")
    words = ["score", str(tmp_path / "results"), "--against", str(tmp_path / "originals"), "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2 and "nothing says that pictures in originals are such" in refused.output
    assert not (tmp_path / "out").exists()
    plain = CliRunner().invoke(main, [*words, "--metrics", "mse,psnr"])
    assert plain.exit_code == 0 and "alone was measured" in plain.output
    told = CliRunner().invoke(main, [*words, "--metrics", "lpips_proc", "--suite", "procfaces"])
    assert told.exit_code == 0, told.output
