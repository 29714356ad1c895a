"""The rows that the gate compares: those of a run folder or of a stored baseline, which is one Parquet file with provenance.

A baseline holds only what a comparison needs: the key of each row, the sha256 of its image, metrics, times and their
provenance. Metrics and memory are rounded to float32, an error far below any tolerance; a run is rounded in the same way
before it is compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from invbench import schema
from invbench.api import InvbenchError
from invbench.columns import categories
from invbench.compare.about import check
from invbench.store import Store
from invbench.util import sealed
from invbench.util.files import write_output

CELL = ["method", "preset", "dataset"]
KEYS = [*CELL, "image", "edit", "strength"]
FORMAT = 1
MACHINE = ("processor", "cores", "threads", "memory", "system", "device", "gpu")  # equal on the same machine
_SHOWN = 4  # names in a note
_ABOUT = b"invbench.baseline"
_TEXT = ("method", "preset", "dataset", "image", "edit", "sha256", "status", "reason")
_TEXTS = (pa.string(), pa.large_string(), pa.null())
_FIELDS = frozenset({*_TEXT, *schema.ROWS.names})
_UNUSED = ("key", "recipe", "suite", "index", "picture", "mask", "machine")
_SPEC = ("title", "kind", "better", "unit", "recipe")
_METHOD = ("title", "family", "options")
_MANIFEST = ("seed", "precision", "protocol", "started", "finished", "machine", "machines", "versions", "git")


@dataclass(frozen=True)
class Measured:
    """The rows of a run and their provenance.

    source   the folder or file, as the user named it
    rows     one row per image (``edit`` "" and ``strength`` 0) and one per image and edit; KEYS are unique. Beside them
             sha256 ("" where the picture could not be read), status, reason, batch, the metrics (float32), seconds.*
             and latency.* (float64) and memory.* (float32)
    sets     values of the set metrics: CELL, metric, value, n
    about    suite, seed, machine, versions, git, methods and metrics, as the run's manifest has them
    """

    source: str
    rows: pd.DataFrame
    sets: pd.DataFrame
    about: Mapping[str, Any]


def read(path: Path) -> Measured:
    """Read a run folder or a stored baseline. Raises InvbenchError naming the path if it is neither."""
    return of_run(path) if path.is_dir() else of_file(path)


def of_run(path: Path) -> Measured:
    """The rows of a run folder. Raises InvbenchError if it holds no run."""
    store = Store(path)
    manifest, plan = store.manifest, store.plan
    rows = _with_latency(_rows(store, plan), store)
    sets = pd.DataFrame(columns=[*CELL, "metric", "value", "n"])
    if store.has_sets():
        sets = store.query("SELECT method, preset, dataset, metric, value, n FROM sets WHERE value IS NOT NULL ORDER BY ALL")
    about: dict[str, Any] = {"format": FORMAT, "suite": plan["suite"]}
    about |= {name: manifest.get(name) for name in _MANIFEST}
    about["methods"] = {id: {key: one.get(key) for key in _METHOD} for id, one in manifest.get("methods", {}).items()}
    about["metrics"] = {id: {key: one.get(key) for key in _SPEC} for id, one in manifest.get("metrics", {}).items()}
    return Measured(str(path), tidy(rows, str(path)), sets, about)


def _rows(store: Store, plan: Mapping[str, Any]) -> pd.DataFrame:
    """The rows with the sha256 of their images; a million of them in less memory than a query takes."""
    table = store.rows_without(_UNUSED)
    hashes = {
        (cell["method"], cell["preset"], cell["dataset"], image["name"]): image["sha256"] or ""
        for cell in plan["cells"].values()
        for image in cell["images"]
    }
    found: dict[str, pd.Categorical] = {}
    columns: dict[str, Any] = {}
    for name in [name for name in _TEXT if name in table.column_names]:
        found[name] = categories(table[name])
        table = table.drop_columns([name])  # so that two copies of all are never held
        columns[name] = found[name].astype("str")
    image = np.zeros(len(table), dtype=np.int64)
    for name in (*CELL, "image"):
        image = image * len(found[name].categories) + found[name].codes
    _, first, numbers = np.unique(image, return_index=True, return_inverse=True)
    named = zip(*(found[name].take(first) for name in (*CELL, "image")), strict=True)
    columns["sha256"] = pd.array([hashes.get(key, "") for key in named], dtype="str").take(numbers)
    for name in table.column_names:
        values = table[name].to_numpy()
        rounded = values.dtype == np.float64 and (schema.is_metric(name) or schema.is_measure(name))
        columns[name] = values.astype(_kind(name), copy=False) if rounded else values
        table = table.drop_columns([name])
    return pd.DataFrame(columns, copy=False)


def of_file(path: Path) -> Measured:
    """The rows of a stored baseline; raises InvbenchError naming the file when it is not one."""
    if not path.exists():
        raise InvbenchError(f"{path}: expected a run folder or a baseline, found nothing")
    table = sealed.read_table(path, what="a baseline (Parquet)")
    raw = (table.schema.metadata or {}).get(_ABOUT)
    if raw is None:
        raise InvbenchError(f"{path}: expected a baseline written by `invbench baseline`, found another Parquet file")
    try:
        about = check(json.loads(raw), FORMAT)
        sets = pd.DataFrame(about.pop("sets"), columns=[*CELL, "metric", "value", "n"]).astype({"value": float, "n": int})
        if strange := [name for name in _TEXT if table.schema.field(name).type not in _TEXTS]:
            raise ValueError(f"column {strange[0]}: expected texts, found {table.schema.field(strange[0]).type}")
        rows = tidy(table.replace_schema_metadata(None).to_pandas(), str(path))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, pa.ArrowException) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        what = "expected a baseline as `invbench baseline` writes it"
        raise InvbenchError(f"{path}: {what}, found {found}; write it again") from error
    return Measured(str(path), rows, sets, about)


def merge(parts: Sequence[Measured]) -> Measured:
    """Merge runs of one suite. Raises InvbenchError if two hold the same row, or differ in suite or machine."""
    first = parts[0]
    for other in parts[1:]:
        for key in ("suite", "seed", "precision", "protocol", "machine", "versions"):
            if other.about[key] != first.about[key]:
                found = f"{first.about[key]!r} and {other.about[key]!r}"
                raise InvbenchError(f"{other.source}: expected the {key} of {first.source}, found {found}")
        for kind in ("methods", "metrics"):
            for id in set(first.about[kind]) & set(other.about[kind]):
                if first.about[kind][id] != other.about[kind][id]:
                    raise InvbenchError(f"{other.source}: {id}: expected the same as in {first.source}, found another")
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    about = {**first.about, "finished": all(part.about["finished"] for part in parts) and first.about["finished"]}
    for kind in ("methods", "metrics"):
        about[kind] = {id: one for part in parts for id, one in part.about[kind].items()}
    machines = [machine for part in parts for machine in part.about.get("machines") or []]
    about["machines"] = [machine for place, machine in enumerate(machines) if machine not in machines[:place]]
    source = " + ".join(part.source for part in parts)
    return Measured(source, tidy(rows, source), pd.concat([part.sets for part in parts], ignore_index=True), about)


def write(path: Path, measured: Measured) -> None:
    """Store a baseline, whole or not at all. Raises InvbenchError for an unfinished run and for one without rows."""
    if measured.rows.empty or not measured.about["finished"]:
        what = "no row" if measured.rows.empty else "one that is not finished"
        raise InvbenchError(f"{measured.source}: expected a finished run, found {what}")
    about = {**measured.about, "sets": measured.sets.to_dict("records")}
    table = pa.Table.from_pandas(measured.rows, preserve_index=False)
    table = table.replace_schema_metadata({_ABOUT: json.dumps(about, sort_keys=True).encode()})
    numbers = [name for name in measured.rows.columns if name not in _TEXT]
    data = sealed.table_bytes(
        table,
        compression="zstd",
        compression_level=19,
        use_dictionary=[*_TEXT, *filter(schema.is_seconds, numbers)],
        column_encoding={name: "BYTE_STREAM_SPLIT" for name in numbers if measured.rows[name].dtype == np.float32},
    )
    write_output(path, data)


def other_machine(run: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """The reason why times must not be compared, or ""."""
    for side, one in (("run", run), ("baseline", baseline)):
        if len(one.get("machines") or []) > 1:
            return f"times and memory are not compared: the {side} was made on several machines, or settings of one"
    here, there = ({**(one["machine"] or {})} for one in (run, baseline))
    for machine in (here, there):
        machine["memory"] = round((machine.get("memory") or 0) / 2**30)  # GiB: what a system reports varies by a little
    differ = [f"{key} {there.get(key)!r} in the baseline, {here.get(key)!r} in the run" for key in MACHINE
              if here.get(key) != there.get(key)]  # fmt: skip
    return f"times and memory are not compared, the machines differ: {'; '.join(differ)}" if differ else ""


def provenance_notes(run: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """Other differences between two runs that may explain a difference in their values."""
    notes = []
    for side, one in (("run", run), ("baseline", baseline)):
        if not one["finished"]:
            notes.append(f"the {side} is not finished")
    for key in ("suite", "seed", "precision", "protocol"):
        if run[key] != baseline[key]:
            notes.append(f"{key}: {baseline[key]} in the baseline, {run[key]} in the run")
    old, new = baseline["versions"] or {}, run["versions"] or {}
    moved = [f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if moved:
        notes.append(f"other versions, which may change times and numbers: {', '.join(moved)}")
    for id in sorted(set(run["methods"]) & set(baseline["methods"])):
        was, now = (one["methods"][id].get("options") or {} for one in (baseline, run))
        changed = [key for key in sorted({*was, *now}) if was.get(key) != now.get(key)]
        if changed:
            told = ", ".join(f"{key} {was.get(key)!r} -> {now.get(key)!r}" for key in changed)
            notes.append(f"{id}: other options: {told}")
    renewed = [id for id, one in run["metrics"].items() if baseline["metrics"].get(id, one)["recipe"] != one["recipe"]]
    if renewed:
        notes.append(f"metrics whose code, weights or protocol changed since: {listed(renewed)}")
    return notes


def listed(names: Iterable[str]) -> str:
    """The first few names in order, and the number of the others."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + more


def _with_latency(rows: pd.DataFrame, store: Store) -> pd.DataFrame:
    """The rows with the times of the latency pass; a picture that was timed twice gets the mean."""
    times = store.latency()
    columns = [*filter(schema.is_latency, times)]
    if not columns or times["machine"].nunique() != 1:  # with several machines it is unknown which one to compare
        return rows
    means = times.loc[times["status"] == "ok", [*KEYS, *columns]].groupby(KEYS, dropna=False).mean().reset_index()
    means = means.astype({key: rows[key].dtype for key in KEYS})  # a pass without edits has a column of another type
    return rows.merge(means, on=KEYS, how="left", validate="many_to_one")  # rows of one name are told by `tidy`


def _kind(name: str) -> type[np.floating]:
    """The type of a metric's or a measure's column."""
    return np.float64 if name.startswith(schema.CLOCKED) else np.float32


def tidy(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """The columns of :class:`Measured`, in a fixed order of rows and columns."""
    rows = rows.assign(edit=rows["edit"].fillna("").astype(str), strength=rows["strength"].astype(float).fillna(0.0))
    rows["reason"] = rows["reason"].fillna("").astype(str)
    if rows["batch"].isna().any():
        raise InvbenchError(f"{source}: expected the batch of every row, found a row without")
    keys = rows[KEYS].astype(dict.fromkeys([*CELL, "image", "edit"], "category"))  # texts are sorted once, not for each step
    double = keys.duplicated()
    if double.any():
        row = rows[double].iloc[0]
        name = " ".join(str(row[key]) for key in KEYS)
        raise InvbenchError(f"{source}: expected every image and edit of a cell once, found {name!r} again")
    measures = sorted(filter(schema.is_measure, rows.columns))
    metrics = sorted(name for name in rows.columns if name not in _FIELDS and schema.is_metric(name))
    rows = rows[[*KEYS, "sha256", "status", "reason", "batch", *metrics, *measures]]
    numbers = {name: _kind(name) for name in [*metrics, *measures]}
    order = np.lexsort([keys[name].cat.codes if name != "strength" else keys[name] for name in reversed(KEYS)])
    return rows.astype({**numbers, "batch": np.int32}).take(order).reset_index(drop=True)
