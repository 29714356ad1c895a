"""The run folder: Parquet parts, features, pictures and manifests, each written whole or not at all.

    manifest.json                       where the numbers come from
    plan.json                           cells, their images and keys
    rows/<cell>/<part>.parquet          one row per image, and one per image and edit
    features/<cell>/<part>.safetensors  features of the set metrics, float32 [n, F], for the images of the part
    images/<cell>/<image>.png           reconstructions; <image>@<edit><strength>.png are edits
    masks/<cell>/<image>.png            domain masks as grey levels, where the method has them
    inputs/<dataset>/<image>.png        the originals
    truths/<dataset>/<image>.png        the true edited pictures, named as the edits are, where the dataset knows them
    truth_masks/<dataset>/<image>.png   the true domain masks as grey levels (white = in-domain), likewise
    sets.parquet                        values of the set metrics, with interval, bias and n
    latency/<method>-<key>.parquet      times of the latency pass, one row per picture, and one per picture and edit

A part of rows is written after its pictures and its features, so wherever there is a row, all it was scored from is there.
Reading never imports torch.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy

from invbench.api import Edit, InvbenchError
from invbench.util.files import file_name, write_atomic

TEXT = ("key", "recipe", "suite", "method", "preset", "dataset", "image", "edit", "status", "reason")
COUNTS = ("index", "batch")
SCHEMA = pa.schema(
    [*((name, pa.string()) for name in TEXT), *((name, pa.int64()) for name in COUNTS), ("strength", pa.float64())]
)
_LATENCY_TEXT = ("key", "recipe", "suite", "method", "preset", "dataset", "image", "edit", "status", "reason", "machine")
LATENCY = pa.schema(
    [
        *((name, pa.string()) for name in _LATENCY_TEXT),
        *((name, pa.int64()) for name in ("index", "warmup")),
        ("strength", pa.float64()),
    ]
)
SETS = pa.schema(
    [
        *((name, pa.string()) for name in ("suite", "method", "preset", "dataset", "metric", "reason", "key")),
        *((name, pa.float64()) for name in ("value", "low", "high", "bias")),
        ("n", pa.int64()),
    ]
)
ORDER = "suite, dataset, method, preset, index, edit NULLS FIRST, strength"
PARTS = ("rows", "features", "images", "masks", "inputs", "truths", "truth_masks", "latency", "superseded", "report")
OWN = (*PARTS, "sets.parquet", "manifest.json", "plan.json")
_METRICS = b"invbench.metrics"


@dataclass(frozen=True)
class Part:
    """One file of rows: its name without suffix, its rows, and the recipe digest of every metric that it holds."""

    name: str
    rows: list[dict[str, Any]]
    metrics: dict[str, str]


class Store:
    """A run folder, for the runner that writes it and for everything that reads it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    # -- reading ----------------------------------------------------------------------------------------------------
    def rows(self) -> pd.DataFrame:
        """All rows in an order that does not depend on how the run went; metrics are float64 columns."""
        return self.query(f"SELECT * FROM rows ORDER BY {ORDER}")

    def query(self, sql: str) -> pd.DataFrame:
        """The answer of DuckDB to a query over the views ``rows`` and ``sets``, and ``latency`` where that was measured."""
        with duckdb.connect() as connection:
            parts = sorted((self.path / "rows").glob("*/*.parquet"))
            connection.register("no_rows", SCHEMA.empty_table())
            connection.execute(f"CREATE VIEW rows AS SELECT * FROM {_parquet(parts) if parts else 'no_rows'}")
            times = sorted((self.path / "latency").glob("*.parquet"))
            if times:
                connection.execute(f"CREATE VIEW latency AS SELECT * FROM {_parquet(times)}")
            sets = self.path / "sets.parquet"
            if sets.exists():
                connection.register("sets", pq.read_table(sets))
            return connection.execute(sql).df()

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest. Raises InvbenchError where the folder holds no run."""
        return self._read_json("manifest.json")

    @property
    def plan(self) -> dict[str, Any]:
        """The run's plan. Raises InvbenchError where the folder holds no run."""
        return self._read_json("plan.json")

    def sets(self) -> list[dict[str, Any]]:
        """Values of the set metrics, None where a column has none; rows of older runs lack some columns."""
        path = self.path / "sets.parquet"
        if not path.exists():
            return []
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise InvbenchError(f"{path}: expected the set metrics of a run, found an unreadable file: {error}") from error
        return [dict.fromkeys(SETS.names) | row for row in table.to_pylist()]

    def exists(self) -> bool:
        return (self.path / "plan.json").exists()

    def picture(self, cell: str, image: str, edit: Edit | None = None) -> Path:
        """Where the picture of a reconstruction (or of an edit) of an image is."""
        tag = "" if edit is None else f"@{file_name(edit.name)}{edit.strength:+g}"
        return self.path / "images" / file_name(cell) / f"{file_name(image)}{tag}.png"

    def mask(self, cell: str, image: str) -> Path:
        return self.path / "masks" / file_name(cell) / f"{file_name(image)}.png"

    def input(self, dataset: str, image: str) -> Path:
        return self.path / "inputs" / file_name(dataset) / f"{file_name(image)}.png"

    def truth(self, dataset: str, image: str, edit: Edit) -> Path:
        """Where the true edited picture of an image is, if the dataset knows it."""
        tag = f"@{file_name(edit.name)}{edit.strength:+g}"
        return self.path / "truths" / file_name(dataset) / f"{file_name(image)}{tag}.png"

    def truth_mask(self, dataset: str, image: str) -> Path:
        return self.path / "truth_masks" / file_name(dataset) / f"{file_name(image)}.png"

    def latency(self) -> pd.DataFrame:
        """Rows of the latency pass; without any where none was made. ``latency.*`` are seconds of a picture alone."""
        if not any((self.path / "latency").glob("*.parquet")):
            return pd.DataFrame(columns=LATENCY.names)
        return self.query("SELECT * FROM latency ORDER BY method, preset, machine, index, edit NULLS FIRST")

    def parts(self, cell: str) -> list[Part]:
        """The parts of a cell in the order of their images."""
        return [self._read_part(path) for path in sorted(self._folder("rows", cell).glob("*.parquet"))]

    def features(self, cell: str, part: str) -> tuple[dict[str, np.ndarray], list[str], dict[str, str]]:
        """Features by name (float32 [n, F]), the n image names, and the recipe digest of each feature."""
        path = self._features_path(cell, part)
        if not path.exists():
            return {}, [], {}
        try:
            with safetensors.safe_open(path, framework="numpy") as handle:
                metadata = handle.metadata()
                values = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
            return values, json.loads(metadata["images"]), json.loads(metadata["recipes"])
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InvbenchError(f"{path}: expected features of a run, found an unreadable file: {error}") from error

    def feature_parts(self, cell: str) -> list[str]:
        """Names of the feature files of a cell."""
        return sorted(path.stem for path in self._folder("features", cell).glob("*.safetensors"))

    # -- writing ----------------------------------------------------------------------------------------------------
    def write_part(self, cell: str, part: Part) -> None:
        """Write rows, in their order; a row that lacks a column of another has a null there."""
        names = list(dict.fromkeys(name for row in part.rows for name in row))
        extra = sorted(name for name in names if name not in SCHEMA.names)
        schema = pa.schema([*SCHEMA, *((name, pa.float64()) for name in extra)])
        metadata = {_METRICS: json.dumps(part.metrics, sort_keys=True).encode()}
        table = pa.Table.from_pylist(part.rows, schema=schema.with_metadata(metadata))
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_atomic(self._folder("rows", cell) / f"{part.name}.parquet", buffer.getvalue())

    def write_features(
        self, cell: str, part: str, *, features: Mapping[str, np.ndarray], images: Sequence[str], recipes: Mapping[str, str]
    ) -> None:
        """Write features [n, F] by name for n images, with the recipe digest of each feature."""
        for name, value in features.items():
            if value.ndim != 2 or value.shape[0] != len(images):
                raise InvbenchError(f"feature {name!r}: expected [{len(images)}, F], found shape {value.shape}")
        plain = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in sorted(features.items())}
        metadata = {"images": json.dumps(list(images)), "recipes": json.dumps(dict(recipes), sort_keys=True)}
        write_atomic(self._features_path(cell, part), safetensors.numpy.save(plain, metadata))

    def write_sets(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the values of the set metrics."""
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=SETS), buffer)
        write_atomic(self.path / "sets.parquet", buffer.getvalue())

    def write_latency(self, name: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one method's rows of the latency pass; ``key`` says what they depend on."""
        times = sorted({column for row in rows for column in row} - set(LATENCY.names))
        schema = pa.schema([*LATENCY, *((column, pa.float64()) for column in times)])
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), buffer)
        write_atomic(self._latency_path(name, key), buffer.getvalue())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace ``manifest.json`` or ``plan.json``."""
        write_atomic(self.path / name, (json.dumps(_plain(content), indent=1, sort_keys=True) + "\n").encode())

    def set_aside(self, cell: str, keys: Iterable[str], *, keep: bool) -> int:
        """Take rows out of a cell; with ``keep`` they go to ``superseded/``. Returns how many were found."""
        wanted, moved = set(keys), 0
        for part in self.parts(cell):
            out = [row for row in part.rows if row["key"] in wanted]
            if not out:
                continue
            moved += len(out)
            path = self._folder("rows", cell) / f"{part.name}.parquet"
            if keep:
                buffer = io.BytesIO()
                pq.write_table(pa.Table.from_pylist(out), buffer)
                write_atomic(self._folder("superseded", cell) / f"{part.name}.parquet", buffer.getvalue())
            left = [row for row in part.rows if row["key"] not in wanted]
            if left:
                self.write_part(cell, Part(part.name, left, part.metrics))
            else:
                path.unlink()
                self._features_path(cell, part.name).unlink(missing_ok=True)
        return moved

    def clear(self) -> None:
        """Remove an earlier run from the folder, the plan last. Nothing that is not a run's is touched."""
        for name in OWN:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    # -- inside -----------------------------------------------------------------------------------------------------
    def _folder(self, kind: str, cell: str) -> Path:
        return self.path / kind / file_name(cell)

    def _latency_path(self, name: str, key: str) -> Path:
        return self.path / "latency" / f"{file_name(name)}-{key[:16]}.parquet"

    def _features_path(self, cell: str, part: str) -> Path:
        return self._folder("features", cell) / f"{part}.safetensors"

    def _read_part(self, path: Path) -> Part:
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise InvbenchError(f"{path}: expected a part of a run, found an unreadable file: {error}") from error
        metadata = table.schema.metadata or {}
        # A null says "not asked for in this row"; leaving it out keeps it apart from NaN, "not covered".
        rows = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
        return Part(path.stem, rows, json.loads(metadata.get(_METRICS, b"{}")))

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InvbenchError(f"{path}: expected a run folder with this file in it, found none") from None
        except (OSError, ValueError) as error:
            raise InvbenchError(f"{path}: expected JSON, found something else: {error}") from error


def _parquet(paths: Sequence[Path]) -> str:
    files = ", ".join(f"'{str(path).replace(chr(39), chr(39) * 2)}'" for path in paths)
    return f"read_parquet([{files}], union_by_name=true)"


def _plain(value: Any) -> Any:
    """JSON has no infinities and no paths: they are written as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
