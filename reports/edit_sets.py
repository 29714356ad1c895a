"""The FID of edits of a run, as ``invbench edit-fid`` stored it: a table for each form, edit and direction.

A form has its own sets, files and network, so values of two forms are never in one table. Three readings stand apart:

strength   the value at each strength of the run, the same for all methods; 0 is the reconstructions
at c       at an equal measured change c of the attribute: between two strengths the value is taken as a line of the mean change
searched   the lowest of all strengths in that direction, searched on the same pictures that it is measured on, as the printed
           figures of StyleFeatureEditor are; it is too low by that choice
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from invbench.api import plain_edit
from invbench.reports.compare import Method
from invbench.reports.equal_change import measure_of
from invbench.reports.grid import SIMPLE, Column, grid
from invbench.reports.run import Run
from invbench.reports.text import number_format, signed
from invbench.store import Store
from invbench.util import sealed

FILE = "edit_sets.json"


@dataclass(frozen=True)
class Line:
    """One method of a table.

    values     strength -> FID; NaN where it could not be computed
    at         change -> FID at that measured change; NaN where no strength reaches it
    best       strength with the lowest value, and the value; None without any
    edits      smallest number of edited pictures in a set
    reasons    why values are missing
    """

    method: Method
    label: str
    values: Mapping[float, float]
    at: Mapping[float, float]
    best: tuple[float, float] | None
    edits: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class EditTable:
    """One edit in one direction (1: strengths above 0) under one form; ``measure`` is the metric of the change, "" if none."""

    dataset: str
    form: str
    title: str
    recipe: str
    edit: str
    direction: int
    measure: str
    unit: str
    originals: int
    features: int
    lines: Sequence[Line]


def tables(source: Store | Run) -> list[EditTable]:
    """The tables of a run; empty if ``invbench edit-fid`` was not called. Raises InvbenchError for a broken file."""
    run = Run.of(source)
    content = _content(run.store)
    rows = pd.DataFrame(content.get("rows", []))
    if rows.empty:
        return []
    found = []
    for (dataset, form, edit, direction), group in rows.groupby(["dataset", "form", "edit", "direction"], sort=False):
        if group["value"].isna().all():
            continue
        known = content["forms"][form]
        measure, changes = measure_of(run, plain_edit(edit), run.manifest.get("edits", {}).get(plain_edit(edit), {}))
        sources = content["sources"].get(f"{dataset} {form} {edit} {direction}", [])
        asked = [change for change in changes if change * direction > 0] if measure is not None else []
        lines = [
            _line(run, key, own, dataset, edit, direction, measure.id if measure else "", asked, sources)
            for key, own in group.groupby(["method", "preset"], sort=False)
        ]
        found.append(
            EditTable(
                dataset, form, known["title"], known["recipe"], edit, direction,
                measure.id if measure else "", measure.unit if measure else "",
                int(group["originals"].max()), int(group["features"].max()), lines,
            )  # fmt: skip
        )
    return found


def without(source: Store) -> dict[str, str]:
    """Form, or form and edit -> why it could not be computed."""
    content = _content(source)
    found: dict[str, str] = dict(content.get("without", {}))
    rows = pd.DataFrame(content.get("rows", []))
    if not rows.empty:
        for (form, edit, dataset), group in rows.groupby(["form", "edit", "dataset"], sort=False):
            if group["value"].isna().all():
                found[f"{form}, {edit} on {dataset}"] = str(group["reason"].iloc[0])
    return found


def terminal(found: Sequence[EditTable], lacking: Mapping[str, str]) -> str:
    """All tables as text, and the forms that could not be computed."""
    blocks = [_text(table) for table in found]
    if found:
        blocks.append(
            "at c: between two strengths, by their mean measured change; searched: the lowest of all strengths, searched on "
            "these same pictures\nvalues of two forms are not comparable: other sets, other files, other networks"
        )
    if lacking:
        blocks.append("\n".join(f"without {form}: {reason}" for form, reason in lacking.items()))
    return "\n\n".join(blocks)


def as_csv(found: Sequence[EditTable]) -> str:
    """Every value with its reading ("strength", "at change", "searched"), the strength or change, and numbers of pictures."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["dataset", "form", "edit", "method", "preset", "reading", "at", "value", "originals", "edits"])
    for table in found:
        for line in table.lines:
            head, counts = [table.dataset, table.form, table.edit, *line.method], [table.originals, line.edits]
            readings = [("strength", place, value) for place, value in line.values.items()]
            readings += [("at change", place, value) for place, value in line.at.items()]
            readings += [("searched", *line.best)] if line.best else []
            for reading, place, value in readings:
                writer.writerow([*head, reading, place, "" if math.isnan(value) else repr(value), *counts])
    return buffer.getvalue()


def _text(table: EditTable) -> str:
    strengths = list(dict.fromkeys(strength for line in table.lines for strength in line.values))
    changes = list(dict.fromkeys(change for line in table.lines for change in line.at))
    write = number_format(value for line in table.lines for value in line.values.values())
    columns: list[Column] = [("method", [line.label for line in table.lines])]
    columns += [("edits", [str(line.edits) for line in table.lines])]
    for strength in strengths:
        head = f"{table.edit}{signed(strength)}" if strength else "no edit"
        columns.append((head, [write(line.values.get(strength, math.nan)) for line in table.lines]))
    for change in changes:
        columns.append((f"at {signed(change)} {table.unit}", [write(line.at.get(change, math.nan)) for line in table.lines]))
    texts = [f"{write(line.best[1])} ({table.edit}{signed(line.best[0])})" if line.best else "–" for line in table.lines]
    columns.append(("searched", texts))
    lines = [
        f"{table.dataset}: {table.form}, {table.edit} {'up' if table.direction > 0 else 'down'}: {table.title}",
        grid(columns, SIMPLE, left=1),
        f"{table.originals} originals; {table.recipe}",
    ]
    fewest = min(table.originals, *(line.edits for line in table.lines))
    if fewest <= table.features:
        lines.append(f"{fewest} pictures for {table.features} features: mostly bias, compare values at equal counts only")
    lines += [f"{line.label}: {reason}" for line in table.lines for reason in line.reasons]
    return "\n".join(lines)


def _line(
    run: Run,
    method: Method,
    rows: pd.DataFrame,
    dataset: str,
    edit: str,
    direction: int,
    measure: str,
    asked: Sequence[float],
    sources: Sequence[str],
) -> Line:
    rows = rows.sort_values("strength", key=abs)
    values = dict(zip(rows["strength"].astype(float), rows["value"].astype(float)))
    edited = {strength: value for strength, value in values.items() if strength and not math.isnan(value)}
    best = min(edited.items(), key=lambda one: one[1]) if edited else None
    at = {}
    if measure:
        edits = run.rows[(run.rows["edit"] == edit) & (run.rows["status"] == "ok") & (run.rows["dataset"] == dataset)]
        raises = np.sign((edits["strength"] * edits[measure]).mean()) or 1.0  # as equal_change: what strengths above 0 do
        own = edits[(edits["method"] == method[0]) & (edits["preset"] == method[1]) & edits["image"].isin([*sources])]
        means = own.groupby("strength")[measure].mean() * raises * direction
        at = {change: _at(values, means, change) for change in asked}
    counts = rows.loc[rows["value"].notna(), "edits"]
    fewest = int(counts.min()) if len(counts) else 0
    reasons = tuple(dict.fromkeys(reason for reason in rows["reason"] if isinstance(reason, str)))
    return Line((str(method[0]), str(method[1])), run.label(*method), values, at, best, fewest, reasons)


def _at(values: Mapping[float, float], means: pd.Series[Any], change: float) -> float:
    """The value at a mean measured change, from the first strength on that reaches it; NaN if none does.

    ``means``: mean change by strength, signed so that the direction's changes are above 0. Strength 0 has no change.
    """
    places = sorted((strength for strength in values if strength), key=abs)
    sizes = np.array([0.0, *(float(means.get(strength, math.nan)) for strength in places)])
    known = np.array([values.get(0.0, math.nan), *(values[strength] for strength in places)])
    reached = np.flatnonzero(sizes >= abs(change))
    if not len(reached):
        return math.nan
    last = int(reached[0])
    share = (abs(change) - sizes[last - 1]) / (sizes[last] - sizes[last - 1])
    return float(known[last - 1] + (known[last] - known[last - 1]) * share)


def _content(store: Store) -> dict[str, Any]:
    path = store.path / FILE
    return sealed.read_json(path, what="FIDs of edits of a run") if path.exists() else {}
