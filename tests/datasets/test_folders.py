"""Folders as people have them: which files are pictures, and the one line on what is left out (F3 to F7 and F23)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from invbench.api import InvbenchError, printable
from invbench.datasets.folder import Folder
from invbench.datasets.search import search
from invbench.plugins.registry import discover
from invbench.plugins.selection import choose_datasets


def draw(*paths: Path, form: str | None = None) -> None:
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path, format=form)


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in search(root).files]


def test_f3_what_invbench_wrote_is_no_member(tmp_path):
    run, stopped, faces = tmp_path / "runs" / "one", tmp_path / "stopped", tmp_path / "aligned"
    page = tmp_path / "for mail"
    draw(tmp_path / "a.png", run / "inputs" / "x" / "a.png", run / "images" / "c" / "a.png", stopped / "inputs" / "x" / "a.png")
    draw(faces / "a.png", page / "a.png", tmp_path / "images" / "b.png")
    (run / "plan.json").write_text("{}")
    (stopped / ".lock").touch()  # killed before its plan
    for file in (faces / "align.csv", faces / "contact_sheet.html", page / "index.html", tmp_path / "manifest.json"):
        file.touch()
    (page / "static").mkdir()
    assert names(tmp_path) == ["a.png", "images/b.png"]  # a manifest beside images is nothing of ours
    told = search(tmp_path).left_out
    for kind in ("2 run folders (runs/one, stopped)", "1 folder of aligned faces (aligned)", "1 page of a run (for mail)"):
        assert kind in told
    assert names(run / "inputs" / "x") == names(faces) == ["a.png"]  # what is asked for by its own path
    for folder in (run, stopped):
        with pytest.raises(InvbenchError, match=r"found a run folder; its originals are in .*inputs/DATASET"):
            Folder(folder)
    with pytest.raises(InvbenchError, match=r"found none; left out of .*runs: 1 run folder \(one\)"):
        Folder(tmp_path / "runs")


def test_f4_hidden_and_system_folders_are_counted(tmp_path):
    folders = (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-1000", "$RECYCLE.BIN")
    hidden = [f"{name}/a.png" for name in folders]
    draw(tmp_path / "a.png", tmp_path / "sub" / "a.png", *(tmp_path / name for name in [*hidden, "._a.png", "sub/.b.png"]))
    (tmp_path / "Thumbs.db").touch()
    folder = Folder(tmp_path)
    assert folder.paths == ["a.png", "sub/a.png"]
    assert "3 hidden or system files (._a.png, Thumbs.db, sub/.b.png)" in folder.notes[0]
    assert "5 hidden or system folders ($RECYCLE.BIN, .Trash-1000, .ipynb_checkpoints, ...)" in folder.notes[0]
    assert Folder(tmp_path / "sub").names == ["a"]


def test_f5_jpeg_by_another_suffix_is_read_and_the_rest_is_named(tmp_path):
    read = [tmp_path / name for name in ("a.jfif", "b.jpe", "c.JPG", "d.jpg_large", "e", "f.mpo")]
    draw(*read, form="JPEG")
    draw(tmp_path / "g.x", form="WEBP")
    draw(tmp_path / "a.jfif~", tmp_path / "a.jfif_original", tmp_path / "b.bak", form="JPEG")  # copies that programs keep
    for suffix in ("heic", "avif", "avif2", "psd"):
        (tmp_path / f"x.{suffix}").write_bytes(b"\0\0\0\x18ftypheic")
    folder = Folder(tmp_path)
    assert folder.paths == sorted([path.name for path in read] + ["g.x"])
    assert [folder.read(index).picture.shape for index in range(7)] == [(8, 8, 3)] * 7
    told = folder.notes[0]
    assert told.startswith(f"left out of {tmp_path}: 7 files that are not read (")
    assert all(f"1 .{suffix}" in told for suffix in ("heic", "avif", "psd", "bak"))


def test_f6_links_are_followed_and_loops_are_not(tmp_path):
    root, real = tmp_path / "sym", tmp_path / "real"
    draw(root / "y.png", real / "sub" / "x.png", real / "deep" / "z.png", tmp_path / "above.png")
    (root / "more").symlink_to("../real/sub")
    (root / "twice").symlink_to("../real/sub")
    (root / "up").symlink_to("..")
    (root / "self").symlink_to(".")
    (root / "gone").symlink_to("nowhere")
    (real / "sub" / "next").symlink_to("../deep")
    (real / "deep" / "back").symlink_to("../sub")
    assert names(root) == ["more/next/z.png", "more/x.png", "y.png"]
    assert "4 links to folders that are taken or lie above (more/next/back, self, twice, ...)" in search(root).left_out
    assert "1 broken link or device (gone)" in search(root).left_out


def test_f7_an_existing_folder_of_the_whole_name_goes_first(tmp_path, make_settings, monkeypatch):
    draw(tmp_path / "c_12:30" / "a.png", tmp_path / "c_12:30:45" / "b.png", tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    suite, registry = make_settings().suite, discover()

    def chosen(item: str) -> tuple[str, int | None]:
        (one,) = choose_datasets(suite, [item], registry, images=None)
        return Path(one.spec.options["root"]).name, one.count

    assert chosen("./c_12:30:45") == ("c_12:30:45", None) and chosen("./c_12:30:45:8") == ("c_12:30:45", 8)
    assert chosen("./c_12:30") == ("c_12:30", None) and chosen("./c_12:30/") == ("c_12:30", None)
    assert chosen("./c_12:30:7") == ("c_12:30", 7) and chosen(".") == (tmp_path.name, None)
    with pytest.raises(InvbenchError, match=r"unknown dataset 'photos'.*for the folder of that name: \./photos"):
        chosen("photos")


def test_f23_names_of_other_bytes_are_escaped(tmp_path):
    strange = [os.fsdecode(b"\xd5\xd5.png"), "a\nb.png"]
    draw(*(tmp_path / "g" / name for name in strange))
    (tmp_path / "g" / os.fsdecode(b"\xff.txt")).touch()
    folder = Folder(tmp_path / "g")
    assert len(set(folder.names)) == 2 and all(name.isascii() for name in folder.names)
    assert r"(\xff.txt)" in folder.notes[0] and folder.notes[0].isprintable()
    (tmp_path / "g" / strange[0]).write_bytes(b"none")
    with pytest.raises(InvbenchError) as error:
        folder.read(folder.paths.index(strange[0]))
    assert r"/\xd5\xd5.png: expected an image" in str(error.value).encode().decode()
    assert printable("half \ud83d of a pair").encode() and printable("whole ö \U0001f600") == "whole ö \U0001f600"
