"""The files of runs that belong to no row: originals, true pictures, features of originals, times of single images, curves.

Each function gives new file -> the file that it is a copy of, for what the folder ``into`` lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from invbench.api import InvbenchError
from invbench.run import aggregate, truths
from invbench.run.plan import Cell
from invbench.store import Store
from invbench.util.files import file_name


def inputs(cells: Sequence[Cell], stores: Sequence[Store], into: Store) -> dict[Path, Path]:
    """The originals. Raises InvbenchError where no run has the original that its rows were made from."""
    found: dict[Path, Path] = {}
    for dataset, entry in {(cell.dataset, entry): None for cell in cells for entry in cell.entries}:
        new, *paths = [store.input(dataset, entry.name) for store in (into, *stores)]
        digests = {path: store.pixel_digest(path) for path, store in zip((new, *paths), (into, *stores), strict=True)}
        whole = next((path for path, digest in digests.items() if digest and entry.sha256 in (None, digest)), None)
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
    digests: dict[Path, str] = {}
    wanted = [dict.fromkeys(path for cell in cells for path in _truths(cell, store)) for store in (into, *stores)]
    for store, paths in zip(stores, wanted[1:], strict=True):
        for new, path in zip(wanted[0], paths, strict=True):
            digest = store.pixel_digest(path)
            if digest is None:
                continue
            if new not in digests:
                own = into.pixel_digest(new)
                digests[new] = own or digest
                found |= {} if own else {new: path}
            if digests[new] != digest:
                known = found.get(new, new)
                raise InvbenchError(f"{path}: expected the picture of {known}, found another: the dataset has changed")
    return found


def truth_digests(cells: Sequence[Cell], stores: Sequence[Store], into: Store) -> None:
    """Write which true pictures the folder has, with those of the runs. Raises InvbenchError for a record that is damaged."""
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        own, known = into.truths(dataset), dict[str, str]()
        for store in stores:
            known |= store.truths(dataset)
        if known.items() - own.items():
            into.write_truths(dataset, known | own)


def others(cells: Sequence[Cell], stores: Sequence[Store], into: Store) -> dict[Path, Path]:
    """Features of originals, curves, and times of single images; times that failed give way to whole ones.

    Raises InvbenchError for a file that cannot be read.
    """
    originals = {file_name(aggregate.of_originals(cell.dataset)) for cell in cells}
    found: dict[Path, Path] = {}
    failed: set[Path] = set()
    for store in (into, *stores):
        for path, read in store.readers():
            kind, folder, *_ = (*path.relative_to(store.path).parts, "")
            if kind not in ("latency", "curves") and (kind, folder in originals) != ("features", True):
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
