"""``invbench datasets prepare`` and ``verify``: inspect every picture of a dataset once and record it.

Rows of finished pictures are kept in ``ID.partial/`` during the work; the next call reuses those whose file has not changed. A
dataset is ready only after every picture was read, decoded and checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from invbench.api import InvbenchError, StoredDataset
from invbench.data.sources import FORMAT, Opening, build, folders, prepared
from invbench.data.workers import Calls
from invbench.specs import DatasetSpec
from invbench.util.cache import home
from invbench.util.files import write_all, write_atomic
from invbench.util.progress import Progress

CHUNK = 512  # pictures whose rows are written together
AHEAD = 64  # inspections that wait; they are small
COLUMNS = ("name", "file", "bytes", "height", "width", "format", "sha256")


@dataclass(frozen=True)
class Report:
    """The result for a dataset. ``problems``: kind -> one line per picture; empty = no problem."""

    id: str
    root: Path
    layout: str
    count: int
    expected: int | None
    bytes: int = 0
    compared: int = 0  # pictures whose published md5 was compared
    formats: dict[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    problems: dict[str, list[str]] = field(default_factory=dict)
    partial: bool = False


def default_root(name: str) -> Path:
    """The default folder of a dataset's files: ``datasets/ID`` in INVBENCH_HOME or a shared cache."""
    return next((folder / name for folder in folders() if (folder / name).is_dir()), folders()[0] / name)


def prepare(spec: DatasetSpec, root: Path | None, *, workers: int, partial: bool = False, progress: bool = True) -> Report:
    """Inspect every picture, and write the manifest if there is no problem.

    root     None = :func:`default_root`
    partial  True: missing pictures are no problem; the manifest records that the dataset is not whole
    Raises InvbenchError if the root holds no known layout, or a file cannot be written.
    """
    root = (root or default_root(spec.home)).expanduser().absolute()
    dataset = build(spec.id, Opening(spec.entry, {"root": str(root), **spec.options}, stored=True))
    if not isinstance(dataset, StoredDataset):
        raise InvbenchError(f"dataset {spec.id}: its class offers nothing to prepare (see invbench.api.StoredDataset)")
    problems: dict[str, list[str]] = defaultdict(list)
    problems["missing"] += dataset.missing
    if spec.size is not None and len(dataset.names) != spec.size and not dataset.missing:
        problems["wrong count"].append(f"expected {spec.size} pictures, found {len(dataset.names)}")
    if partial:
        problems.clear()
    repeated = [name for name, times in Counter(dataset.names).items() if times > 1]
    problems["names that occur twice"] += repeated
    rows, compared = _inspect(spec, dataset, root, problems, workers=workers, progress=progress)
    report = Report(
        id=spec.id,
        root=root,
        layout=dataset.layout,
        count=len(dataset.names),
        expected=spec.size,
        bytes=sum(row["bytes"] for row in rows),
        compared=compared,
        formats=dict(Counter(row["format"] for row in rows)),
        notes=list(dataset.notes),
        problems={kind: lines for kind, lines in problems.items() if lines},
        partial=partial and (bool(dataset.missing) or len(rows) != (spec.size or len(rows))),
    )
    _finish(report, rows)
    return report


def verify(spec: DatasetSpec, *, workers: int, progress: bool = True) -> Report:
    """Read every prepared picture again and compare its sha256. Raises InvbenchError if the dataset is not prepared."""
    found = prepared(spec)
    members = found.members()
    how = Opening(spec.entry, {"root": str(found.root), "members": members, **spec.options}, stored=True)
    problems: dict[str, list[str]] = defaultdict(list)
    with Progress(enabled=progress) as bar, Calls(how, "check", range(len(members)), workers=workers, ahead=AHEAD) as calls:
        bar.begin(len(members))
        bar.cell(f"{spec.home}: verify")
        total = 0
        for member, (size, error) in zip(members, calls, strict=True):
            bar.done(1)
            total += size or 0
            if error is not None:
                problems["changed or missing"].append(_line(member.name, error))
    header = found.header
    return Report(
        spec.home, found.root, header["layout"], len(members), header["expected"], total, problems=dict(problems)
    )


def problem_file(name: str) -> Path:
    """The file that lists all problems of a dataset that is not ready."""
    return home() / "datasets" / f"{name}.problems.txt"


def _inspect(
    spec: DatasetSpec,
    dataset: StoredDataset,
    root: Path,
    problems: dict[str, list[str]],
    *,
    workers: int,
    progress: bool,
) -> tuple[list[dict[str, Any]], int]:
    """Rows of the pictures without problems, in order, and the number of published md5s that agreed."""
    journal = _Journal(home() / "datasets" / f"{spec.id}.partial", root)
    known = journal.rows()
    members = dataset.members
    stamps = [dataset.stamp(index) for index in range(len(members))]
    done = {index: known[member.file] for index, member in enumerate(members) if _same(known, member.file, stamps[index])}
    left = [index for index in range(len(members)) if index not in done]
    # The parent's members, so that no worker searches the root again.
    how = Opening(spec.entry, {"root": str(root), "members": list(members), **spec.options}, stored=True)
    with Progress(enabled=progress) as bar:
        bar.begin(len(members))
        bar.cell(f"{spec.id}: prepare")
        bar.done(len(done))
        with Calls(how, "inspect", left, workers=workers, ahead=AHEAD) as calls:
            for chunk in (left[first : first + CHUNK] for first in range(0, len(left), CHUNK)):
                started, fresh = perf_counter(), {}
                for index in chunk:
                    found, error = calls.take()
                    bar.done(1)
                    if error is not None:
                        problems["broken"].append(_line(members[index].name, error))
                    else:
                        fresh[index] = {"stamp": stamps[index], "file": members[index].file, **asdict(found)}
                journal.add(list(fresh.values()))
                done |= fresh
                bar.done(0, seconds=(perf_counter() - started) / len(chunk))
    rows = [{"name": members[index].name, **done[index]} for index in sorted(done)]
    return rows, sum(row["md5"] for row in rows)


def _same(known: dict[str, dict[str, Any]], file: str, stamp: str) -> bool:
    return bool(stamp) and file in known and known[file]["stamp"] == stamp


def _line(name: str, error: Exception) -> str:
    text = str(error) if isinstance(error, InvbenchError) else f"{type(error).__name__}: {error}"
    return f"{name}: {text}"


def _finish(report: Report, rows: Sequence[dict[str, Any]]) -> None:
    """Write the manifest of a ready dataset, else the list of its problems."""
    folder = home() / "datasets"
    listed = problem_file(report.id)
    if report.problems:
        lines = [f"{kind}: {line}" for kind, found in report.problems.items() for line in found]
        write_atomic(listed, "\n".join([*lines, ""]).encode())
        return
    if not rows:
        raise InvbenchError(f"{report.root}: expected pictures of {report.id}, found none")
    table = _table(rows)
    header: dict[str, Any] = {
        "format": FORMAT,
        "id": report.id,
        "root": _portable(report.root, folder),
        "layout": report.layout,
        "count": len(rows),
        "expected": report.expected if report.expected is not None else len(rows),
        "partial": report.partial,
        "bytes": report.bytes,
        "formats": report.formats,
        "md5_compared": report.compared,
        "notes": list(report.notes),
        "table": f"{report.id}.parquet",
        "sha256": hashlib.sha256(table).hexdigest(),
        "prepared": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    content = {folder / header["table"]: table, folder / f"{report.id}.json": json.dumps(header, indent=1).encode() + b"\n"}
    write_all(content)
    listed.unlink(missing_ok=True)
    shutil.rmtree(folder / f"{report.id}.partial", ignore_errors=True)


def _portable(root: Path, folder: Path) -> str:
    return root.relative_to(folder).as_posix() if root.is_relative_to(folder) else str(root)


def _table(rows: Iterable[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{name: row[name] for name in COLUMNS} for row in rows]), buffer)
    return buffer.getvalue()


class _Journal:
    """Rows of pictures that are done, in a folder of small JSON files, each written whole."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root

    def rows(self) -> dict[str, dict[str, Any]]:
        """Rows by file. Rows of another root and unreadable files are left out, so their pictures are inspected again."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if content["root"] == str(self._root):
                    found |= {row["file"]: row for row in content["rows"]}
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            name = hashlib.sha256(rows[0]["file"].encode()).hexdigest()[:16]
            data = json.dumps({"root": str(self._root), "rows": list(rows)}).encode()
            write_atomic(self._folder / f"{name}.json", data)
