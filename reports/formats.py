"""A paper table as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from invbench.compare.stats import LEVEL
from invbench.compare.text import NOTHING, escape_markdown
from invbench.reports import published
from invbench.reports.grid import GITHUB, SIMPLE, Column, Style, grid
from invbench.reports.latex import latex
from invbench.reports.paper_tables import Cell, PaperTable
from invbench.reports.table_notes import DIFFERS, Notes, caption, columns, format_of
from invbench.reports.text import interval_text


class Format(Protocol):
    """A paper table -> text; without ``notes``, without footnotes and their marks."""

    def __call__(self, table: PaperTable, *, notes: bool = True) -> str: ...


def terminal(table: PaperTable, *, notes: bool = True) -> str:
    """The table as plain text; an asterisk marks the best of a column."""
    found = Notes(table, shown=notes)
    return "\n".join([caption(table), "", _grid(table, found, SIMPLE), "", "* best of its column", *found.lines()]) + "\n"


def markdown(table: PaperTable, *, notes: bool = True) -> str:
    """The table in GitHub's Markdown: best bold, second best underlined."""
    found = Notes(table, shown=notes)
    body = _grid(table, found, GITHUB)
    lines = [f"- {escape_markdown(line)}" for line in found.lines()]
    return "\n".join([f"### {escape_markdown(caption(table))}", "", body, "", *lines]) + "\n"


def as_csv(table: PaperTable, *, notes: bool = True) -> str:
    """The table as CSV: one line for each printed number, in printed order; its reasons are columns, with or without notes."""
    rows = [_flat(cell, table) for _, row in table.rows for cell in row.values()]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: field("; ".join(v) if isinstance(v, list) else v) for name, v in row.items()} for row in rows)
    return buffer.getvalue()


def field(value: Any) -> Any:
    """A field that no spreadsheet reads as a formula: a text that begins like one gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def as_json(table: PaperTable, *, notes: bool = True) -> str:
    """The table as a JSON object, with the rank agreements; numbers that are not finite are null."""
    agreements = [
        {"metric": one.metric, "measured_as": one.measured_as, "domain": one.domain, "methods": list(one.methods)}
        | {"tau": one.tau.value, "low": one.tau.low, "high": one.tau.high, "level": LEVEL, "n": one.tau.n}
        for one in table.agreements
    ]
    content = {
        "id": table.printed.id,
        "title": table.printed.title,
        "numbers": [_flat(cell, table) for _, row in table.rows for cell in row.values()],
        "rank_agreement": agreements,
        "notes": list(table.notes) if notes else [],
    }
    return json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Format] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}


def _grid(table: PaperTable, notes: Notes, style: Style) -> str:
    """The table alone: row labels, then printed and measured columns."""
    labels = [[*label[:-1], _marked(label[-1], marker)] for (label, _), marker in zip(table.rows, notes.labels)]
    found: list[Column] = [
        (style.escape(head), [style.escape(label[i]) for label in labels]) for i, head in enumerate(table.printed.row_fields)
    ]
    for key, measured, head in columns(table):
        cells = [row.get(key) for _, row in table.rows]
        if measured:
            write = format_of(cells)
            texts = [_measured_text(cell, write, notes, style) for cell in cells]
        else:
            texts = [_printed_text(cell, notes, style) for cell in cells]
        found.append((style.escape(_marked(head, "" if measured else notes.heads[key])), texts))
    return grid(found, style, left=len(table.printed.row_fields))


def _marked(text: str, markers: str) -> str:
    return f"{text} [{markers}]".lstrip() if markers else text


def _printed_text(cell: Cell | None, notes: Notes, style: Style) -> str:
    if cell is None:
        return ""
    markers = notes.cells[id(cell)]
    return style.mark(cell.number.text or NOTHING, cell.place) + (style.escape(f" [{markers}]") if markers else "")


def _measured_text(cell: Cell | None, write: Callable[[float], str], notes: Notes, style: Style) -> str:
    if cell is None or cell.measured is None:
        return ""
    one = cell.measured
    ends = interval_text(write(one.low), write(one.high)) if math.isfinite(one.low) else ""
    text = f"{write(one.value)} {ends}".rstrip()
    text = style.mark(style.escape(text), cell.measured_place)
    return f"{text} {DIFFERS}" if notes.differs(cell) else text


def _flat(cell: Cell, table: PaperTable) -> dict[str, Any]:
    one, measured = cell.number, cell.measured
    labels = {name: one[name] for name in published.FIELDS}
    place = {"row": one.row, "label": one["method_as_printed"], **labels, "direction": one["direction"]}
    value = one.value if one.text else None
    printed = {"published": value, "published_as": one.text, "flags": sorted(one.flags), "note": one.note}
    return {  # adding 0.0 removes the sign of a zero
        "table": table.printed.id,
        **place,
        **printed,
        "recipe": published.rule(one)["recipe"],
        "measured": measured.value + 0.0 if measured else None,
        "low": measured.low + 0.0 if measured else None,
        "high": measured.high + 0.0 if measured else None,
        "n": measured.n if measured else None,
        "measured_as": cell.metric,
        "measured_on": cell.images,
        "comparable": not cell.reasons if measured else None,
        "reasons": list(cell.reasons),
    }


def finite(content: Any) -> Any:
    """Nested lists and objects with null in place of numbers that are not finite."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [finite(value) for value in content]
    if isinstance(content, float):
        return content + 0.0 if math.isfinite(content) else None  # a zero has no sign
    return content
