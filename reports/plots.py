"""Data of the page's plots, as plain values that become JSON; plotly's script draws them in the browser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import pandas as pd

from invbench import schema
from invbench.api import MetricSpec
from invbench.reports import compare
from invbench.reports.compare import Compared
from invbench.reports.run import Run
from invbench.reports.text import signed


def plot_data(run: Run, board: pd.DataFrame, edits: pd.DataFrame) -> dict[str, Any]:
    """The data of all plots, for the page's script.

    metrics      id -> {title, name, better, unit}
    quality      one point per (dataset, method, preset): seconds per image, mean of each metric, and its interval in ``ends``
    edits        one line per (dataset, edit, method, preset): strengths in order, means and intervals of each edit metric
    targets      edit -> {unit, per_strength}: the ideal line of a change, drawn only for the metric that measures the edit
    comparisons  {methods: labels, blocks}: the paired differences of every two methods, see :func:`_comparison`; for edits
                 only at the largest strength, since a page of all strengths would be slow to make and to load
    """
    methods = {method: run.label(*method) for method in _methods(run)}
    compared = [one for one in (*run.inversions, *_strongest(run.edits)) if one.ranking is not None]
    order = {method: index for index, method in enumerate(methods)}
    return {
        "metrics": {spec.id: _describe(spec) for spec in run.specs.values()},
        "quality": _quality(run, board),
        "edits": _edit_lines(run, edits),
        "targets": {
            str(name): {"unit": known.get("unit", ""), "per_strength": known.get("per_strength")}
            for name, known in run.manifest.get("edits", {}).items()
        },
        "comparisons": {
            "methods": list(methods.values()),
            "blocks": [_comparison(one, found, order) for one, found in zip(compared, compare.pairs_of(compared))],
        },
    }


def plotly_script() -> str:
    """The JavaScript that plotly's Python package contains, so that no page loads it from another host."""
    from plotly.offline import get_plotlyjs  # slow to import, and only the page needs it

    return get_plotlyjs()


def _describe(spec: MetricSpec) -> dict[str, Any]:
    known = {"title": spec.title, "name": spec.name, "kind": spec.kind, "better": spec.better}
    return known | {"unit": spec.unit, "edits": list(spec.edits)}


def _quality(run: Run, board: pd.DataFrame) -> list[dict[str, Any]]:
    most = board.groupby("dataset")["machine"].agg(lambda machines: machines.mode().iloc[0])  # one axis, one machine
    return [
        {
            "dataset": row["dataset"],
            "method": f"{row['method']}.{row['preset']}",
            "label": run.label(row["method"], row["preset"]),
            "seconds": _number(row.get(schema.INVERT)) if row["machine"] == most[row["dataset"]] else None,
            "n": f"{row['n_ok']} of {row['n_total']} images",
            "values": {spec.id: _number(row[spec.id]) for spec in run.specs_of("inversion", "set") if spec.id in row},
            "ends": {
                spec.id: [_number(row[f"{spec.id}.low"]), _number(row[f"{spec.id}.high"])]
                for spec in run.specs_of("inversion", "set")
                if f"{spec.id}.low" in row
            },
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
                "label": run.label(method, preset),
                "strengths": [_number(value) for value in rows["strength"]],
                "values": {id: [_number(value) for value in rows[id]] for id in measured},
                "ends": {
                    id: [[_short(low), _short(high)] for low, high in zip(rows[f"{id}.low"], rows[f"{id}.high"])]
                    for id in measured
                },
            }
        )
    return lines


def _methods(run: Run) -> list[compare.Method]:
    return sorted({(cell["method"], cell["preset"]) for cell in run.plan["cells"].values()})


def _strongest(edits: Sequence[Compared]) -> list[Compared]:
    largest: dict[tuple[object, ...], Any] = {}
    for one in edits:
        *at, strength = one.block.place
        largest[*at,] = max(largest.get((*at,), -math.inf), strength)
    return [one for one in edits if one.block.place[-1] == largest[*one.block.place[:-1],]]


def _comparison(one: Compared, found: Sequence[compare.Pair], order: Mapping[compare.Method, int]) -> dict[str, Any]:
    """One metric on one dataset (for one edit and strength): methods by their index in ``methods``, best first.

    pairs  [first, second, mean difference, low, high, Holm's p, distinct]: first minus second over the common images
    """
    block, ranking = one.block, one.ranking
    assert ranking is not None
    methods = [block.methods[int(name)] for name in ranking.order]
    return {
        "dataset": block.place[0],
        "edit": f"{block.place[1]} {signed(block.place[2])}" if len(block.place) == 3 else "",
        "metric": block.metric,
        "n": ranking.n,
        "of": len(block.images),
        "order": [order[method] for method in methods],
        "ranks": [compare.rank_text(one.means[method].ranks) for method in methods],
        "pairs": [
            [order[pair.first], order[pair.second], *map(_short, (pair.difference.value, pair.difference.low))]
            + [_short(pair.difference.high), _short(pair.p), pair.distinct]
            for pair in found
        ],
    }


def _short(value: float) -> float | None:
    """The value rounded to six digits, more than a plot shows; the exact means are in the tables."""
    return _number(float(f"{value:.6g}"))


def _number(value: Any) -> float | None:
    """The value for JSON: NaN and infinity become null, which is not drawn; a zero loses its sign."""
    return float(value) + 0.0 if value is not None and math.isfinite(value) else None


def static_file(name: str) -> str:
    """The text of the file ``name`` in ``reports/static``."""
    return (files("invbench.reports") / "static" / name).read_text(encoding="utf-8")
