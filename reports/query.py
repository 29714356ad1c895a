"""From a run's rows to the figures that tables and pages show; all means in float64.

A mean is taken over the images that the metric covers in rows that are ok, and its count stands beside it as
``<metric>.n``. Every figure of every table and page comes from the frames of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.api import STAGES, MetricSpec
from bench.store import Store

KEYS = ["dataset", "method", "preset"]
EDIT_KEYS = [*KEYS, "edit", "strength"]
MEMORY = ("memory.device_peak", "memory.rss_peak")
_KINDS = ("inversion", "set", "edit")
_FIRST = ("mse", "psnr", "lpips", "ms_ssim", "id")  # as tables of this field have them; the others follow by name
_NOT_METRICS = frozenset({"key", "recipe", "suite", "image", "status", "reason", "index", "batch", *EDIT_KEYS})


@dataclass(frozen=True)
class Run:
    """What a run folder held at one moment; read once, since a run may still be writing."""

    store: Store
    rows: pd.DataFrame
    sets: pd.DataFrame
    manifest: Mapping[str, Any]
    plan: Mapping[str, Any]

    @classmethod
    def of(cls, source: Store | Run) -> Run:
        """Read a run folder; a Run is returned as it is. Raises InvbenchError when the folder holds no run."""
        if isinstance(source, Run):
            return source
        manifest, plan = source.manifest, source.plan
        sets = pd.DataFrame(columns=[*KEYS, "metric", "value", "n", "reason"])
        if (source.path / "sets.parquet").exists():
            sets = source.query("SELECT * FROM sets ORDER BY metric, dataset, method, preset")
        return cls(source, source.rows(), sets, manifest, plan)

    @cached_property
    def specs(self) -> dict[str, MetricSpec]:
        """Metrics by id in the order of tables: of inversions, of sets, of edits.

        A metric that an earlier run in the folder computed, and the manifest of the last one no longer describes, is
        kept under its bare id and without a direction.
        """
        names = [field.name for field in fields(MetricSpec) if field.init]
        known = {
            id: MetricSpec(**{name: raw[name] for name in names if name in raw})
            for id, raw in self.manifest.get("metrics", {}).items()
        }
        for id in self.rows.columns:
            if id not in known and id not in _NOT_METRICS and "." not in id:
                measured_on = self.rows.loc[self.rows[id].notna(), "edit"]
                kind = "inversion" if measured_on.isna().any() or measured_on.empty else "edit"
                known[id] = MetricSpec(id=id, title=id, entry="", kind=kind, better="none", unit="", range="")
        return dict(sorted(known.items(), key=lambda item: _rank(item[1])))

    def specs_of(self, *kinds: str) -> list[MetricSpec]:
        """Metrics of the kinds "inversion", "set" or "edit"."""
        return [spec for spec in self.specs.values() if spec.kind in kinds]


def leaderboard(source: Store | Run) -> pd.DataFrame:
    """One row per (dataset, method, preset), best first by the first metric that has a direction.

    Columns
        dataset, method, preset
        n_total, n_ok, n_failed             images planned, inverted, failed; the rest has not been run
        <metric>, <metric>.n                mean over the images covered, and how many these are; inversion and set metrics
        <metric>.inf, <metric>.finite       where a value is infinite (PSNR of identical pictures): how many are, and the
                                            mean of the others; <metric> itself is infinite then
        seconds.<stage>, seconds.invert     mean seconds an image: stages of the inversion, the whole inversion
        seconds.edit                        mean seconds an edited image
        memory.device_peak, memory.rss_peak largest over the images, bytes
    Raises InvbenchError when the folder holds no run.
    """
    run = Run.of(source)
    rows = run.rows
    inverted, edited = rows[rows["edit"].isna()], rows[rows["edit"].notna()]
    planned = [
        {**{key: cell[key] for key in KEYS}, "n_total": len(cell["images"])} for cell in run.plan["cells"].values()
    ]
    frame = pd.DataFrame(planned, columns=[*KEYS, "n_total"]).set_index(KEYS)
    frame = frame.join(_counts(inverted, KEYS))
    ok = inverted[inverted["status"] == "ok"]
    frame = frame.join(_means(ok, KEYS, [spec.id for spec in run.specs_of("inversion")]))
    frame = frame.join(_set_values(run.sets, [spec.id for spec in run.specs_of("set")]))
    stages = [f"seconds.{stage}" for stage in STAGES if stage != "edit"]
    times = [name for name in (*stages, "seconds.invert") if name in rows]
    frame = frame.join(ok.groupby(KEYS)[times].mean())
    if "seconds.edit" in rows:
        frame = frame.join(edited[edited["status"] == "ok"].groupby(KEYS)["seconds.edit"].mean())
    memory = [name for name in MEMORY if name in rows]
    frame = frame.join(rows[rows["status"] == "ok"].groupby(KEYS)[memory].max())
    return _finish(frame, run.specs, by=["dataset"])


def edits(source: Store | Run) -> pd.DataFrame:
    """One row per (dataset, method, preset, edit, strength): counts and means of the edit metrics as in the leaderboard.

    ``target`` is what the edit asks for, strength times the suite's unit (NaN where the manifest does not know it), and
    ``unit`` its unit.
    """
    run = Run.of(source)
    rows = run.rows[run.rows["edit"].notna()]
    asked = [
        {**{key: cell[key] for key in KEYS}, "n_total": len(cell["images"])}
        | {"edit": edit["name"], "strength": float(edit["strength"])}
        for cell in run.plan["cells"].values()
        for edit in cell["edits"]
    ]
    frame = pd.DataFrame(asked, columns=[*EDIT_KEYS, "n_total"])
    known: Mapping[str, Mapping[str, Any]] = run.manifest.get("edits", {})
    frame["unit"] = [known.get(name, {}).get("unit", "") for name in frame["edit"]]
    per_strength = [float(known.get(name, {}).get("per_strength", np.nan)) for name in frame["edit"]]
    frame["target"] = frame["strength"].astype(float) * np.array(per_strength, dtype=np.float64)
    frame = frame.set_index(EDIT_KEYS).join(_counts(rows, EDIT_KEYS))
    ok = rows[rows["status"] == "ok"]
    frame = frame.join(_means(ok, EDIT_KEYS, [spec.id for spec in run.specs_of("edit")]))
    if "seconds.edit" in rows:
        frame = frame.join(ok.groupby(EDIT_KEYS)["seconds.edit"].mean())
    return _finish(frame, run.specs, by=["dataset", "edit", "strength"])


def failures(source: Store | Run) -> pd.DataFrame:
    """Failed rows by (dataset, method, preset, reason): ``rows`` how many, ``images`` the names of the images, in order."""
    rows = Run.of(source).rows
    rows = rows[rows["status"] != "ok"]
    found = [
        {**dict(zip([*KEYS, "reason"], key)), "rows": len(group), "images": list(dict.fromkeys(group["image"]))}
        for key, group in rows.groupby([*KEYS, "reason"], sort=True, dropna=False)
    ]
    return pd.DataFrame(found, columns=[*KEYS, "reason", "rows", "images"])


def unavailable(source: Store | Run) -> dict[str, str]:
    """Metric -> why it has no value in this run: weights missing, too few images, errors on single images, nothing to cover."""
    run = Run.of(source)
    manifest = run.manifest
    reasons = {str(id): str(reason) for id, reason in manifest.get("unavailable", {}).items()}
    for id, note in manifest.get("metric_failures", {}).items():
        reasons[str(id)] = f"failed on {note['count']} images: {note['reason']}"
    for id, group in run.sets[run.sets["reason"].notna()].groupby("metric"):
        lines = [f"{row.dataset}: {row.reason}" for row in group.itertuples()]
        reasons[str(id)] = "; ".join(dict.fromkeys(lines))
    for spec in run.specs_of("inversion", "edit"):
        if spec.id not in reasons and (spec.id not in run.rows or run.rows[spec.id].isna().all()):
            reasons[spec.id] = "covers no image of this run"
    return reasons


def places(frame: pd.DataFrame, spec: MetricSpec) -> pd.Series:
    """1 for the best rows, 2 for the second best, 0 for all others; equal means share a place.

    ``frame`` holds rows that may be compared: one dataset (and one edit and strength). A mean over fewer images than
    another method's has no place: who fails on the hard images must not win by it.
    """
    place = pd.Series(0, index=frame.index)
    if spec.better == "none" or spec.id not in frame or frame[spec.id].notna().sum() < 2:
        return place
    covered = frame[f"{spec.id}.n"].fillna(0)
    values = frame.loc[(covered == covered.max()) & frame[spec.id].notna(), spec.id]
    for number, value in enumerate(sorted(set(values), reverse=spec.better == "higher")[:2], start=1):
        place[values.index[values == value]] = number
    return place


def _counts(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    ok = rows["status"] == "ok"
    table = pd.DataFrame({"n_ok": ok.groupby([rows[key] for key in keys]).sum()})
    table["n_failed"] = (~ok).groupby([rows[key] for key in keys]).sum()
    return table.astype(int)


def _means(rows: pd.DataFrame, keys: list[str], metrics: Iterable[str]) -> pd.DataFrame:
    """Means over covered values with their counts. One infinite value makes a mean infinite, and that is said."""
    columns: dict[str, pd.Series] = {}
    groups = [rows[key] for key in keys]
    for id in metrics:
        if id not in rows:
            continue
        values = rows[id].astype(np.float64)
        infinite = np.isinf(values)
        columns[id] = values.groupby(groups).mean()
        columns[f"{id}.n"] = values.notna().groupby(groups).sum()
        if infinite.any():
            columns[f"{id}.inf"] = infinite.groupby(groups).sum()
            columns[f"{id}.finite"] = values.where(~infinite).groupby(groups).mean()
    if columns:
        return pd.DataFrame(columns)
    return pd.DataFrame(index=pd.MultiIndex.from_arrays([[]] * len(keys), names=keys))


def _rank(spec: MetricSpec) -> tuple[int, int, str]:
    near = [position for position, name in enumerate(_FIRST) if spec.name == name or spec.name.startswith(f"{name}_")]
    return _KINDS.index(spec.kind), near[0] if near else len(_FIRST), spec.id


def _set_values(sets: pd.DataFrame, metrics: Iterable[str]) -> pd.DataFrame:
    columns = {}
    for id in metrics:
        one = sets[sets["metric"] == id].set_index(KEYS)
        columns[id], columns[f"{id}.n"] = one["value"].astype(np.float64), one["n"]
    return pd.DataFrame(columns, index=sets.set_index(KEYS).index.unique())


def _finish(frame: pd.DataFrame, specs: Mapping[str, MetricSpec], *, by: list[str]) -> pd.DataFrame:
    """Counts as integers (a missing one is 0), and the best first within each group of ``by``."""
    frame = frame.reset_index()
    counts = [name for name in frame if name in {"n_ok", "n_failed"} or name.endswith((".n", ".inf"))]
    frame[counts] = frame[counts].fillna(0).astype(int)
    first = next((id for id, spec in specs.items() if spec.better != "none" and id in frame), None)
    frame = frame.sort_values(["method", "preset"], kind="stable")
    if first is not None:
        frame = frame.sort_values(first, ascending=specs[first].better == "lower", kind="stable", na_position="last")
    return frame.sort_values(by, kind="stable").reset_index(drop=True)
