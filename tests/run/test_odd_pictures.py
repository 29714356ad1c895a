"""Pictures of other code as people have them (F8 to F10), near-equal strengths (F11), disks of other kinds (F22, F25)."""

from __future__ import annotations

import errno
import fcntl
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from invbench.api import Edit, InvbenchError
from invbench.cli import main
from invbench.datasets.folder import Folder
from invbench.plugins.edit_names import parsed
from invbench.plugins.registry import discover
from invbench.run import external, external_folder, runner
from invbench.run.verification import verify
from invbench.schema import signed
from invbench.store import Store
from invbench.util.files import WriteFailed, held, locked
from tests.fixtures import TOYS

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Größe.png") for form in ("NFC", "NFD"))


def draw(path: Path, *, height: int = 16, width: int = 16, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(picture).save(path)
    return picture


def paired(tmp_path: Path, originals: list[str], results: list[str]) -> tuple[dict[tuple[str, str], str], tuple[str, ...]]:
    """(edit or "", file of an original) -> the file that stands for it, and what was strange."""
    for number, name in enumerate(originals):
        draw(tmp_path / "or" / name, seed=number)
    for name in results:
        draw(tmp_path / "re" / name)
    folder = Folder(tmp_path / "or")
    found = external_folder.scan(tmp_path / "re", folder.names, ["age"], paths=folder.paths)
    file_of = dict(zip(folder.names, folder.paths, strict=True))
    pairs = {
        ("" if edit is None else f"{edit.name}{edit.strength:g}", file_of[name]): file.relative_to(tmp_path / "re").as_posix()
        for (edit, name), files in found.files.items()
        for file in files
    }
    return pairs, found.strange


SAME = ["my photo.png", "a(1).png", "50%25.png", "-dash.png", "dot..png", "sp .png", "Tw.png", "tw.png", "plain.png"]


def test_f8_the_same_names_on_both_sides_pair(tmp_path):
    names = [*SAME, "@a@age+3.png", "sub/x y.png", "sub/deep/x y.png", os.fsdecode(b"\xd5.png"), "twin.png", "twin.bmp"]
    pairs, strange = paired(tmp_path, names, names)
    assert pairs == {("", name): name for name in names} and not strange


def test_f8_another_suffix_a_second_suffix_and_another_normal_form_pair_too(tmp_path):
    originals = ["a b.png", "sub/c d.png", COMPOSED, "e f.png", "twin.png", "twin.bmp"]
    pairs, strange = paired(
        tmp_path, originals, ["a b.webp", "sub/c d.bmp", DECOMPOSED, "e f.png.png", "twin.webp", "nobody.png"]
    )
    assert pairs == {
        ("", "a b.png"): "a b.webp",
        ("", "sub/c d.png"): "sub/c d.bmp",
        ("", COMPOSED): DECOMPOSED,
        ("", "e f.png"): "e f.png.png",
    }
    assert strange == (
        "nobody.png: no image of this name",
        "twin.webp: expected the name of one image, found that of 2",
    )


def test_f8_edits_of_such_names_pair_in_either_layout(tmp_path):
    results = ["age_+3/my photo.png", "age_1e-05/sub/a b.png", "my photo@age-2.png"]
    pairs, _ = paired(tmp_path, ["my photo.png", "sub/a b.png"], results)
    assert pairs == {
        ("age3", "my photo.png"): "age_+3/my photo.png",
        ("age1e-05", "sub/a b.png"): "age_1e-05/sub/a b.png",
        ("age-2", "my photo.png"): "my photo@age-2.png",
    }


@pytest.fixture
def measure(make_settings, tmp_path):
    suite = make_settings().suite

    def run(results: Path, originals: Path) -> tuple[int, Store, list[str]]:
        chosen = external.settings(
            suite,
            discover([TOYS]),
            name="mine",
            against=str(originals),
            metrics=["toy_mse"],
            device="cpu",
            out=tmp_path / "scored",
        )
        lines: list[str] = []
        return external.score(chosen, results, progress=False, say=lines.append), Store(chosen.out), lines

    return run


def test_f9_originals_of_several_sizes_are_all_scored(measure, make_settings, tmp_path):
    sizes = {"a": (12, 10), "b": (16, 16), "c": (9, 20), "d": (16, 16), "e": (12, 10)}
    expected = []
    for number, (name, (height, width)) in enumerate(sizes.items()):
        pair = [
            draw(tmp_path / side / f"{name}.png", height=height, width=width, seed=seed)
            for side, seed in (("or", number), ("re", number + 9))
        ]
        expected.append(np.mean(np.square(pair[0] / 127.5 - pair[1] / 127.5)))
    code, store, _ = measure(tmp_path / "re", tmp_path / "or")
    rows = store.rows()
    assert code == 0 and list(rows["image"]) == list(sizes)
    assert rows["toy_mse@native"].tolist() == pytest.approx(expected, rel=1e-5)
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("rows/*/*.parquet")}
    assert measure(tmp_path / "re", tmp_path / "or")[0] == 0  # nothing is computed twice
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (check,) = verify(store.path, make_settings().suite, discover([TOYS]), metrics=(), device="cpu", say=print)
    assert (check.n, check.unequal) == (5, 0)


def test_f10_a_reason_holds_the_sizes_whatever_the_pictures_are_called(measure, tmp_path):
    for name in ("4", "6", "x", "64"):
        draw(tmp_path / "or" / f"{name}.png", height=64, width=64)
        draw(tmp_path / "re" / f"{name}.png", height=64, width=64 if name == "64" else 46)
    _, _, lines = measure(tmp_path / "re", tmp_path / "or")
    assert (
        "failed: reconstruction of 3: 4, 6, x: expected 64x64 pixels as the original, found 46x64; nothing is resized" in lines
    )


def test_f11_strengths_that_differ_are_files_that_differ(make_settings):
    strengths = [1.0, 1.0000001, 1e-7, 1.00000011e-7, -2.5, 1234567.0, 1234568.0]
    assert len({signed(one) for one in strengths}) == 7 and all(float(signed(one)) == one for one in strengths)
    assert [signed(one) for one in (3.0, -1.5, 0.0)] == ["+3", "-1.5", "+0"]  # as they were
    settings = make_settings()
    edits = parsed(settings.suite, ["bright:1", "bright:1.0000001"])
    assert runner.run(settings.model_copy(update={"edits": edits}), progress=False) == 0
    store = Store(settings.out)
    cell = next(iter(store.plan["cells"]))
    assert len({store.picture(cell, "toy-00", edit) for edit in edits}) == 2
    assert all(store.picture(cell, "toy-00", edit).exists() for edit in edits)
    found = external_folder.scan(store.path / "images" / cell, ["toy-00"], ["bright"])
    assert found.edits == (Edit("bright", 1.0), Edit("bright", 1.0000001))


def test_f23_a_run_folder_and_a_command_of_other_bytes_are_written_and_read(make_settings, tmp_path, monkeypatch):
    odd = os.fsdecode(b"out\xd5")
    monkeypatch.setattr("sys.argv", ["invbench", "run", "--out", odd])
    settings = make_settings(out=tmp_path / odd)
    assert runner.run(settings, progress=False) == 0
    page = CliRunner().invoke(main, ["report", str(settings.out)])
    assert page.exit_code == 0 and r"out\xd5" in (settings.out / "report" / "index.html").read_text()
    name = os.fsdecode(b"\xd5\xd5.png")
    for side in ("or", "re"):
        draw(tmp_path / side / name)
        draw(tmp_path / side / "ok.png")
    (tmp_path / "re" / name).write_bytes(b"broken")
    (tmp_path / "re" / "a\x1b[31m\nb.png").touch()
    words = ["--against", str(tmp_path / "or"), "--metrics", "mse", "--out", str(tmp_path / "s")]
    done = CliRunner().invoke(main, ["score", str(tmp_path / "re"), *words])
    assert done.exit_code == 1 and r"left out: a\x1b[31m\nb.png: no image of this name" in done.output
    reason = Store(tmp_path / "s").rows().query("status == 'failed'")["reason"].item()
    assert reason.startswith(f"{tmp_path}/re/" + r"\xd5\xd5.png: expected an image")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_f22_a_disk_without_locks_is_written_to_with_a_note(code, tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "a").touch()
    assert f"note: {tmp_path / 'run'}: this disk has no locks" in capsys.readouterr().err


def test_f22_where_there_are_locks_the_second_writer_is_refused(tmp_path, capsys):
    with locked(tmp_path), pytest.raises(InvbenchError, match="another process is writing"), locked(tmp_path):
        pass
    with locked(tmp_path), pytest.raises(WriteFailed, match="could not be written"), held(Path("/dev/null/x"), taken=""):
        pass
    assert not capsys.readouterr().err


def test_f25_a_path_that_is_too_long_is_one_line(tmp_path):
    long = tmp_path.joinpath(*["x" * 200] * 22)
    draw(tmp_path / "test-0000.png", height=64, width=64)
    for verb in (["run", "--methods", "e4e", "--images", "1"], ["score", str(tmp_path), "--against", "procfaces-test:1"]):
        done = CliRunner().invoke(main, [*verb, "--out", str(long)])
        assert done.exit_code == 3 and "File name too long" in done.output
        assert len(done.output.splitlines()[-1]) < 300


def test_f25_a_disk_that_takes_nothing_is_one_line(make_settings, tmp_path, monkeypatch):
    settings = make_settings()
    assert runner.run(settings, progress=False) == 0

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("invbench.reports.site.write_atomic", full)
    done = CliRunner().invoke(main, ["report", str(settings.out)])
    assert done.exit_code == 3
    assert done.output == f"invbench: error: {settings.out / 'report'}: could not be written: No space left on device\n"
