"""The table of a sweep: what each of its points measured, beside what the paper prints for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from invbench import schema, swept
from invbench.api import plain_edit
from invbench.compare.stats import LEVEL, Interval
from invbench.reports import machines, published, query
from invbench.reports.measures import Measure
from invbench.reports.published import Number
from invbench.reports.run import Run
from invbench.reports.text import ARROWS, edit_text, short_head
from invbench.store import Store

REMARKABLE = published.UNTRUSTED | {"questionable", "approximate"}  # flags of printed numbers that the table tells


@dataclass(frozen=True)
class Column:
    """A measured column: a metric, at an edit if it is one of edits; or seconds an image."""

    id: str
    name: str  # short, with the edit
    better: str
    edit: tuple[str, float] | None = None

    @property
    def head(self) -> str:
        """Its head in tables."""
        return f"{self.name} {ARROWS[self.better]}".rstrip()


@dataclass(frozen=True)
class Cell:
    """A measured value, None if there is none, and the printed number that belongs to it."""

    measured: Interval | None
    printed: Number | None


@dataclass(frozen=True)
class Row:
    """A point: ``n`` images of ``total`` were inverted; ``reason``: why it has no values ("" = it has)."""

    point: Mapping[str, Any]
    cells: tuple[Cell, ...]
    n: int
    total: int
    reason: str = ""
    machine: str = ""

    @property
    def label(self) -> str:
        """Its name in tables and plots."""
        return str(self.point["label"])


@dataclass(frozen=True)
class Swept:
    """The table of a sweep; ``plan`` is its ``sweep.json``, ``notes`` say what a reader must know of the values."""

    plan: Mapping[str, Any]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def caption(self) -> str:
        """Title and source."""
        return f"{self.plan['title']}" + (f" ({self.plan['source']})" if self.plan["source"] else "")

    def printed(self, index: int) -> bool:
        """Whether any number is printed for a column."""
        return any(row.cells[index].printed is not None for row in self.rows)


def read(folder: Path) -> Swept:
    """The table of a sweep's folder, as far as it is measured. Raises InvbenchError for a folder that holds no sweep."""
    plan = swept.read(folder)
    runs = {point["name"]: _run(folder / point["name"], point, plan) for point in plan["points"]}
    columns = _columns(plan, [run for run in runs.values() if run is not None])
    rows = tuple(_row(point, runs[point["name"]], columns, plan) for point in plan["points"])
    return Swept(plan, columns, rows, tuple(_notes(plan, columns, rows)))


def _run(folder: Path, point: Mapping[str, Any], plan: Mapping[str, Any]) -> Run | None:
    """The run of a point, without other methods or datasets that its folder may hold; None if there is none yet."""
    store = Store(folder)
    if point["reason"] or not store.has_run():
        return None
    run = Run.of(store)
    wanted = point["method"], point["preset"], plan["dataset"]
    known = {(cell["method"], cell["preset"], cell["dataset"]) for cell in run.plan["cells"].values()}
    return run.only(methods=[":".join(wanted[:2])], datasets=[wanted[2]]) if wanted in known else None


def _columns(plan: Mapping[str, Any], runs: Sequence[Run]) -> tuple[Column, ...]:
    specs: dict[str, Measure] = {}
    for run in runs:
        specs |= {id: spec for id, spec in run.specs.items() if id not in specs}
    found = []
    for id in plan["metrics"]:
        spec = specs.get(id, Measure(id, "inversion"))
        if spec.kind != "edit":
            found.append(Column(id, short_head(spec), spec.better))
            continue
        for edit in plan["edits"]:
            if not spec.edits or plain_edit(edit["name"]) in spec.edits:
                place = edit["name"], float(edit["strength"])
                found.append(Column(id, f"{short_head(spec)}, {edit_text(*place)}", spec.better, place))
    return (*found, Column(schema.INVERT, "s/image", "lower"))


def _row(point: Mapping[str, Any], run: Run | None, columns: Sequence[Column], plan: Mapping[str, Any]) -> Row:
    known = _printed(point)
    printed = [next((one for one in known if _is_of(one, column)), None) for column in columns]
    if run is None:
        reason = point["reason"] or "not run yet"
        return Row(point, tuple(Cell(None, number) for number in printed), 0, 0, reason)
    board, edits = query.leaderboard(run), query.edits(run) if plan["edits"] else pd.DataFrame()
    first = board.iloc[0]
    cells = []
    for column, number in zip(columns, printed, strict=True):
        record: Mapping[Any, Any] = dict(first)
        if column.edit is not None:
            own = edits[(edits["edit"] == column.edit[0]) & (edits["strength"] == column.edit[1])]
            record = dict(own.iloc[0]) if len(own) else {}
        cells.append(Cell(_interval(record, column.id), number))
    return Row(point, tuple(cells), int(first["n_ok"]), int(first["n_total"]), "", str(first["machine"]))


def _interval(record: Mapping[Any, Any], id: str) -> Interval | None:
    value = record.get(id, math.nan)
    if pd.isna(value):
        return None
    low, high = (float(record.get(f"{id}.{end}", math.nan)) for end in ("low", "high"))
    return Interval(float(value), low, high, int(record.get(f"{id}.n", 0) or 0))


def _printed(point: Mapping[str, Any]) -> list[Number]:
    """The printed numbers of a point: those whose columns are as it says."""
    asked = point["printed"]
    if not asked:
        return []
    return [one for one in published.numbers() if all(one.fields.get(name) == value for name, value in asked.items())]


def _is_of(number: Number, column: Column) -> bool:
    """Whether a printed number is of the same family as a measured column."""
    family = published.protocols()["families"].get(number["metric"])
    if family is None or column.edit is not None or number["edit"] or not number.text:
        return False
    name = column.id if schema.is_seconds(column.id) else column.id.partition("@")[0]
    return bool(name == family or name.startswith(f"{family}_"))


def _notes(plan: Mapping[str, Any], columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    notes = [plan["about"]] if plan["about"] else []
    done = [row for row in rows if not row.reason]
    for reason in dict.fromkeys(row.reason for row in rows if row.reason):
        notes.append(f"{', '.join(row.label for row in rows if row.reason == reason)}: not measured: {reason}")
    counts = sorted({row.n for row in done if row.n})
    if counts:
        images = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        told = f"intervals: {LEVEL:.0%} BCa bootstrap of the mean"
        notes.append(f"measured on the first {images} images of {plan['dataset']}; {told}")
    short = [f"{row.label} {row.n} of {row.total}" for row in done if row.n < row.total]
    if short:
        notes.append(f"some images failed or are not done yet: {', '.join(short)}")
    several = sorted({row.machine for row in done if row.machine})
    if len(several) > 1:
        notes.append(f"{machines.APART} ({', '.join(several)})")
    return notes + _printed_notes(plan, columns, rows)


def _printed_notes(plan: Mapping[str, Any], columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Why printed and measured values are not compared, and what is wrong with printed ones."""
    both = [(column, cell.printed, row) for row in rows for column, cell in zip(columns, row.cells) if cell.printed is not None]
    if not both:
        return ["the source prints no numbers for these points" if plan["source"] else ""][: bool(plan["source"])]
    first = both[0][1]
    of = f"{first['table']} of {published.protocols()['sources'][first['source']]}"
    where = ", ".join(filter(None, [first["dataset"], f"{first['n_images']} images" if first["n_images"] else ""]))
    notes = [f"printed: {of}; {where}. Read the course of printed values beside that of measured ones, not their level:"]
    reasons: dict[str, dict[str, None]] = {}
    for column, number, _ in both:
        rule = published.rule(number)
        other = rule["recipe"] and rule["recipe"] != column.id
        reason = f"measured as {column.id}, printed as {rule['recipe']}" if other else rule.get("reason", "")
        if schema.is_seconds(column.id):
            reason = "measured here, printed for another machine and generator"
        if reason:
            reasons.setdefault(reason, {})[column.name] = None
    if not plan["dataset"].replace("-", "_").startswith(first["dataset"] or "-"):
        notes.append(f"measured on {plan['dataset']}, printed for {first['dataset']}")
    notes += [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return notes + _doubts(both)


def _doubts(printed: Sequence[tuple[Column, Number, Row]]) -> list[str]:
    """What is wrong with printed numbers that are flagged, each doubt once, with the numbers that it is of."""
    everywhere = set.intersection(*(set(published.notes(number)) for _, number, _ in printed))
    of: dict[str, dict[str, list[str]]] = {}  # sentence -> label of a point -> names of columns
    for column, number, row in printed:
        if number.flags & REMARKABLE:
            plain = everywhere | {flag.replace("_", " ") for flag in number.flags - REMARKABLE}
            for sentence in published.notes(number):
                if sentence not in plain:
                    of.setdefault(sentence, {}).setdefault(row.label, []).append(column.name)
    sentences: dict[str, list[str]] = {}  # the same numbers -> sentences
    for sentence, labels in of.items():
        owners = "; ".join(f"{label} ({', '.join(columns)})" for label, columns in labels.items())
        sentences.setdefault(owners, []).append(sentence)
    return [f"printed, {owners}: {'; '.join(said)}" for owners, said in sentences.items()]
