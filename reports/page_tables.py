"""The tables of the page as plain values for its templates: cells with text, exact value, interval, rank and hover text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from invbench.api import STAGES, MetricSpec
from invbench.compare.stats import LEVEL
from invbench.reports import coverage, query, text
from invbench.reports.equal_change import EqualChange
from invbench.reports.plots import label
from invbench.reports.run import Run
from invbench.reports.trips import Trips


def of_dataset(
    run: Run, name: str, rows: pd.DataFrame, edits: pd.DataFrame, kept: EqualChange, back: Trips
) -> dict[str, Any]:
    """What the page shows of a dataset: its rows of the leaderboard, of the edits, of equal change, and of there and back."""
    rows = rows.reset_index(drop=True)
    edited = edits[edits["dataset"] == name].sort_values(["edit", "strength"], kind="stable").reset_index(drop=True)
    specs = [spec for spec in run.specs_of("inversion", "set") if spec.id in rows and rows[spec.id].notna().any()]
    edit_specs = [spec for spec in run.specs_of("edit") if spec.id in edited and edited[spec.id].notna().any()]
    covered = coverage.own(rows, [spec.id for spec in specs if spec.kind == "inversion"])
    return {
        "name": name,
        "columns": [_column(run, spec) for spec in specs],
        "rows": [
            {**_method(run, row), "cells": cells, **costs}
            for row, cells, costs in zip(rows.to_dict("records"), _cells(rows, specs), _costs(rows))
        ],
        "device": "memory.device_peak" in rows and (rows["memory.device_peak"] > 0).any(),
        "images": coverage.statements([one for one in run.inversions if one.block.place[0] == name]),
        "covered": {
            "heads": list(covered),
            "rows": [(label(run, row), row_texts) for row, row_texts in zip(rows.to_dict("records"), zip(*covered.values()))],
        },
        "edit_columns": [_column(run, spec) for spec in edit_specs],
        "edit_images": coverage.statements([one for one in run.edits if one.block.place[0] == name]),
        "edit_rows": [
            {**_method(run, row), "edit": row["edit"], "strength": row["strength"], "cells": cells}
            | {"target": "" if math.isnan(row["target"]) else f"{row['target']:+g} {row['unit']}"}
            for row, cells in zip(edited.to_dict("records"), _cells(edited, edit_specs, by=["edit", "strength"]))
        ],
        "kept": _kept(run, name, kept),
        "back": _back(run, name, back),
    }


def _kept(run: Run, name: str, kept: EqualChange) -> dict[str, Any]:
    """The table of what edits keep at equal change of their attribute."""
    frame = kept.frame[kept.frame["dataset"] == name].reset_index(drop=True)
    specs = [spec for spec in run.specs_of("edit") if spec.id in frame and frame[spec.id].notna().any()]
    return {
        "columns": [_column(run, spec) for spec in specs],
        "images": coverage.statements([one for one in kept.compared if one.block.place[0] == name]),
        "rows": [
            {name: row[name] for name in ("edit", "change", "unit", "n", "n_total")}
            | {"id": row["method"], "label": label(run, row), "strength": _exact(row["strength"]), "cells": cells}
            | {"strength_text": text.NOTHING if math.isnan(row["strength"]) else f"{row['strength']:+.2f}"}
            for row, cells in zip(frame.to_dict("records"), _cells(frame, specs, by=["edit", "change"]))
        ],
    }


def _back(run: Run, name: str, back: Trips) -> dict[str, Any]:
    """The table of edits there and back."""
    frame = back.frame[back.frame["dataset"] == name].reset_index(drop=True)
    specs = [spec for spec in run.specs_of("consistency") if spec.id in frame and frame[spec.id].notna().any()]
    writes = {key: text.number_format(frame[key]) for key in ("trimmed", "seconds")}
    return {
        "columns": [_column(run, spec) for spec in specs],
        "images": coverage.statements([one for one in back.compared if one.block.place[0] == name]),
        "rows": [
            {**_method(run, row), "edit": f"{row['edit']}{row['strength']:+g}", "cells": cells}
            | {key: {"text": write(row[key]), "value": _exact(row[key])} for key, write in writes.items()}
            for row, cells in zip(frame.to_dict("records"), _cells(frame, specs, by=["edit", "strength"]))
        ],
    }


def latency(run: Run) -> dict[str, Any] | None:
    """The table of the latency pass; None where there was none."""
    frame = query.latency(run)
    if frame.empty:
        return None
    names = [column.removesuffix(".low") for column in frame if column.endswith(".low")]
    writes = {name: text.number_format(frame[name]) for name in names}
    return {
        "heads": names,
        "warmup": frame["warmup"].max(),
        "rows": [
            {"id": row["method"], "label": label(run, row), "machine": row["machine"], "n": f"{row['n_ok']} of {row['n']}"}
            | {
                "cells": [
                    {"text": writes[name](row[name]), "value": _exact(row[name])}
                    | {"low": writes[name](row[f"{name}.low"]), "high": writes[name](row[f"{name}.high"])}
                    for name in names
                ]
            }
            for row in frame.to_dict("records")
        ],
    }


def _column(run: Run, spec: MetricSpec) -> dict[str, str]:
    better = {"lower": "lower is better", "higher": "higher is better", "none": ""}[spec.better]
    recipe = run.manifest.get("protocols", {}).get(spec.protocol, {}).get("recipe")
    facts = [spec.title, spec.summary, recipe and f"recipe: {recipe}", spec.unit and f"unit: {spec.unit}"]
    facts += [spec.range and f"range: {spec.range}", better]
    tip = "\n".join(fact for fact in facts if fact)
    return {"id": spec.id, "arrow": text.ARROWS[spec.better], "tip": tip, "better": better}


def _method(run: Run, row: Mapping[str, Any]) -> dict[str, Any]:
    known = run.manifest.get("methods", {}).get(f"{row['method']}.{row['preset']}", {})
    options = ", ".join(f"{name} = {value}" for name, value in known.get("options", {}).items())
    source = ", ".join(str(known[key]) for key in ("paper", "venue") if known.get(key))
    facts = [source, known.get("family") and f"family: {known['family']}", f"preset: {row['preset']}", options]
    missing = row["n_total"] - row["n_ok"] - row["n_failed"]
    notes = [f"{row['n_failed']} failed"] if row["n_failed"] else []
    return {
        "id": row["method"],
        "label": label(run, row),
        "tip": "\n".join(fact for fact in facts if fact),
        "n_ok": row["n_ok"],
        "n_total": row["n_total"],
        "n_note": ", ".join(notes + ([f"{missing} not run"] if missing > 0 else [])),
    }


def _cells(frame: pd.DataFrame, specs: Iterable[MetricSpec], *, by: list[str] | None = None) -> list[list[dict[str, Any]]]:
    """For each row the metrics' means as :func:`_cell` has them; whiskers have one scale within each group of ``by``."""
    columns = []
    for spec in specs:
        texts = text.metric_texts(frame, spec.id)
        write = text.number_format(frame[f"{spec.id}.finite"] if f"{spec.id}.finite" in frame else frame[spec.id])
        groups = [group for _, group in frame.groupby(by)] if by else [frame]
        scales = {index: scale for group in groups for scale in [_scale(group, spec.id)] for index in group.index}
        columns.append(
            [
                _cell(row, spec, shown, write, scales[index])
                for index, row, shown in zip(frame.index, frame.to_dict("records"), texts)
            ]
        )
    return [list(row) for row in zip(*columns)] if columns else [[] for _ in range(len(frame))]


def _cell(
    row: Mapping[str, Any], spec: MetricSpec, shown: str, write: Callable[[float], str], scale: tuple[float, float]
) -> dict[str, Any]:
    """Text, exact value, place, rank, interval, where its whisker lies (in % of ``scale``), and what hovering tells."""
    id = spec.id
    value, low, high = row[id], row.get(f"{id}.low", math.nan), row.get(f"{id}.high", math.nan)
    n, own, compared = row[f"{id}.n"], row[f"{id}.own"], row[f"{id}.compared"]
    rank, bias = row.get(f"{id}.rank", ""), row.get(f"{id}.bias", math.nan)
    few = not compared and not math.isnan(value)
    what = "value" if spec.kind == "set" else "mean"
    facts = [f"{what} over {n} images; the method covers {own} of {row['n_total']}"]
    facts += [f"{LEVEL:.0%} interval {write(low)} to {write(high)}"] if math.isfinite(low) else []
    facts += [f"bias about {write(bias)}"] if math.isfinite(bias) else []
    facts += [f"rank {rank}"] if rank else []
    facts += ["covers too few images to be compared"] if few else []
    cell = {"text": shown, "value": _exact(value), "place": row[f"{id}.place"], "rank": rank, "few": few}
    cell |= {"note": f"{n} images, not compared" if few else "", "tip": "" if math.isnan(value) else "\n".join(facts)}
    if not math.isfinite(low):
        return cell | {"interval": f"bias {write(bias)}" if math.isfinite(bias) else "", "whisker": None}
    width = scale[1] - scale[0] or 1.0
    left, at, right = (100 * (one - scale[0]) / width for one in (low, value, high))
    whisker = {"left": f"{left:.1f}", "width": f"{right - left:.1f}", "at": f"{at:.1f}"}
    return cell | {"interval": f"[{write(low)}, {write(high)}]", "whisker": whisker}


def _scale(frame: pd.DataFrame, id: str) -> tuple[float, float]:
    """The smallest and the largest end of the intervals of a metric; (0, 1) where it has none."""
    if f"{id}.low" not in frame or not frame[f"{id}.low"].notna().any():
        return 0.0, 1.0
    return float(frame[f"{id}.low"].min()), float(frame[f"{id}.high"].max())


def _costs(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Seconds and bytes of each row; the bars of the stages are shares of the slowest method's seconds."""
    longest = frame["seconds.invert"].max() if "seconds.invert" in frame else math.nan
    found = []
    for row in frame.to_dict("records"):
        parts = [(stage, row.get(f"seconds.{stage}", math.nan)) for stage in STAGES if stage != "edit"]
        bars = [
            {"stage": stage, "width": f"{100 * seconds / longest:.3f}", "text": f"{stage} {seconds:.3g} s"}
            for stage, seconds in parts
            if seconds > 0
        ]
        costs = {name: row.get(column, math.nan) for name, column in _COSTS.items()}
        found.append({"bars": bars, **{name: _cost(name, value) for name, value in costs.items()}})
    return found


_COSTS = {"invert": "seconds.invert", "edit": "seconds.edit", "rss": "memory.rss_peak", "gpu": "memory.device_peak"}


def _cost(name: str, value: float) -> dict[str, str]:
    if math.isnan(value):
        return {"text": text.NOTHING, "value": ""}
    shown = f"{value:.3g}" if name in {"invert", "edit"} else f"{value / 2**20:.0f}"
    return {"text": shown, "value": _exact(value)}


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
