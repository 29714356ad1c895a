"""Check of a run folder: every file is compared with the rows, the plan and its own checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invbench.api import Edit, InvbenchError
from invbench.folder import JOBS, OWN
from invbench.run.plan import Cell
from invbench.store import Part, Store, file_digest
from invbench.util.files import FOREIGN

WHOLE, DAMAGED, MISSING, STRANGE = STATES = ("whole", "damaged", "missing", "strange")
AGAIN = "the next run makes it again"
KINDS = {
    "plan.json": "plan",
    "manifest.json": "manifest",
    "sets.parquet": "sets",
    "rows": "rows",
    "features": "features",
    "latency": "latency",
    "curves": "curves",
    "statistics": "statistics",
    "images": "pictures",
    "masks": "masks",
    "inputs": "inputs",
    "truths": "truths",
    "truth_masks": "truths",
}
_NOT_LOOKED_INTO = ("superseded", "report", ".lock", JOBS, FOREIGN)


@dataclass
class Checked:
    """The result of a check.

    counts    kind of file -> state (one of STATES) -> number of files
    problems  one line for each file that is not whole, with the remedy
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def note(self, kind: str, state: str, line: str = "") -> None:
        """Count a file of a kind; keep ``line`` if its state is not whole."""
        self.counts.setdefault(kind, dict.fromkeys(STATES, 0))[state] += 1
        if state != WHOLE:
            self.problems.append(f"{state}: {line}")


def check(path: Path) -> Checked:
    """Read every file of the run folder; nothing is changed. Raises InvbenchError if the folder holds no run."""
    store = Store(path)
    if not (store.exists() or store.has_run()):
        raise InvbenchError(f"{path}: expected a run folder (with a plan.json in it), found none")
    found, seen = Checked(), set[Path]()
    for name in ("plan.json", "manifest.json"):
        if not (path / name).exists():
            found.note(KINDS[name], MISSING, f"{path / name}: {AGAIN}")
    for file, read in store.readers():
        seen.add(file)
        _read(found, KINDS[file.relative_to(path).parts[0]], read)
    cells = [Cell.read(one) for one in store.readable_json("plan.json").get("cells", {}).values()]
    parts = {cell: store.whole_parts(cell) for cell in _folders(path / "rows")}
    by_folder = {store.picture(cell.id, "x").parent.name: cell.id for cell in cells}
    for folder, own in parts.items():
        id = by_folder.get(folder) or _cell_of(own) or folder
        _pictures(found, store, id, own, seen)
        _features(found, store, id, own)
    for cell in cells:
        _inputs(found, store, cell, seen)
        _unfinished(found, store, cell, parts.get(store.picture(cell.id, "x").parent.name, []))
    _truths(found, store, cells, seen)
    if not cells:
        _copies(found, store, seen)
    _statistics(found, path, seen)
    _strangers(found, path, seen)
    return found


def _read(found: Checked, kind: str, read: Callable[[], Any]) -> None:
    try:
        read()
    except InvbenchError as error:
        found.note(kind, DAMAGED, f"{error}; {AGAIN}")
    else:
        found.note(kind, WHOLE)


def _folders(path: Path) -> list[str]:
    return sorted(one.name for one in path.glob("*") if one.is_dir())


def _cell_of(parts: list[Part]) -> str | None:
    row = next((row for part in parts for row in part.rows), None)
    return None if row is None else f"{row['method']}.{row['preset']}.{row['dataset']}"


def _pictures(found: Checked, store: Store, cell: str, parts: list[Part], seen: set[Path]) -> None:
    """Check pictures and masks by the sha256 in the rows that were scored from them."""
    for row in (row for part in parts for row in part.rows if row["status"] == "ok"):
        edit = Edit(row["edit"], row["strength"]) if "edit" in row else None
        for kind, column, path in (
            ("pictures", "picture", store.picture(cell, row["image"], edit)),
            ("masks", "mask", store.mask(cell, row["image"])),
        ):
            if row.get(column) is not None:
                seen.add(path)
                _compare(found, kind, path, file_digest(path) == row[column])


def _compare(found: Checked, kind: str, path: Path, same: bool) -> None:
    state = WHOLE if same else DAMAGED if path.exists() else MISSING
    said = f"expected the file that was written, found {'another' if path.exists() else 'none'}"
    found.note(kind, state, f"{path}: {said}; {AGAIN}")


def _features(found: Checked, store: Store, cell: str, parts: list[Part]) -> None:
    sets = {id for id, one in store.readable_json("manifest.json").get("metrics", {}).items() if one.get("kind") == "set"}
    known = set(store.feature_parts(cell))
    for part in parts:
        scored = any(row["status"] == "ok" and "edit" not in row for row in part.rows)
        if scored and sets & set(part.metrics) and part.name not in known:
            found.note("features", MISSING, f"{cell}: features of the part {part.name}: {AGAIN}")
    for name in sorted(known - {part.name for part in parts}):
        if not list(store.path.glob(f"rows/*/{name}.parquet")):
            found.note("features", STRANGE, f"{cell}: features {name} belong to no part of rows; they are not read")


def _inputs(found: Checked, store: Store, cell: Cell, seen: set[Path]) -> None:
    for entry in cell.entries:
        path = store.input(cell.dataset, entry.name)
        if path in seen or (entry.sha256 is None and not path.exists()):
            continue
        seen.add(path)
        digest = store.pixel_digest(path)
        _compare(found, "inputs", path, digest is not None and entry.sha256 in (None, digest))


def _unfinished(found: Checked, store: Store, cell: Cell, parts: list[Part]) -> None:
    """Report rows of the plan that no part holds."""
    held = {(row["image"], row.get("edit"), row.get("strength")) for part in parts for row in part.rows}
    edits = [(None, None), *((edit.name, float(edit.strength)) for edit in cell.asked)]
    lacking = sum((entry.name, *edit) not in held for entry in cell.entries for edit in edits)
    if lacking:
        found.note("rows", MISSING, f"{store.path / 'rows'}: {cell.id}: {lacking} rows of the plan; the next run makes them")


def _truths(found: Checked, store: Store, cells: list[Cell], seen: set[Path]) -> None:
    """Check true pictures and masks by the sha256 of their pixels, if the run recorded it; else whether they can be read."""
    own = {store.truth_mask(cell.dataset, entry.name) for cell in cells for entry in cell.entries}
    own |= {store.truth(cell.dataset, entry.name, edit) for cell in cells for entry in cell.entries for edit in cell.edits}
    expected: dict[Path, str] = {}
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        with suppress(InvbenchError):  # a record that cannot be read is reported with the other files of its kind
            expected |= {store.path / place: digest for place, digest in store.truths(dataset).items()}
    for path in sorted({path for path in own if path.exists()} | {*expected}):
        seen.add(path)
        digest = store.pixel_digest(path)
        _compare(found, "truths", path, digest is not None and digest == expected.get(path, digest))


def _copies(found: Checked, store: Store, seen: set[Path]) -> None:
    """Check inputs and truths without a plan: only whether they are whole, not whether they belong to the run."""
    for top in ("inputs", "truths", "truth_masks"):
        for file in store.files(f"{top}/*/*.png"):
            seen.add(file)
            _compare(found, KINDS[top], file, store.pixel_digest(file) is not None)


def _statistics(found: Checked, path: Path, seen: set[Path]) -> None:
    for file in sorted(path.glob("statistics/*.json")):
        seen.add(file)
        try:
            head, _, body = file.read_bytes().partition(b"\n")
        except OSError:
            head = body = b""
        same = head.rpartition(b" ")[2] == hashlib.sha256(body).hexdigest().encode()
        found.note("statistics", WHOLE if same else DAMAGED, f"{file}: its sha256 is wrong; the next report makes it again")


def _strangers(found: Checked, path: Path, seen: set[Path]) -> None:
    for top in sorted(path.iterdir()):
        if top.name in _NOT_LOOKED_INTO:
            continue
        for file in sorted(one for one in top.rglob("*") if not one.is_dir()) if top.is_dir() and top.name in OWN else [top]:
            if file not in seen:
                kind = KINDS.get(top.name, "others")
                found.note(kind, STRANGE, f"{file}: belongs to nothing in the run; nothing reads it")


def lines(found: Checked) -> list[list[str | int]]:
    """One row for each kind of file: its name and the counts of the four STATES."""
    order = [*dict.fromkeys(KINDS.values()), "others"]
    return [[kind, *(found.counts[kind][state] for state in STATES)] for kind in order if kind in found.counts]
