"""The pictures of a run that the site shows: those inside the run folder that are as the run wrote them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invbench.api import Edit
from invbench.folder import tag
from invbench.reports.site_data import Board
from invbench.store import file_digest
from invbench.util.files import file_name

CHECKED = 20_000  # pictures of a dataset that are read to see whether they changed; `invbench check` reads all
READ = 2**30  # and at most about so many bytes of them


@dataclass(frozen=True)
class Pictures:
    """The pictures of a board as they lie in the run folder ``root``.

    shelves     the folders with their files that the pages may show
    hidden      files that must not be shown: links to wherever, and files that changed since; relative to ``root``
    unchecked   number of files that were not read to see whether they changed: all beyond the first :data:`CHECKED`
    looked_at   folders that were listed or missed, and files that were read
    """

    root: Path
    shelves: Sequence[_Shelf]
    hidden: Sequence[str]
    unchecked: int
    looked_at: Sequence[Path]

    @classmethod
    def of(cls, board: Board) -> Pictures:
        """List and check the pictures of a board."""
        root = board.run.store.path
        folders = _folders(board)
        shelves = _listed(board, folders)
        outside = {path for one in shelves for path in one.links if not path.resolve().is_relative_to(root.resolve())}
        first = _first(shelves, len(board.images()))
        files = ((one.images[name], one.folder / name) for one in shelves for name in one.files)
        found = sorted(one for one in files if one[0] < first)
        changes, read, checked = _Changes(board, {number for number, _ in found}), 0, 0
        changed, looked_at = [], [folder for folder, _ in folders]
        for _, path in found:
            if read > READ:
                break
            with suppress(OSError):
                read += path.stat().st_size
            checked += 1
            looked_at.append(path)
            if path not in outside and not changes.as_written(path):
                changed.append(path)
        places = [path.relative_to(root).as_posix() for path in [*sorted(outside), *changed]]
        return cls(root, shelves, places, sum(len(one.files) for one in shelves) - checked, looked_at)

    def copy(self, target: Path, *, most: int | None) -> None:
        """Put the pictures of the first ``most`` images (None: all) below ``target``, as links to the same file if possible."""
        without = set(self.hidden)
        for one in self.shelves:
            place = one.folder.relative_to(self.root)
            names = [name for name in one.files if most is None or one.images[name] < most]
            start = f"{place.as_posix()}/"
            kept = [name for name in names if start + name not in without] if without else names
            if kept:
                _link(kept, one.folder, target / place)


@dataclass(frozen=True)
class _Shelf:
    """The files of a folder that the pages may show. ``images``: name of a file -> number of its image; ``links`` are some
    of the files."""

    folder: Path
    images: Mapping[str, int]
    files: Sequence[str]
    links: Sequence[Path]


def _folders(board: Board) -> list[tuple[Path, Mapping[str, int]]]:
    """The folders of a board's pictures, with the names that their files may have and the numbers of their images."""
    store, names = board.run.store, [file_name(name) for name in board.images()]
    plain = {f"{name}.png": number for number, name in enumerate(names)}
    tags = [tag(edit) for edit in board.edits()]
    edited = {f"{name}{word}.png": number for number, name in enumerate(names) for word in tags}
    both = plain | edited
    folders: list[tuple[Path, Mapping[str, int]]] = [(store.input(board.dataset, "x").parent, plain)]
    folders += [(store.truth_mask(board.dataset, "x").parent, plain)]
    folders += [(store.truth(board.dataset, "x", Edit("x", 1.0)).parent, edited)]
    for cell in map(board.cell, board.methods):
        folders += [(store.mask(cell, "x").parent, plain), (store.picture(cell, "x").parent, both)]
    return folders


def _listed(board: Board, folders: Sequence[tuple[Path, Mapping[str, int]]]) -> list[_Shelf]:
    found, root = [], board.run.store.path.resolve()
    for folder, wanted in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            known = [entry for entry in entries if entry.name in wanted]
            foreign = not folder.resolve().is_relative_to(root)
            links = [folder / entry.name for entry in known if foreign or entry.is_symlink()]
            found.append(_Shelf(folder, wanted, [entry.name for entry in known], links))
    return found


def _first(shelves: Sequence[_Shelf], images: int) -> int:
    """The number of first images that have at most :data:`CHECKED` files together; 1 at least."""
    counts = np.zeros(images + 1, dtype=np.int64)
    for one in shelves:
        counts += np.bincount([one.images[name] for name in one.files], minlength=images + 1)
    return max(int(np.searchsorted(counts[:images].cumsum(), CHECKED, side="right")), 1)


class _Changes:
    """What each picture of some images of a board must be: the sha256 of its bytes, or of its pixels, or (None) only readable.

    ``numbers``: the images, by number.
    """

    def __init__(self, board: Board, numbers: set[int]) -> None:
        self._store = store = board.run.store
        self._bytes: dict[Path, str | None] = {}
        rows, images = board.run.rows, {name for number, name in enumerate(board.images()) if number in numbers}
        rows = rows[(rows["dataset"] == board.dataset) & rows["image"].isin(images) & (rows["status"] == "ok")]
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
                if one["name"] in images:
                    self._pixels[store.input(board.dataset, one["name"])] = one.get("sha256")

    def as_written(self, path: Path) -> bool:
        """Whether a file is as the run wrote it."""
        if path in self._bytes:
            return file_digest(path) == self._bytes[path]
        found, wanted = self._store.pixel_digest(path), self._pixels.get(path)
        return found is not None and wanted in (None, found)


def _link(names: Sequence[str], folder: Path, target: Path) -> None:
    """Put files of ``folder`` into ``target``: links to the same file, or copies on a disk that cannot link."""
    target.mkdir(parents=True, exist_ok=True)
    if os.path.samefile(folder, target):  # somebody's link: what lies there is the run's own
        return
    for old in target.iterdir():  # of an earlier site: another picture may have its name
        old.unlink()
    handles = [os.open(place, os.O_RDONLY) for place in (folder, target)]
    try:
        for name in names:
            try:
                os.link(name, name, src_dir_fd=handles[0], dst_dir_fd=handles[1])  # twice as fast as by whole paths
            except OSError:  # another disk, or one without links
                shutil.copyfile(folder / name, target / name)
    finally:
        for handle in handles:
            os.close(handle)
