"""Data of the page's plots, as plain values that become JSON; plotly's own script draws them in the browser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.api import MetricSpec
from reports.query import Run


def plot_data(run: Run, board: pd.DataFrame, edits: pd.DataFrame) -> dict[str, Any]:
    """Everything that the page's script draws.

    metrics  id -> {title, better, unit}
    quality  one point per (dataset, method, preset): seconds an image and every metric's mean
    edits    one line per (dataset, edit, method, preset): strengths in order and every edit metric's means
    targets  edit -> {unit, per_strength}: the ideal line of a change, drawn for the metric that measures that edit only
    """
    return {
        "metrics": {spec.id: _describe(spec) for spec in run.specs.values()},
        "quality": _quality(run, board),
        "edits": _edit_lines(run, edits),
        "targets": {
            str(name): {"unit": known.get("unit", ""), "per_strength": known.get("per_strength")}
            for name, known in run.manifest.get("edits", {}).items()
        },
    }


def plotly_script() -> str:
    """The JavaScript of plotly that its Python package carries, so that no page asks another host for it."""
    from plotly.offline import get_plotlyjs  # slow to import, and only the page needs it

    return get_plotlyjs()


def label(run: Run, row: Mapping[str, Any]) -> str:
    """A method's title; with its preset where the run holds several of that method."""
    described = run.manifest.get("methods", {})
    title = described.get(f"{row['method']}.{row['preset']}", {}).get("title") or row["method"]
    presets = {cell["preset"] for cell in run.plan["cells"].values() if cell["method"] == row["method"]}
    return f"{title} ({row['preset']})" if len(presets) > 1 else str(title)


def _describe(spec: MetricSpec) -> dict[str, Any]:
    return {"title": spec.title, "kind": spec.kind, "better": spec.better, "unit": spec.unit, "edits": list(spec.edits)}


def _quality(run: Run, board: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "dataset": row["dataset"],
            "method": f"{row['method']}.{row['preset']}",
            "label": label(run, row),
            "seconds": _number(row.get("seconds.invert")),
            "n": f"{row['n_ok']} of {row['n_total']} images",
            "values": {spec.id: _number(row[spec.id]) for spec in run.specs_of("inversion", "set") if spec.id in row},
        }
        for row in board.to_dict("records")
    ]


def _edit_lines(run: Run, edits: pd.DataFrame) -> list[dict[str, Any]]:
    lines = []
    for (dataset, edit, method, preset), rows in edits.groupby(["dataset", "edit", "method", "preset"], sort=True):
        rows = rows.sort_values("strength")
        measured = [spec.id for spec in run.specs_of("edit") if spec.id in rows and rows[spec.id].notna().any()]
        lines.append(
            {
                "dataset": dataset,
                "edit": edit,
                "method": f"{method}.{preset}",
                "label": label(run, {"method": method, "preset": preset}),
                "strengths": [_number(value) for value in rows["strength"]],
                "values": {id: [_number(value) for value in rows[id]] for id in measured},
            }
        )
    return lines


def _number(value: Any) -> float | None:
    """JSON has neither NaN nor infinity: both become null and are not drawn."""
    return float(value) if value is not None and math.isfinite(value) else None


def static_file(name: str) -> str:
    """Text of a file of ``reports/static``."""
    return (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")
