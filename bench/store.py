"""The run folder: Parquet parts, features, pictures and manifests, each written whole or not at all.

A part of rows is written after its pictures and its features, so every row has the files that it was scored from.
Reading never imports torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from invbench import columns
from invbench.api import Edit, InvbenchError, printable
from invbench.described import MANIFEST, PLAN
from invbench.folder import OWN, Folder
from invbench.schema import CURVES, ORDER, POINTS, ROWS, SETS, TIMES
from invbench.util import sealed
from invbench.util.files import WriteFailed, write_atomic
from invbench.util.images import MOST_PIXELS, read_png
from invbench.util.shapes import TEXT, Each, Shape, expect

_METRICS, _FAILURES = b"invbench.metrics", b"invbench.failures"
_PART, _FEATURES, _TIMES, _SETS = "a part of a run", "features of a run", "times of a run", "the set metrics of a run"
_CURVES = "curves of a run"
_TRUTHS = "the sha256 of true pictures"
_JSON = {"plan.json": "the plan", "manifest.json": "the manifest"}


@dataclass(frozen=True)
class Part:
    """One file of rows.

    name      of the file, without suffix
    metrics   metric -> recipe digest, of every metric whose values are there
    failures  metric -> why it raised, of every metric that has to be tried again
    """

    name: str
    rows: list[dict[str, Any]]
    metrics: dict[str, str]
    failures: dict[str, str] = field(default_factory=dict)


class Store(Folder):
    """A run folder, for the runner that writes it and for everything that reads it."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._most: int | None = None  # pixels of a picture, as the plan says; None before it is asked for

    # -- reading ----------------------------------------------------------------------------------------------------
    def rows(self) -> pd.DataFrame:
        """All rows in an order that does not depend on how the run went; metrics are float64 columns."""
        return self.query(f"SELECT * FROM rows ORDER BY {ORDER}")

    def rows_without(self, names: Container[str]) -> pa.Table:
        """All rows but for some columns, cell by cell in no further order: much less memory than :meth:`rows`."""
        return columns.together(self.files("rows/*/*.parquet"), _PART, empty=ROWS, without=names)

    def query(self, sql: str) -> pd.DataFrame:
        """The answer of DuckDB to a query over the views ``rows``, ``sets``, ``latency`` and ``curves``, those that there are.

        Raises InvbenchError naming a file that cannot be read.
        """
        with duckdb.connect() as connection:
            connection.register("rows", columns.together(self.files("rows/*/*.parquet"), _PART, empty=ROWS))
            times = self.files("latency/*.parquet")
            if times:
                connection.register("latency", columns.together(times, _TIMES, empty=TIMES))
            curves = self.files("curves/*/*.parquet")
            if curves:
                connection.register("curves", columns.together(curves, _CURVES, empty=CURVES))
            if self.has_sets():
                connection.register("sets", self._read_sets())
            return connection.execute(sql).df()

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest. Raises InvbenchError where the folder holds no run."""
        return self._read_json("manifest.json", MANIFEST)

    @property
    def plan(self) -> dict[str, Any]:
        """The run's plan. Raises InvbenchError where the folder holds no run."""
        return self._read_plan()

    def has_sets(self) -> bool:
        """Whether the folder holds values of set metrics."""
        return (self.path / "sets.parquet").exists()

    def sets(self) -> list[dict[str, Any]]:
        """Values of the set metrics, None where a column has none; rows of older runs lack some columns."""
        return [dict.fromkeys(SETS.names) | row for row in self._read_sets().to_pylist()] if self.has_sets() else []

    def exists(self) -> bool:
        """Whether the folder holds a run, that is, a plan."""
        return (self.path / "plan.json").exists()

    def has_run(self) -> bool:
        """Whether a folder without a plan is a run folder: it has a readable manifest or part."""
        if self.readable_json("manifest.json"):
            return True
        for path in self.files("rows/*/*.parquet"):
            with suppress(InvbenchError):
                return bool(_read_part(path).rows)
        return False

    def read_picture(self, path: Path) -> np.ndarray:
        """A picture or mask of the run, uint8 [H, W, 3] or [H, W]; it is not larger than the largest original of the plan.

        Raises InvbenchError as :func:`invbench.util.images.read_png` does.
        """
        if self._most is None:
            cells = self.readable_json("plan.json").get("cells", {})
            pixels = [image.get("pixels", 0) for cell in cells.values() for image in cell["images"]]
            # A run folder of the time before plans named sizes, or one without its plan, has the bound of all runs.
            known = pixels and all(type(one) is int and one > 0 for one in pixels)
            self._most = min(max(pixels), MOST_PIXELS) if known else MOST_PIXELS
        return read_png(path, most=self._most)

    def pixel_digest(self, path: Path) -> str | None:
        """sha256 of the pixels of a picture; None if it is missing, damaged, or larger than the plan says."""
        try:
            return hashlib.sha256(self.read_picture(path).tobytes()).hexdigest()
        except InvbenchError:
            return None

    def truths(self, dataset: str) -> dict[str, str]:
        """sha256 of the pixels of the true pictures and masks of a dataset, by their paths in the folder; empty if unknown."""
        path = self.truth_digests(dataset)
        return _read_truths(path) if path.exists() else {}

    def latency(self) -> pd.DataFrame:
        """Rows of the latency pass; empty if there was none. ``latency.*`` are seconds for a picture processed alone."""
        if not self.files("latency/*.parquet"):
            return pd.DataFrame(columns=TIMES.names)
        return self.query("SELECT * FROM latency ORDER BY method, preset, machine, index, edit NULLS FIRST")

    def curves(self) -> pd.DataFrame:
        """The points of the curves of all finished inversions, in order; empty if none were recorded. Metrics are columns.

        Points of rows that were set aside, and of earlier tries, are left out.
        """
        return self.query(POINTS) if self.files("curves/*/*.parquet") else pd.DataFrame(columns=CURVES.names)

    def parts(self, cell: str) -> list[Part]:
        """The parts of a cell in the order of their images."""
        return [_read_part(path) for path in sorted(self.rows_folder(cell).glob("*.parquet"))]

    def whole_parts(self, folder: str) -> list[Part]:
        """The parts in a folder below ``rows`` that can be read."""
        found = []
        for path in sorted((self.path / "rows" / folder).glob("*.parquet")):
            with suppress(InvbenchError):
                found.append(_read_part(path))
        return found

    def failures(self) -> dict[str, dict[str, Any]]:
        """Metric -> ``count``, the number of values missing because it raised, and the last ``reason``, over all cells."""
        found: dict[str, dict[str, Any]] = {}
        for part in (_read_part(path) for path in self.files("rows/*/*.parquet")):
            for id, reason in part.failures.items():
                per_image = any(id in row for row in part.rows)  # a set metric has no column, and owes its features
                owed = sum(math.isnan(row.get(id, 0.0)) if per_image else "edit" not in row for row in part.rows)
                found[id] = {"count": found.get(id, {"count": 0})["count"] + owed, "reason": reason}
        return found

    def stands(self, row: Mapping[str, Any], cell: str) -> bool:
        """Whether the pictures that a finished row was scored from exist and are unchanged."""
        edit = Edit(row["edit"], row["strength"]) if row.get("edit") is not None else None
        files = {"picture": self.picture(cell, row["image"], edit), "mask": self.mask(cell, row["image"])}
        return all(row.get(kind) is None or file_digest(path) == row[kind] for kind, path in files.items()) and (
            row.get("picture") is not None or files["picture"].exists()  # older rows do not have their picture's digest
        )

    def features(self, cell: str, part: str) -> tuple[dict[str, np.ndarray], list[str], dict[str, str]]:
        """Features by name (float32 [n, F]), the n image names, and the recipe digest of each feature."""
        path = self.features_path(cell, part)
        if not path.exists():
            return {}, [], {}
        return _read_features(path)

    def feature_parts(self, cell: str) -> list[str]:
        """Names of the feature files of a cell."""
        return sorted(path.stem for path in self.features_path(cell, "x").parent.glob("*.safetensors"))

    def readers(self) -> Iterator[tuple[Path, Callable[[], Any]]]:
        """Every file of the run that says itself whether it is whole, and what reads it or raises InvbenchError."""
        for name in filter(lambda name: (self.path / name).exists(), _JSON):
            yield self.path / name, partial(getattr, self, name.removesuffix(".json"))
        for path in self.files("rows/*/*.parquet"):
            yield path, partial(_read_part, path)
        for path in self.files("features/*/*.safetensors"):
            yield path, partial(_read_features, path)
        for path in self.files("latency/*.parquet"):
            yield path, partial(columns.read, path, _TIMES, TIMES)
        for path in self.files("truths/*.json"):
            yield path, partial(_read_truths, path)
        for path in self.files("curves/*/*.parquet"):
            yield path, partial(columns.read, path, _CURVES, CURVES)
        if self.has_sets():
            yield self.path / "sets.parquet", self._read_sets

    # -- writing ----------------------------------------------------------------------------------------------------
    def write_part(self, cell: str, part: Part) -> None:
        """Write rows in their order; a column that a row lacks is null."""
        names = list(dict.fromkeys(name for row in part.rows for name in row))
        extra = sorted(name for name in names if name not in ROWS.names)
        schema = pa.schema([*ROWS, *((name, pa.float64()) for name in extra)])
        notes = {_METRICS: part.metrics, _FAILURES: part.failures}
        metadata = {name: json.dumps(note, sort_keys=True).encode() for name, note in notes.items()}
        rows = [{name: _plain(value) if isinstance(value, str) else value for name, value in row.items()} for row in part.rows]
        table = pa.Table.from_pylist(rows, schema=schema.with_metadata(metadata))
        write_atomic(self.rows_folder(cell) / f"{part.name}.parquet", sealed.table_bytes(table))

    def write_features(
        self, cell: str, part: str, *, features: Mapping[str, np.ndarray], images: Sequence[str], recipes: Mapping[str, str]
    ) -> None:
        """Write features [n, F] by name for n images, with the recipe digest of each feature."""
        for name, value in features.items():
            if value.ndim != 2 or value.shape[0] != len(images):
                raise InvbenchError(f"feature {name!r}: expected [{len(images)}, F], found shape {value.shape}")
        plain = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in sorted(features.items())}
        metadata = {"images": json.dumps(list(images)), "recipes": json.dumps(dict(recipes), sort_keys=True)}
        write_atomic(self.features_path(cell, part), sealed.tensors_bytes(plain, metadata))

    def write_sets(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the values of the set metrics."""
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=SETS)
        write_atomic(self.path / "sets.parquet", sealed.table_bytes(table))

    def write_latency(self, name: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one method's rows of the latency pass; ``key`` is the digest of all that they depend on."""
        write_atomic(self.latency_path(name, key), columns.table_bytes(rows, TIMES))

    def write_curves(self, cell: str, part: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the points of the curves of a part; ``rows`` have the columns of :data:`invbench.schema.CURVES` and metrics."""
        write_atomic(self.curves_path(cell, part), columns.table_bytes(rows, CURVES))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace ``manifest.json`` or ``plan.json``."""
        self._most = None
        write_atomic(self.path / name, sealed.json_bytes(_plain(content)))

    def write_truths(self, dataset: str, digests: Mapping[str, str]) -> None:
        """Replace what :meth:`truths` reads."""
        write_atomic(self.truth_digests(dataset), sealed.json_bytes({"pixels": dict(digests)}))

    def set_aside(self, cell: str, keys: Iterable[str], *, keep: bool) -> int:
        """Remove rows from a cell; with ``keep`` they are moved to ``superseded/``. Returns how many were found."""
        wanted, moved = set(keys), 0
        for part in self.parts(cell):
            out = [row for row in part.rows if row["key"] in wanted]
            if not out:
                continue
            moved += len(out)
            path = self.rows_folder(cell) / f"{part.name}.parquet"
            if keep:
                aside = self.path / "superseded" / self.rows_folder(cell).name / f"{part.name}.parquet"
                write_atomic(aside, sealed.table_bytes(pa.Table.from_pylist(out)))
            left = [row for row in part.rows if row["key"] not in wanted]
            if left:
                self.write_part(cell, Part(part.name, left, part.metrics, part.failures))
            else:
                path.unlink()
                self.features_path(cell, part.name).unlink(missing_ok=True)
                self.curves_path(cell, part.name).unlink(missing_ok=True)
        return moved

    def set_broken_aside(self) -> list[str]:
        """Move files that cannot be read into ``superseded/broken``. Returns a line on each.

        The plan and the manifest are copied there: a run replaces them, and until then the folder must not be without a plan.
        """
        lines = []
        for path, read in self.readers():
            try:
                read()
            except InvbenchError as error:
                aside = self.path / "superseded" / "broken" / path.relative_to(self.path)
                try:
                    aside.parent.mkdir(parents=True, exist_ok=True)
                    if path.name in _JSON and path.is_file():
                        shutil.copyfile(path, aside)
                    else:
                        path.replace(aside)
                except OSError as refused:
                    raise WriteFailed(f"{aside}: could not be written: {refused.strerror or refused}") from refused
                lines.append(f"{error}; it is set aside in superseded/broken")
        return lines

    def readable_json(self, name: str) -> dict[str, Any]:
        """``plan.json`` or ``manifest.json``; empty where it is not there or cannot be trusted."""
        try:
            return self.plan if name == "plan.json" else self.manifest
        except InvbenchError:
            return {}

    def clear(self) -> None:
        """Remove an earlier run from the folder, the plan last. Files that no run wrote are left alone."""
        for name in OWN:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    # -- inside -----------------------------------------------------------------------------------------------------
    def _read_sets(self) -> pa.Table:
        return columns.together([self.path / "sets.parquet"], _SETS, empty=SETS)

    def _read_plan(self) -> dict[str, Any]:
        plan = self._read_json("plan.json", PLAN)
        for id, cell in plan["cells"].items():
            own = f"{cell['method']}.{cell['preset']}.{cell['dataset']}"
            if id != own:
                raise InvbenchError(f"{self.path / 'plan.json'}: cells.{id}: expected the name of its parts, {own}")
        return plan

    def _read_json(self, name: str, shape: Shape) -> dict[str, Any]:
        path = self.path / name
        if not path.exists():
            raise InvbenchError(f"{path}: expected a run folder with this file in it, found none")
        content = sealed.read_json(path, what=f"{_JSON[name]} of a run")
        expect(content, shape, f"{path}: {name.removesuffix('.json')}")
        return content


def file_digest(path: Path) -> str | None:
    """sha256 of a file's bytes; None where it cannot be read."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return None


def _read_truths(path: Path) -> dict[str, str]:
    found = sealed.read_json(path, what=_TRUTHS).get("pixels")
    if not isinstance(found, dict):
        raise InvbenchError(f"{path}: pixels: expected {_TRUTHS}, found {found!r:.80}")
    return found


def _read_part(path: Path) -> Part:
    table = columns.read(path, _PART, ROWS)
    metadata = table.schema.metadata or {}
    # A null says "not asked for in this row"; leaving it out keeps it apart from NaN, "not covered".
    rows = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    try:
        metrics, failures = (json.loads(metadata.get(name, b"{}")) for name in (_METRICS, _FAILURES))
    except (ValueError, RecursionError) as error:
        raise InvbenchError(f"{path}: expected {_PART}, found one whose metrics cannot be read: {error}") from error
    for notes in (metrics, failures):
        expect(notes, Each(dict, TEXT), f"{path}: metrics")
    return Part(path.stem, rows, metrics, failures)


def _read_features(path: Path) -> tuple[dict[str, np.ndarray], list[str], dict[str, str]]:
    values, metadata = sealed.read_tensors(path, what=_FEATURES)
    try:
        return values, json.loads(metadata["images"]), json.loads(metadata["recipes"])
    except (KeyError, ValueError) as error:
        raise InvbenchError(f"{path}: expected {_FEATURES}, found a file without their images and recipes") from error


def _plain(value: Any) -> Any:
    """JSON has no infinities and no paths: they are written as text, and text as every reader can print it."""
    if isinstance(value, Mapping):
        return {printable(key, lines=True): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str | Path):
        return printable(value, lines=True)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
