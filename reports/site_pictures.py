"""The pictures of a run that the site shows: those inside the run folder that are as the run wrote them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from invbench.api import Edit
from invbench.reports.site_data import Board
from invbench.store import file_digest

CHECKED = 20_000  # pictures of a dataset that are read to see whether they changed; `invbench check` reads all


def hidden(board: Board) -> list[str]:
    """Pictures that may not be shown, by their paths in the run folder: links to wherever, and files that changed since.

    Whether a file changed is seen for the first :data:`CHECKED` pictures of the dataset, in its order of images.
    """
    root, found = board.run.store.path.resolve(), []
    changed = _Changes(board)
    for number, path in enumerate(pictures(board)):
        if not path.resolve().is_relative_to(root) or (number < CHECKED and not changed.as_written(path)):
            found.append(path.relative_to(board.run.store.path).as_posix())
    return found


def unchecked(board: Board) -> int:
    """Pictures of the dataset beyond the first :data:`CHECKED`."""
    return max(sum(1 for _ in pictures(board)) - CHECKED, 0)


def pictures(board: Board, *, most: int | None = None) -> Iterator[Path]:
    """All files that the pages may show, of the first ``most`` images (None: all), in the order of images."""
    store, edits = board.run.store, board.edits()
    here = _names(board)
    for name in board.images()[:most]:
        wanted = [store.input(board.dataset, name), store.truth_mask(board.dataset, name)]
        for method in board.methods:
            cell = board.cell(method)
            wanted += [store.picture(cell, name), store.mask(cell, name)]
        for edit in edits:
            wanted.append(store.truth(board.dataset, name, edit))
            wanted += [store.picture(board.cell(method), name, edit) for method in board.methods]
        for path in wanted:
            if path.name in here.get(path.parent, ()):
                yield path


def copy(board: Board, target: Path, *, most: int | None, without: list[str]) -> None:
    """Put the pictures of the first ``most`` images (None: all) below ``target``, as links to the same file where possible."""
    left_out, root = set(without), board.run.store.path
    for path in pictures(board, most=most):
        place = path.relative_to(root)
        if place.as_posix() not in left_out:
            _link(path, target / place)


class _Changes:
    """What each picture of a board must be: the sha256 of its bytes, or of its pixels, or (None) only readable."""

    def __init__(self, board: Board) -> None:
        self._store = store = board.run.store
        self._bytes: dict[Path, str | None] = {}
        rows = board.run.rows
        rows = rows[(rows["dataset"] == board.dataset) & (rows["status"] == "ok")]
        columns = ["method", "preset", "image", "edit", "strength", "picture", "mask"]
        for method, preset, image, name, strength, picture, mask in rows[columns].itertuples(index=False):
            cell, edit = board.cell((method, preset)), Edit(name, strength) if isinstance(name, str) else None
            if isinstance(picture, str):
                self._bytes[store.picture(cell, image, edit)] = picture
            if isinstance(mask, str):
                self._bytes[store.mask(cell, image)] = mask
        self._pixels = {store.path / place: digest for place, digest in store.truths(board.dataset).items()}
        for cell_plan in board.cells:
            for one in cell_plan["images"]:
                self._pixels[store.input(board.dataset, one["name"])] = one.get("sha256")

    def as_written(self, path: Path) -> bool:
        """Whether a file is as the run wrote it."""
        if path in self._bytes:
            return file_digest(path) == self._bytes[path]
        found, wanted = self._store.pixel_digest(path), self._pixels.get(path)
        return found is not None and wanted in (None, found)


def _names(board: Board) -> dict[Path, frozenset[str]]:
    """Folder of the run -> the names of the files in it, for the folders that hold pictures of the board."""
    store = board.run.store
    folders = [store.input(board.dataset, "x").parent, store.truth_mask(board.dataset, "x").parent]
    folders.append(store.truth(board.dataset, "x", Edit("x", 1.0)).parent)
    for method in board.methods:
        folders += [store.picture(board.cell(method), "x").parent, store.mask(board.cell(method), "x").parent]
    return {folder: frozenset(os.listdir(folder)) for folder in folders if folder.is_dir()}


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(path, target)
