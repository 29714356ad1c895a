"""Datasets of a run: where their files were prepared, and how they are opened, here or in a worker process.

``invbench datasets prepare`` leaves two files in ``INVBENCH_HOME/datasets``: ``ID.json``, which says where the files lie and
what was found, and ``ID.parquet`` with one row a picture (name, file, bytes, height, width, format, sha256). A run opens what
these describe, and every picture must still have the bytes that were prepared.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invbench.api import Dataset, DatasetSpec, InvbenchError, Member
from invbench.plugins.registry import load_class
from invbench.util.cache import caches, home

FORMAT = 1


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset: the content of ``ID.json`` and where it lies."""

    path: Path  # of the JSON file
    header: dict[str, Any]

    @property
    def root(self) -> Path:
        """The folder of the files; written relative to the JSON file when it lies beside it, so that both can be moved."""
        return (self.path.parent / self.header["root"]).absolute()

    @property
    def partial(self) -> str:
        """One line for a dataset that is not whole; "" for one that is."""
        count, expected = self.header["count"], self.header["expected"]
        return f"{self.header['id']}: only {count} of {expected} pictures were prepared" if self.header["partial"] else ""

    def rows(self) -> list[dict[str, Any]]:
        """One dict a picture. Raises InvbenchError when the table is missing, or not the one that the JSON file names."""
        import pyarrow.parquet as pq

        table = self.path.parent / self.header["table"]
        try:
            data = table.read_bytes()
        except OSError as error:
            raise InvbenchError(f"{table}: expected the pictures of {self.path.name}: {error.strerror}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != self.header["sha256"]:
            raise InvbenchError(f"{table}: expected sha256 {self.header['sha256']} ({self.path.name}), found {found}")
        return pq.read_table(io.BytesIO(data)).to_pylist()

    def members(self) -> list[Member]:
        """The pictures in their order, with the sha256 that their bytes must have."""
        return [Member(row["name"], row["file"], sha256=row["sha256"]) for row in self.rows()]


@dataclass(frozen=True)
class Opening:
    """How a dataset is built; plain values, so that a worker process can do it too."""

    entry: str  # "module:Class"
    arguments: dict[str, Any]
    stored: bool  # its pictures are decoded from files, so reading is worth a process of its own

    def open(self) -> Dataset:
        return load_class(self.entry)(**self.arguments)


def folders() -> list[Path]:
    """Where prepared datasets are looked for: in the user's own folder first, then in the shared ones."""
    return [folder / "datasets" for folder in (home(), *caches())]


def find_prepared(name: str) -> Prepared | None:
    """The dataset prepared under that id, or None. Raises InvbenchError when its file is broken."""
    path = next((folder / f"{name}.json" for folder in folders() if (folder / f"{name}.json").is_file()), None)
    if path is None:
        return None
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}")
        for key, kind in {"id": str, "root": str, "table": str, "sha256": str, "count": int, "partial": bool}.items():
            if not isinstance(header[key], kind):
                raise TypeError(f"{key}: {header[key]!r}")
        if Path(header["table"]).name != header["table"]:
            raise ValueError(f"table: {header['table']!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvbenchError(f"{path}: expected what `invbench datasets prepare` writes: {error!r}") from error
    return Prepared(path, header)


def prepared(spec: DatasetSpec) -> Prepared:
    """The prepared files of a dataset; raises InvbenchError with the command to run when there are none."""
    found = find_prepared(spec.home)
    if found is None:
        raise InvbenchError(
            f"dataset {spec.id}: not prepared: expected {folders()[0] / spec.home}.json. Get the files from {spec.page}, then "
            f"run: invbench datasets prepare {spec.home} --root FOLDER"
        )
    if not found.root.is_dir():
        raise InvbenchError(
            f"dataset {spec.id}: its files were in {found.root}, which is no folder now; "
            f"run: invbench datasets prepare {spec.home} --root FOLDER"
        )
    return found


def opening(spec: DatasetSpec) -> Opening:
    """How to build a dataset. Raises InvbenchError when it needs files that are not prepared."""
    if not spec.home:
        return Opening(spec.entry, dict(spec.options), stored="root" in spec.options)
    found = prepared(spec)
    return Opening(spec.entry, {"root": str(found.root), "members": found.members(), **spec.options}, stored=True)


def open_dataset(spec: DatasetSpec) -> Dataset:
    """Build a dataset in this process. Raises InvbenchError when it cannot be."""
    return build(spec.id, opening(spec))


def build(name: str, how: Opening) -> Dataset:
    """Build a dataset; what its class does not take is an InvbenchError that names the dataset."""
    try:
        return how.open()
    except TypeError as error:
        shown = {key: value for key, value in how.arguments.items() if key != "members"}
        raise InvbenchError(f"dataset {name}: cannot be built with options {shown}: {error}") from error


def provenance(spec: DatasetSpec) -> dict[str, Any]:
    """What a run's manifest says of a dataset's files: which table of hashes, how many pictures of how many."""
    if not spec.home:
        return {}
    header = prepared(spec).header
    return {key: header[key] for key in ("id", "layout", "count", "expected", "partial", "sha256", "prepared")}
