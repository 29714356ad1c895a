"""The tables of the site for its templates: figures with labels, whiskers, bars and hover texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from invbench import schema
from invbench.api import STAGES
from invbench.compare.stats import LEVEL
from invbench.reports import extract, site_published, text
from invbench.reports.extract import Column, Extract
from invbench.reports.figures import DatasetFigures, Figure, LatencyFigures, Table
from invbench.reports.measures import Measure
from invbench.reports.run import Run

_COSTS = {"invert": schema.INVERT, "edit": schema.EDIT, "rss": schema.RSS_PEAK, "gpu": schema.DEVICE_PEAK}
_DIRECTIONS = {"lower": "lower is better", "higher": "higher is better", "none": ""}


def leaderboard(run: Run, found: DatasetFigures, main: Extract) -> dict[str, Any]:
    """The leaderboard of a dataset: the main columns first, then all others, which the page shows on demand."""
    table = found.board
    chosen = [column for column in main.columns if column.spec is not None]
    ids = {column.id for column in chosen}
    columns = chosen + [extract.column(spec, figures) for spec, figures in table.metrics if spec.id not in ids]
    rows = _rows(run, table.rows, columns, whiskers=len(chosen))
    for row, costs in zip(rows, _costs(table)):
        row |= costs
    heads = [{**_head(run, column), "main": column.id in ids} for column in columns]
    device = any(value > 0 for value in table.values(schema.DEVICE_PEAK))
    families = sorted({row["family"] for row in rows if row["family"]})
    printed = site_published.rows(found.name, columns)
    return {"columns": heads, "rows": rows, "images": table.statements, "device": device, "families": families} | {
        "published": {"rows": printed, "reasons": site_published.reasons(printed)}
    }


def edited(run: Run, found: DatasetFigures) -> dict[str, Any]:
    """The tables of a dataset's edits: at the largest strength, at equal change, and of round trips."""
    tables = (found.edits, found.equal_change, found.trips, found.sources)
    edits, equal, back, sources = (_table(run, one) for one in tables)
    for row in sources["rows"]:
        method, _, preset = row["preset"].partition(":")
        own = {"label": run.label(method, preset), "source": row["method"], "method": method, "preset": preset}
        row |= own | {"strength": _number(row["strength"], text.written(row["strength"], "+z.2f"))}
    for row in edits["rows"]:
        row |= {"target": "" if math.isnan(row["target"]) else text.written(row["target"], "+zg", unit=row["unit"])}
    for row in equal["rows"]:
        row |= {"strength": _number(row["strength"], text.written(row["strength"], "+z.2f"))}
    for name in ("trimmed", "seconds"):
        write = text.number_format(found.trips.values(name))
        for row in back["rows"]:
            row |= {name: _number(row[name], write(row[name]))}
    return {"edits": edits, "equal_change": equal, "trips": back, "sources": sources}


def coverage(run: Run, table: Table) -> dict[str, Any]:
    """How many images each method covers, by metric."""
    covered = table.covered(table.of_inversions)
    labels = [run.label(row["method"], row["preset"]) for row in table.rows]
    return {"heads": list(covered), "rows": [*zip(labels, zip(*covered.values()))]}


def latency(run: Run, found: LatencyFigures | None) -> dict[str, Any] | None:
    """The table of the latency pass; None if there was none."""
    if found is None:
        return None
    cells = zip(*found.times.values())
    return {
        "heads": list(found.times),
        "warmup": max(row["warmup"] for row in found.rows),
        "rows": [
            {**row, "label": run.label(row["method"], row["preset"]), "n": f"{row['n_ok']} of {row['n']}"}
            | {"cells": [{**_number(one.value, one.text), "interval": one.interval} for one in those]}
            for row, those in zip(found.rows, cells)
        ],
    }


def _table(run: Run, table: Table) -> dict[str, Any]:
    """Columns, rows with a cell for each of them, and sentences on the images."""
    columns = [extract.column(spec, figures) for spec, figures in table.metrics]
    heads = [_head(run, column) for column in columns]
    return {"columns": heads, "rows": _rows(run, table.rows, columns, whiskers=0), "images": table.statements}


def _rows(run: Run, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, whiskers: int) -> list[dict[str, Any]]:
    """The rows with their cells; the first ``whiskers`` columns have whiskers, of one scale a column."""
    cells = []
    for index, column in enumerate(columns):
        scale = _scale(column.figures) if index < whiskers else None
        told = {one.rank for one in column.figures} - {"", "1"}  # else nothing is told apart, and no rank says anything
        ranked = [one if told else replace(one, rank="") for one in column.figures]
        cells.append([_cell(row, column, one, scale) for row, one in zip(rows, ranked)])
    by_row = zip(*cells) if cells else [()] * len(rows)
    return [{**row, **_method(run, row), "cells": list(those)} for row, those in zip(rows, by_row)]


def _head(run: Run, column: Column) -> dict[str, str]:
    spec = column.spec
    facts = [column.id, *(_facts(run, spec) if spec is not None else [])]
    tip = "\n".join(fact for fact in facts if fact)
    return {"id": column.id, "head": column.head, "arrow": text.ARROWS[column.better], "tip": tip} | {
        "better": _DIRECTIONS[column.better]
    }


def _facts(run: Run, spec: Measure) -> list[str]:
    recipe = run.manifest.get("protocols", {}).get(spec.protocol, {}).get("recipe")
    facts = [spec.title or spec.id, spec.summary, recipe and f"recipe: {recipe}", spec.unit and f"unit: {spec.unit}"]
    return [str(fact) for fact in [*facts, spec.range and f"range: {spec.range}", _DIRECTIONS[spec.better]] if fact]


def _method(run: Run, row: Mapping[str, Any]) -> dict[str, Any]:
    known = run.manifest.get("methods", {}).get(f"{row['method']}.{row['preset']}", {})
    options = ", ".join(f"{name} = {value}" for name, value in known.get("options", {}).items())
    source = ", ".join(str(known[key]) for key in ("paper", "venue") if known.get(key))
    family = str(known.get("family") or "")
    facts = [source, family and f"family: {family}", f"preset: {row['preset']}", options]
    failed = row.get("n_failed", 0)
    missing = row["n_total"] - row["n_ok"] - failed if "n_ok" in row else 0
    notes = [f"{failed} failed"] if failed else []
    return {
        "label": run.label(row["method"], row["preset"]),
        "family": family,
        "tip": "\n".join(fact for fact in facts if fact),
        "n_note": ", ".join(notes + ([f"{missing} not run"] if missing > 0 else [])),
    }


def _cell(row: Mapping[str, Any], column: Column, one: Figure, scale: tuple[float, float] | None) -> dict[str, Any]:
    """Text, exact value, place, rank, interval, position of its whisker (in % of ``scale``), and hover text."""
    what = "value" if column.spec is not None and column.spec.kind == "set" else "mean"
    facts = [f"{what} over {one.n} images; the method covers {one.own} of {row['n_total']}"]
    facts += [f"{LEVEL:.0%} interval {one.low_text} to {one.high_text}"] if one.interval else []
    facts += [f"bias about {one.bias}"] if one.bias else []
    facts += [f"rank {one.rank}"] if one.rank else []
    facts += ["covers too few images to be compared"] if one.few else []
    return {
        **_number(one.value, one.text),
        "place": one.place,
        "rank": one.rank,
        "few": one.few,
        "note": f"{one.n} images, not compared" if one.few else "",
        "tip": "" if math.isnan(one.value) else "\n".join(facts),
        "interval": one.interval or (f"bias {one.bias}" if one.bias else ""),
        "whisker": _whisker(one, scale) if scale and one.interval else None,
    }


def _whisker(one: Figure, scale: tuple[float, float]) -> dict[str, str]:
    width = scale[1] - scale[0] or 1.0
    left, at, right = (100 * (end - scale[0]) / width for end in (one.low, one.value, one.high))
    return {"left": f"{left:z.1f}", "width": f"{right - left:z.1f}", "at": f"{at:z.1f}"}


def _scale(figures: Sequence[Figure]) -> tuple[float, float]:
    """The smallest and the largest end of the intervals of a metric; (0, 1) where it has none."""
    ends = [(one.low, one.high) for one in figures if one.interval]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0.0, 1.0)


def _costs(table: Table) -> list[dict[str, Any]]:
    """Seconds and bytes of each row; the bars of the stages are shares of the seconds of the slowest on the same machine."""
    longest: dict[str, float] = {}
    for row, value in zip(table.rows, table.values(schema.INVERT)):
        longest[row["machine"]] = max(longest.get(row["machine"], 0.0), 0.0 if math.isnan(value) else value)
    found = []
    for row in table.rows:
        parts = [(stage, row.get(schema.seconds(stage), math.nan)) for stage in STAGES if stage != "edit"]
        bars = [
            {"stage": stage, "width": f"{100 * seconds / longest[row['machine']]:.3f}", "text": f"{stage} {seconds:.3g} s"}
            for stage, seconds in parts
            if seconds > 0
        ]
        costs = {name: row.get(column, math.nan) for name, column in _COSTS.items()}
        found.append({"bars": bars, **{name: _number(value, _cost(name, value)) for name, value in costs.items()}})
    return found


def _cost(name: str, value: float) -> str:
    return text.written(value, "z.3g") if schema.is_seconds(_COSTS[name]) else text.mebibytes(value)


def _number(value: float, shown: str) -> dict[str, str]:
    """A number on the page: the text shown, and the exact value for sorting."""
    return {"text": shown, "value": "" if math.isnan(value) else repr(float(value) + 0.0)}
