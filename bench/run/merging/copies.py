"""The files of runs that belong to no row: originals, true pictures, features of originals, times of single images.

Each function gives new file -> the file that it is a copy of, for what the folder ``into`` lacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from invbench.api import InvbenchError
from invbench.run import aggregate, truths
from invbench.run.plan import Cell
from invbench.store import Store
from invbench.util.files import file_name
from invbench.util.images import is_whole, read_png


def inputs(cells: Sequence[Cell], stores: Sequence[Store], into: Store) -> dict[Path, Path]:
    """The originals. Raises InvbenchError where no run has the original that its rows were made from."""
    found: dict[Path, Path] = {}
    for dataset, entry in {(cell.dataset, entry): None for cell in cells for entry in cell.entries}:
        new, *paths = [store.input(dataset, entry.name) for store in (into, *stores)]
        whole = next((path for path in (new, *paths) if is_whole(path) and entry.sha256 in (None, _pixels(path))), None)
        if whole is None and entry.sha256 is not None:
            raise InvbenchError(
                f"{paths[0]}: expected the original (sha256 {entry.sha256}), found another picture or none; "
                "the same `invbench run` as before makes the copy again"
            )
        if whole is not None and whole != new:
            found[new] = whole
    return found


def true_pictures(cells: Sequence[Cell], stores: Sequence[Store], into: Store) -> dict[Path, Path]:
    """True edited pictures and masks. Raises InvbenchError where two runs have other ones under a name."""
    found: dict[Path, Path] = {}
    wanted = [dict.fromkeys(path for cell in cells for path in _truths(cell, store)) for store in (into, *stores)]
    for paths in wanted[1:]:
        for new, path in zip(wanted[0], paths):
            if not path.exists() or not is_whole(path):
                continue
            known = new if is_whole(new) else found.setdefault(new, path)
            if known != path and not _equal(path, known):
                raise InvbenchError(f"{path}: expected the picture of {known}, found another: the dataset has changed")
    return found


def others(cells: Sequence[Cell], stores: Sequence[Store], into: Store) -> dict[Path, Path]:
    """Features of originals, and times of single images; times that failed give way to whole ones.

    Raises InvbenchError for a file that cannot be read.
    """
    originals = {file_name(aggregate.of_originals(cell.dataset)) for cell in cells}
    found: dict[Path, Path] = {}
    failed: set[Path] = set()
    for store in (into, *stores):
        for path, read in store.readers():
            kind, folder, *_ = (*path.relative_to(store.path).parts, "")
            if kind != "latency" and (kind, folder in originals) != ("features", True):
                continue
            content, new = read(), into.path / path.relative_to(store.path)
            bad = kind == "latency" and _has_failed(content)
            if path == new or not (new.exists() or new in found) or (new in failed and not bad):
                if path != new:
                    found[new] = path
                (failed.add if bad else failed.discard)(new)
    return found


def _truths(cell: Cell, store: Store) -> Iterator[Path]:
    """Where a run has the truth of a cell's first images."""
    for entry in [entry for entry in cell.entries if entry.sha256 is not None][: truths.FIRST]:
        yield store.truth_mask(cell.dataset, entry.name)
        yield from (store.truth(cell.dataset, entry.name, edit) for edit in cell.edits)


def _has_failed(times: pa.Table) -> bool:
    return any(status != "ok" for status in times["status"].to_pylist())


def _equal(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes() or np.array_equal(read_png(one), read_png(other))


def _pixels(path: Path) -> str:
    return hashlib.sha256(read_png(path).tobytes()).hexdigest()
