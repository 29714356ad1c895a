"""Datasets of a run: find their prepared files, and open them here or in a worker process.

``invbench datasets prepare`` writes two files to ``INVBENCH_HOME/datasets``: ``ID.json``, with the folder of the files and a
summary, and ``ID.parquet`` with one row per picture (name, file, bytes, height, width, format, sha256). A run opens the
pictures listed there, and every picture must still have the prepared bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invbench.api import Dataset, InvbenchError, Member
from invbench.plugins.registry import load_class
from invbench.specs import DatasetSpec
from invbench.util.cache import caches, home

FORMAT = 1


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset: the content and the path of ``ID.json``."""

    path: Path  # of the JSON file
    header: dict[str, Any]

    @property
    def root(self) -> Path:
        """The folder of the files; stored relative to the JSON file if it lies beside it, so that both can be moved."""
        return (self.path.parent / self.header["root"]).absolute()

    @property
    def partial(self) -> str:
        """One line for a dataset that is not whole; "" for one that is."""
        count, expected = self.header["count"], self.header["expected"]
        return f"{self.header['id']}: only {count} of {expected} pictures were prepared" if self.header["partial"] else ""

    def rows(self) -> list[dict[str, Any]]:
        """One dict per picture. Raises InvbenchError if the table is missing, or is not the one that the JSON file names."""
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
    """How to build a dataset, in plain values, so that a worker process can do it too."""

    entry: str  # "module:Class"
    arguments: dict[str, Any]
    stored: bool  # pictures are decoded from files, so worker processes pay off

    def open(self) -> Dataset:
        """Build the dataset in this process."""
        return load_class(self.entry)(**self.arguments)


def folders() -> list[Path]:
    """The folders searched for prepared datasets: the user's own first, then the shared ones."""
    return [folder / "datasets" for folder in (home(), *caches())]


def find_prepared(name: str) -> Prepared | None:
    """The dataset prepared under that id, or None. Raises InvbenchError if its file is broken."""
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
    """The prepared files of a dataset. Raises InvbenchError with the command to run if there are none."""
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
    """How to build a dataset. Raises InvbenchError if it needs files that are not prepared."""
    if not spec.home:
        return Opening(spec.entry, dict(spec.options), stored="root" in spec.options)
    found = prepared(spec)
    return Opening(spec.entry, {"root": str(found.root), "members": found.members(), **spec.options}, stored=True)


def open_dataset(spec: DatasetSpec) -> Dataset:
    """Build a dataset in this process. Raises InvbenchError if it cannot be built."""
    return build(spec.id, opening(spec))


def build(name: str, how: Opening) -> Dataset:
    """Build a dataset. Raises InvbenchError, naming the dataset, for options that its class refuses."""
    try:
        return how.open()
    except TypeError as error:
        shown = {key: value for key, value in how.arguments.items() if key != "members"}
        raise InvbenchError(f"dataset {name}: cannot be built with options {shown}: {error}") from error


def provenance(spec: DatasetSpec) -> dict[str, Any]:
    """A dataset's entry in a run's manifest: its table of hashes, and how many pictures of how many."""
    if not spec.home:
        return {}
    header = prepared(spec).header
    return {key: header[key] for key in ("id", "layout", "count", "expected", "partial", "sha256", "prepared")}
