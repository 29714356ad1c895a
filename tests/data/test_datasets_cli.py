"""``invbench datasets prepare | verify | list``, and a run on what was prepared."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.data import prepare, sources
from invbench.data.workers import Calls
from invbench.plugins.config import DatasetChoice
from invbench.plugins.registry import discover
from invbench.run import runner
from invbench.store import Store
from tests.datasets import layouts

SPECS = discover().datasets


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    return tmp_path / "home"


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["datasets", *map(str, words)])


def cats(root: Path, count: int = 5) -> Path:
    layouts.afhq(root, version=1, counts={"cat": count})
    return root


def small(count: int = 5):
    """The cats of AFHQ as if they were so few."""
    return replace(SPECS["afhq-cat-test"], size=count)


def ready(root: Path | None, count: int = 5, **changes) -> prepare.Report:
    return prepare.prepare(small(count), root, workers=1, progress=False, **changes)


# -- prepare -------------------------------------------------------------------------------------------------------------
def test_what_is_whole_is_recorded_and_opened(home, tmp_path):
    report = ready(cats(tmp_path / "cats"))
    assert not report.problems and report.formats == {"JPEG": 5} and not report.partial
    header = json.loads((home / "datasets/afhq-cat-test.json").read_text())
    assert (header["count"], header["expected"], header["layout"]) == (5, 5, "afhq/val/cat/")
    found = sources.find_prepared("afhq-cat-test")
    assert found is not None and found.root == tmp_path / "cats"
    row = found.rows()[3]
    file = tmp_path / "cats" / row["file"]
    assert (row["name"], row["bytes"], row["height"], row["width"]) == (file.stem, file.stat().st_size, 512, 512)
    dataset = sources.open_dataset(small())
    assert layouts.same(dataset.read(3).picture, 3)
    layouts.write(file, 7, 512, 512)
    with pytest.raises(InvbenchError, match="changed since it was prepared"):
        sources.open_dataset(small()).read(3)


def test_problems_are_listed_by_name_and_nothing_is_ready(home, tmp_path):
    root = tmp_path / "c"
    wanted = layouts.celebamask_hq(root, 36)
    pictures = root / "CelebAMask-HQ/CelebA-HQ-img"
    (pictures / f"{wanted[0]}.jpg").unlink()
    whole = (pictures / f"{wanted[1]}.jpg").read_bytes()
    (pictures / f"{wanted[1]}.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (512, 512)).save(pictures / f"{wanted[2]}.jpg")
    done = call("prepare", "celebahq-test", "--root", root, "--workers", 1, "--quiet")
    assert done.exit_code == 1, done.output
    assert "missing: 1" in done.output and f"{wanted[0]:05d} (file {wanted[0]})" in done.output
    assert "broken: 2" in done.output and "expected a picture of 1024x1024, found 512x512" in done.output
    assert "https://github.com/switchablenorms/CelebAMask-HQ (licence: non-commercial" in done.output
    listed = (home / "datasets/celebahq-test.problems.txt").read_text().splitlines()
    assert len(listed) == 3 and any("corrupt or truncated" in line for line in listed)
    assert sources.find_prepared("celebahq-test") is None
    done = call("prepare", "celebahq-test", "--root", tmp_path / "nowhere", "--quiet")
    assert done.exit_code == 2 and "celebahq-test: " in done.output and "its official page: https://" in done.output


def test_a_wrong_count_is_told_and_partial_takes_it(home, tmp_path):
    cats(tmp_path)
    done = call("prepare", "afhq-cat-test", "--root", tmp_path, "--workers", 1, "--quiet")
    assert done.exit_code == 1 and "expected 500 pictures, found 5" in done.output
    done = call("prepare", "afhq-cat-test", "--root", tmp_path, "--workers", 1, "--quiet", "--partial")
    assert done.exit_code == 0 and "ready: 5 of 500 (partial) pictures" in done.output
    found = sources.find_prepared("afhq-cat-test")
    assert found is not None and found.partial == "afhq-cat-test: only 5 of 500 pictures were prepared"
    assert not (home / "datasets/afhq-cat-test.problems.txt").exists()
    assert "(partial: " in call("list").output


def test_a_subset_is_prepared_with_its_whole(home, tmp_path):
    wanted = layouts.celebamask_hq(tmp_path, 18)
    done = call("prepare", "celebahq-test-first200", "--root", tmp_path, "--workers", 1, "--quiet", "--partial")
    assert done.exit_code == 0 and done.output.startswith("celebahq-test: ")
    assert len(sources.open_dataset(SPECS["celebahq-test"]).names) == len(wanted)
    with pytest.raises(InvbenchError, match="of its 200 pictures are not among the 6 prepared ones"):
        sources.open_dataset(SPECS["celebahq-test-first200"])


def test_published_md5s_are_counted(home, tmp_path):
    layouts.celebahq_raw(tmp_path, 6)
    done = call("prepare", "celebahq-test", "--root", tmp_path, "--workers", 1, "--quiet", "--partial")
    assert done.exit_code == 0 and "2 PNG, published md5 of 2 agree" in done.output


def test_an_interrupted_preparation_goes_on_where_it_was(home, tmp_path, monkeypatch):
    cats(tmp_path)
    monkeypatch.setattr(prepare, "CHUNK", 2)
    seen, real = [], Calls.take

    def interrupted(self):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(1)
        return real(self)

    monkeypatch.setattr(Calls, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ready(tmp_path)
    assert len(list((home / "datasets/afhq-cat-test.partial").glob("*.json"))) == 1  # one whole chunk of two
    layouts.write(tmp_path / "afhq/val/cat/flickr_cat_000000.jpg", 40, 512, 512)  # done, and changed since
    seen.clear()
    monkeypatch.setattr(Calls, "take", lambda self: seen.append(1) or real(self))
    assert not ready(tmp_path).problems and len(seen) == 4  # the changed one and the three that were left
    assert layouts.same(sources.open_dataset(small()).read(0).picture, 40)
    assert not (home / "datasets/afhq-cat-test.partial").exists()


def test_files_in_the_home_folder_are_found_and_move_with_it(home, tmp_path):
    cats(home / "datasets/afhq-cat-test")
    assert not ready(None).problems
    shutil.move(home, tmp_path / "other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INVBENCH_SHARED", str(tmp_path / "other"))  # a shared, read-only folder
        assert layouts.same(sources.open_dataset(small()).read(4).picture, 4)


@pytest.mark.parametrize("harm", ["json", "format", "table", "gone", "root"])
def test_a_broken_manifest_is_told(home, tmp_path, harm):
    ready(cats(tmp_path / "cats"))
    path = home / "datasets/afhq-cat-test.json"
    header = json.loads(path.read_text())
    table = home / "datasets/afhq-cat-test.parquet"
    if harm == "json":
        path.write_text("{")
    elif harm == "format":
        path.write_text(json.dumps(header | {"format": 2}))
    elif harm == "table":
        table.write_bytes(table.read_bytes() + b" ")
    elif harm == "gone":
        table.unlink()
    else:
        shutil.rmtree(tmp_path / "cats")
    expected = {
        "json": r"afhq-cat-test\.json: expected what `invbench datasets prepare` writes",
        "format": "format 2",
        "table": r"afhq-cat-test\.parquet: expected sha256 \w+ \(afhq-cat-test\.json\), found",
        "gone": r"afhq-cat-test\.parquet: expected the pictures of",
        "root": "is no folder now; run: invbench datasets prepare afhq-cat-test --root FOLDER",
    }[harm]
    with pytest.raises(InvbenchError, match=expected):
        sources.open_dataset(small())
    assert call("list").exit_code == 0


# -- verify --------------------------------------------------------------------------------------------------------------
def test_verify_names_what_changed(home, tmp_path):
    ready(cats(tmp_path / "cats"))
    done = call("verify", "afhq-cat-test", "--workers", 1, "--quiet")
    assert done.exit_code == 0 and "as prepared: 5 pictures" in done.output
    pictures = tmp_path / "cats/afhq/val/cat"
    (pictures / "flickr_cat_000001.jpg").unlink()
    layouts.write(pictures / "flickr_cat_000002.jpg", 9, 512, 512)
    done = call("verify", "afhq-cat-test", "--workers", 1, "--quiet")
    assert done.exit_code == 1 and "changed or missing: 2" in done.output
    assert "flickr_cat_000001: " in done.output and "found no file" in done.output
    assert "changed since it was prepared: expected sha256" in done.output


def test_names_that_cannot_be_prepared_are_told(home):
    assert "did you mean 'afhq-cat-test'" in call("verify", "afhq-cat-tset").output
    assert "dataset procfaces-test needs no files" in call("prepare", "procfaces-test").output
    done = call("verify", "ffhq")
    assert done.exit_code == 2
    assert "dataset ffhq: not prepared: expected" in done.output
    assert "run: invbench datasets prepare ffhq --root FOLDER" in done.output


# -- a run ---------------------------------------------------------------------------------------------------------------
def test_a_run_reads_what_was_prepared_with_workers(home, tmp_path, make_settings, capsys):
    ready(cats(tmp_path / "cats", 6), 7, partial=True)
    layouts.write(tmp_path / "cats/afhq/val/cat/flickr_cat_000004.jpg", 50, 512, 512)
    settings = make_settings(readers=1)
    suite = settings.suite.model_copy(update={"resolution": 512})
    changes = {"suite": suite, "datasets": (DatasetChoice(spec=small(7)),)}
    assert runner.run(settings.model_copy(update=changes)) == 1
    assert "not whole: afhq-cat-test: only 6 of 7 pictures were prepared" in capsys.readouterr().err
    rows = Store(settings.out).rows()
    failed = rows[rows.status == "failed"]
    assert set(failed.image) == {"flickr_cat_000004"} and failed.reason.str.contains("changed since it was prepared").all()
    assert len(rows) == 6 * 3 and list(rows[rows.edit.isna()].image) == [f"flickr_cat_{n:06d}" for n in range(6)]
    recorded = Store(settings.out).manifest["datasets"]["afhq-cat-test"]
    assert recorded["partial"] and recorded["count"] == 6 and len(recorded["sha256"]) == 64


def test_a_run_without_the_files_says_what_to_do(home, make_settings):
    settings = make_settings().model_copy(update={"datasets": (DatasetChoice(spec=small()),)})
    with pytest.raises(InvbenchError, match="afhq-cat-test: not prepared: .*invbench datasets prepare afhq-cat-test --root"):
        runner.run(settings, progress=False)
    assert not settings.out.exists()
