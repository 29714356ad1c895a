"""The page of a run, ``report/index.html``: one static document that asks no server and no other host for anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.api import STAGES, MetricSpec
from bench.store import Store
from reports import query, tables
from reports.gallery import AMPLIFIED, Pictures, panels, size
from reports.gallery import write as write_file
from reports.plots import label, plot_data, plotly_script, static_file
from reports.query import Run

TEMPLATES = Path(__file__).parent / "templates"
PIXELATED = 128  # pictures up to this many pixels are enlarged without smoothing, so that single pixels can be judged


def write(run: Path | str | Store, *, inline: bool = False, images: int = 4) -> Path:
    """Write the page of a run folder and return its path, ``<run>/report/index.html``.

    run     the run folder
    inline  put pictures and scripts into the page, so that the one file can be sent to somebody; else the page links to
            files of the run folder by relative paths, and the folder can be moved as a whole
    images  pictures of each dataset in the gallery, the first of the dataset
    Raises InvbenchError when the folder holds no run, ValueError when ``images`` is negative.
    """
    if images < 0:
        raise ValueError(f"images: expected 0 or more, found {images}")
    store = run if isinstance(run, Store) else Store(run)
    page = store.path / "report"
    if not inline:
        write_file(page / "static" / "plotly.min.js", plotly_script().encode())
    write_file(page / "index.html", render(Run.of(store), page, inline=inline, images=images).encode())
    return page / "index.html"


def render(run: Run, page: Path, *, inline: bool, images: int) -> str:
    """The document as text. ``page`` is the folder that its relative links start from."""
    board, edits = query.leaderboard(run), query.edits(run)
    height = size(run)
    manifest = run.manifest
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}  # the order of metrics is meant
    return environment.get_template("board.html.j2").render(
        suite=manifest.get("suite", {}),
        manifest=manifest,
        datasets=[_dataset(run, str(name), rows, edits) for name, rows in board.groupby("dataset")],
        panels=panels(run, board, Pictures(run.store.path, page, inline=inline), count=images),
        failures=query.failures(run).to_dict("records"),
        unavailable=query.unavailable(run),
        provenance=_provenance(manifest),
        weights=manifest.get("weights", {}),
        data=plot_data(run, board, edits),
        stages=STAGES,
        amplified=AMPLIFIED,
        pixelated=height is not None and height <= PIXELATED,
        css=static_file("board.css"),
        scripts=[static_file("board.js"), static_file("plots.js")],
        plotly=plotly_script() if inline else None,
    )




def _dataset(run: Run, name: str, rows: pd.DataFrame, edits: pd.DataFrame) -> dict[str, Any]:
    rows = rows.reset_index(drop=True)
    edited = edits[edits["dataset"] == name].sort_values(["edit", "strength"], kind="stable").reset_index(drop=True)
    specs = [spec for spec in run.specs_of("inversion", "set") if spec.id in rows and rows[spec.id].notna().any()]
    edit_specs = [spec for spec in run.specs_of("edit") if spec.id in edited and edited[spec.id].notna().any()]
    return {
        "name": name,
        "columns": [_column(run, spec) for spec in specs],
        "rows": [
            {**_method(run, row), "cells": cells, **costs}
            for row, cells, costs in zip(rows.to_dict("records"), _cells(rows, specs), _costs(rows))
        ],
        "device": "memory.device_peak" in rows and (rows["memory.device_peak"] > 0).any(),
        "edit_columns": [_column(run, spec) for spec in edit_specs],
        "edit_rows": [
            {**_method(run, row), "edit": row["edit"], "strength": row["strength"], "cells": cells}
            | {"target": "" if math.isnan(row["target"]) else f"{row['target']:+g} {row['unit']}"}
            for row, cells in zip(edited.to_dict("records"), _cells(edited, edit_specs, by=["edit", "strength"]))
        ],
    }


def _column(run: Run, spec: MetricSpec) -> dict[str, str]:
    better = {"lower": "lower is better", "higher": "higher is better", "none": ""}[spec.better]
    recipe = run.manifest.get("protocols", {}).get(spec.protocol, {}).get("recipe")
    facts = [spec.title, spec.summary, recipe and f"recipe: {recipe}", spec.unit and f"unit: {spec.unit}"]
    facts += [spec.range and f"range: {spec.range}", better]
    tip = "\n".join(fact for fact in facts if fact)
    return {"id": spec.id, "arrow": tables.ARROWS[spec.better], "tip": tip, "better": better}


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
    """For each row the metrics' means: text, the exact value, place, and a note where not all ok images are covered."""
    columns = []
    for spec in specs:
        groups = [group for _, group in frame.groupby(by)] if by else [frame]
        place = pd.concat([query.places(group, spec) for group in groups]).sort_index()
        texts, values, counts = tables.metric_texts(frame, spec.id), frame[spec.id], frame[f"{spec.id}.n"]
        columns.append(
            [
                {"text": text, "value": _exact(value), "place": int(number)}
                | {"note": f"{n} images" if n != ok and not math.isnan(value) else ""}
                for text, value, number, n, ok in zip(texts, values, place, counts, frame["n_ok"])
            ]
        )
    return [list(row) for row in zip(*columns)] if columns else [[] for _ in range(len(frame))]


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
        return {"text": tables.NOTHING, "value": ""}
    text = f"{value:.3g}" if name in {"invert", "edit"} else f"{value / 2**20:.0f}"
    return {"text": text, "value": _exact(value)}


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader needs to make the numbers again, as pairs of a word and a text."""
    git, machine = manifest.get("git", {}), manifest.get("machine", {})
    commit = git.get("commit") or "not a checkout"
    seconds = manifest.get("seconds", {})
    memory = machine.get("memory")
    hardware = [machine.get("processor"), machine.get("cores") and f"{machine['cores']} cores"]
    hardware += [memory and f"{memory / 2**30:.0f} GiB", machine.get("system"), machine.get("gpu")]
    pairs = {
        "command": manifest.get("command"),
        "commit": f"{commit}, with local changes" if git.get("modified") else commit,
        "protocol": f"version {manifest.get('protocol')}, {manifest.get('precision')}, seed {manifest.get('seed')}",
        "device": machine.get("device"),
        "machine": ", ".join(str(part) for part in hardware if part),
        "versions": ", ".join(f"{name} {found}" for name, found in manifest.get("versions", {}).items() if found),
        "started": manifest.get("started"),
        "finished": manifest.get("finished") or "not finished",
    }
    if seconds.get("wall"):
        share = seconds["overhead"] / seconds["wall"]
        pairs["harness overhead"] = f"{share:.1%} of {seconds['wall']:.0f} s (last call; outside methods and metrics)"
    return [(word, str(text)) for word, text in pairs.items() if text]
