"""The FID of edits of a run, as ``invbench edit-fid`` stored it: a table for each form, edit and direction.

A form has its own sets, files and network, so values of two forms are never in one table. Three readings stand apart:

strength   the value at each strength of the run, the same for all methods; 0 is the reconstructions
at c       at an equal measured change c of the attribute: between two strengths the value is taken as a line of the mean change
searched   the lowest of all strengths in that direction, searched on the same pictures that it is measured on, as the printed
           figures of StyleFeatureEditor are; it is too low by that choice

Values of a method whose pictures the run has replaced since are left out.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from invbench.api import plain_edit
from invbench.compare import agreement
from invbench.compare.text import NOTHING, shown
from invbench.described import EDIT_SETS, pictures_digest
from invbench.folder import EDIT_SETS_FILE
from invbench.reports import stability
from invbench.reports.compare import SEED, Method
from invbench.reports.equal_change import measure_of
from invbench.reports.grid import SIMPLE, Column, Style, fold
from invbench.reports.run import Run
from invbench.reports.text import edit_text, number_format, signed
from invbench.store import Store
from invbench.util import sealed
from invbench.util.shapes import expect

STRENGTH, CHANGE, SEARCHED = "strength", "at change", "searched"
LEGEND = (
    "FID of edits (invbench edit-fid), at each strength of the run; no edit: the reconstructions of the same pictures",
    "at c: at an equal mean measured change, on a line between two strengths",
    "searched: the lowest of all strengths of that direction, searched on these same pictures, so it is too low",
    "values of two forms are not comparable, nor with a FID of reconstructions: other sets, other files, other networks",
)


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

    @property
    def up(self) -> str:
        """The edit and its direction: "age up"."""
        return f"{self.edit} {'up' if self.direction > 0 else 'down'}"

    @property
    def readings(self) -> list[Reading]:
        """Its columns: the strengths by size, the changes, the searched strength."""
        strengths = sorted({one for line in self.lines for one in line.values}, key=abs)
        changes = sorted({one for line in self.lines for one in line.at}, key=abs)
        found = [Reading(STRENGTH, at, [line.values.get(at, math.nan) for line in self.lines]) for at in strengths]
        found += [Reading(CHANGE, at, [line.at.get(at, math.nan) for line in self.lines]) for at in changes]
        return [*found, Reading(SEARCHED, math.nan, [line.best[1] if line.best else math.nan for line in self.lines])]


@dataclass(frozen=True)
class Reading:
    """One column of a table: how strong the edits are (``rule``), at which strength or change, and the FID of each line."""

    rule: str
    at: float
    values: Sequence[float]


def tables(source: Store | Run) -> list[EditTable]:
    """The tables of a run; empty if ``invbench edit-fid`` was not called. Raises InvbenchError for a broken file."""
    run = Run.of(source)
    content = _content(run.store)
    current = _current(run.plan, content)
    rows = pd.DataFrame([row for row in content.get("rows", []) if _place(row) in current])
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


def orders(found: Sequence[EditTable]) -> list[str]:
    """How alike two forms order the methods: a line for each edit and direction, at the largest strength that both have."""
    places: dict[tuple[str, str, int], list[EditTable]] = {}
    for table in found:
        places.setdefault((table.dataset, table.edit, table.direction), []).append(table)
    lines = []
    for (dataset, *_), those in places.items():
        pairs = [pair for one, other in combinations(those, 2) if (pair := _agreement(one, other))]
        lines += [f"{dataset}: {line}" for line in stability.statements(pairs)]
    return lines


def _agreement(one: EditTable, other: EditTable) -> stability.Stability | None:
    """None where fewer than three methods have a value of both forms at some strength."""
    values = [{line.method: line for line in table.lines} for table in (one, other)]
    shared = set.intersection(*({strength for line in table.lines for strength in line.values} for table in (one, other)))
    for strength in sorted(shared - {0.0}, key=abs, reverse=True):
        known = [{method: line.values.get(strength, math.nan) for method, line in lines.items()} for lines in values]
        methods = [method for method in known[0] if not any(math.isnan(form.get(method, math.nan)) for form in known)]
        if len(methods) < stability.LEAST:
            continue
        first, second = ([[form[method], math.nan, math.nan] for method in methods] for form in known)
        n = min(lines[method].edits for lines in values for method in methods)
        tau = agreement.agreement_of_estimates(first, second, np.random.default_rng(SEED), n=n)
        place = edit_text(one.edit, strength)
        return stability.Stability("edit FID", place, one.form, other.form, tau, len(methods))
    return None


def without(source: Store | Run) -> dict[str, str]:
    """Form, form and edit, or method -> why it could not be computed, or is not shown; empty without ``invbench edit-fid``."""
    run = Run.of(source)
    content = _content(run.store)
    found: dict[str, str] = dict(content.get("without", {}))
    rows = pd.DataFrame(content.get("rows", []))
    if not rows.empty:
        for (form, edit, dataset), group in rows.groupby(["form", "edit", "dataset"], sort=False):
            if group["value"].isna().all():
                found[f"{form}, {edit} on {dataset}"] = str(group["reason"].iloc[0])
        current = _current(run.plan, content)
        for cell in run.plan["cells"].values():
            if _place(cell) not in current:
                place = f"edit-fid of {run.label(cell['method'], cell['preset'])} on {cell['dataset']}"
                found[place] = "the run has made other pictures since; call invbench edit-fid again"
    return found


def of_dataset(lacking: Mapping[str, str], dataset: str) -> dict[str, str]:
    """What :func:`without` says of a dataset, or of all of them."""
    return {what: why for what, why in lacking.items() if " on " not in what or what.endswith(f" on {dataset}")}


def text(found: Sequence[EditTable], lacking: Mapping[str, str], *, style: Style = SIMPLE, width: int | None = None) -> str:
    """All tables as text, then how to read them, and what could not be computed; empty if there is nothing to tell."""
    lines = [*(LEGEND if found else ()), *orders(found)]
    lines += [f"without {form}: {shown(reason)}" for form, reason in lacking.items()]
    parts = [*(_text(table, style, width) for table in found), _listed(lines, style)]
    return "\n\n".join(filter(None, parts))


def columns(table: EditTable, style: Style = SIMPLE) -> list[Column]:
    """The columns of a table as text: method, number of edits, each reading."""
    write = number_format(value for line in table.lines for value in line.values.values())
    found: list[Column] = [("method", [style.escape(line.label) for line in table.lines])]
    found.append(("edits", [str(line.edits) for line in table.lines]))
    return found + [
        (style.escape(head(table, one)), [style.escape(cell) for cell in texts(table, one, write)]) for one in table.readings
    ]


def texts(table: EditTable, one: Reading, write: Callable[[float], str]) -> list[str]:
    """The values of a reading, a text a line; a searched one with its strength."""
    if one.rule != SEARCHED:
        return [write(value) for value in one.values]
    best = [line.best for line in table.lines]
    return [f"{write(own[1])} ({edit_text(table.edit, own[0])})" if own else NOTHING for own in best]


def head(table: EditTable, one: Reading) -> str:
    """The head of a reading: "no edit", "age+2", "at +10 years", "searched"."""
    if one.rule == STRENGTH:
        return edit_text(table.edit, one.at) if one.at else "no edit"
    return f"at {signed(one.at)} {table.unit}".rstrip() if one.rule == CHANGE else SEARCHED


def title(table: EditTable) -> str:
    """What a table holds: "edit_fid_sfe, age up: FID of edits as StyleFeatureEditor (...)"."""
    return f"{table.form}, {table.up}: {table.title}"


def notes(table: EditTable) -> list[str]:
    """The originals and the protocol of a table, whether its sets are small, and why values are missing."""
    lines = [f"{table.originals} originals; {table.recipe}"]
    fewest = min(table.originals, *(line.edits for line in table.lines))
    if fewest <= table.features:
        lines.append(f"{fewest} pictures for {table.features} features: mostly bias, compare values at equal counts only")
    return lines + [f"{line.label}: {shown(reason)}" for line in table.lines for reason in line.reasons]


def as_csv(found: Sequence[EditTable]) -> str:
    """Every value with its reading ("strength", "at change", "searched"), the strength or change, and numbers of pictures."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["dataset", "form", "edit", "method", "preset", "reading", "at", "value", "originals", "edits"])
    for table in found:
        for one in table.readings:
            for line, value in zip(table.lines, one.values, strict=True):
                at = line.best[0] if one.rule == SEARCHED and line.best else one.at
                if one.rule != SEARCHED or line.best:
                    place = [table.dataset, table.form, table.edit, *line.method, one.rule, at]
                    writer.writerow([*place, "" if math.isnan(value) else repr(value), table.originals, line.edits])
    return buffer.getvalue()


def _text(table: EditTable, style: Style, width: int | None) -> str:
    method, edits, *readings = columns(table, style)
    body = fold([method, edits], [[one] for one in readings], width, style)
    name = f"{table.dataset}: {title(table)}"
    lines = [name, body] if style is SIMPLE else [f"#### {style.escape(name)}", "", body, ""]
    return "\n".join([*lines, _listed(notes(table), style)])


def _listed(lines: Sequence[str], style: Style) -> str:
    return "\n".join(lines if style is SIMPLE else [f"- {style.escape(line)}" for line in lines])


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


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["dataset"], row["method"], row["preset"]


def _current(plan: Mapping[str, Any], content: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """The cells of the plan whose pictures are those that were compared."""
    known = content.get("pictures", {})
    return {_place(cell) for id, cell in plan["cells"].items() if known.get(id) == pictures_digest(cell)}


def _content(store: Store) -> dict[str, Any]:
    path = store.path / EDIT_SETS_FILE
    if not path.exists():
        return {}
    content = sealed.read_json(path, what="FIDs of edits of a run")
    expect(content, EDIT_SETS, str(path))
    return content
