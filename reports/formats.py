"""A paper table as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from invbench.compare.stats import LEVEL
from invbench.reports import published
from invbench.reports.latex import latex
from invbench.reports.paper_tables import Cell, PaperTable
from invbench.reports.table_notes import DIFFERS, Notes, caption, columns, format_of
from invbench.reports.text import NOTHING, escape_markdown


def terminal(table: PaperTable) -> str:
    """Plain text; an asterisk marks the best of a column."""
    notes = Notes(table)
    grid, align = _grid(table, notes, Style(lambda text: text, lambda text: f"* {text}", lambda text: text))
    body = tabulate(grid[1:], headers=grid[0], tablefmt="simple", disable_numparse=True, colalign=align)
    return "\n".join([caption(table), "", body, "", "* best of its column", *notes.lines()]) + "\n"


def markdown(table: PaperTable) -> str:
    """GitHub's Markdown: best bold, second best underlined."""
    notes = Notes(table)
    style = Style(escape_markdown, lambda text: f"**{text}**", lambda text: f"<u>{text}</u>")
    grid, align = _grid(table, notes, style)
    body = tabulate(grid[1:], headers=grid[0], tablefmt="github", disable_numparse=True, colalign=align)
    lines = [f"- {escape_markdown(line)}" for line in notes.lines()]
    return "\n".join([f"### {escape_markdown(caption(table))}", "", body, "", *lines]) + "\n"


def as_csv(table: PaperTable) -> str:
    """One line for each printed number, in printed order."""
    rows = [_flat(cell, table) for _, row in table.rows for cell in row.values()]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "; ".join(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows)
    return buffer.getvalue()


def as_json(table: PaperTable) -> str:
    """The same as an object, with the rank agreements; what is not a finite number is null."""
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
        "notes": list(table.notes),
    }
    return json.dumps(_finite(content), indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[PaperTable], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}


@dataclass(frozen=True)
class Style:
    """How a text format escapes text and marks the best and the second best."""

    escape: Callable[[str], str]
    best: Callable[[str], str]
    second: Callable[[str], str]

    def mark(self, text: str, place: int) -> str:
        return {1: self.best, 2: self.second}.get(place, str)(text)


def _grid(table: PaperTable, notes: Notes, style: Style) -> tuple[list[list[str]], list[str]]:
    """Heads and rows of texts, and the alignment of the columns."""
    parts = columns(table)
    texts = []
    for key, measured, _ in parts:
        cells = [row.get(key) for _, row in table.rows]
        if measured:
            write = format_of(cells)
            texts.append([_measured_text(cell, write, notes, style) for cell in cells])
        else:
            texts.append([_printed_text(cell, notes, style) for cell in cells])
    named = [_marked(head, "" if measured else notes.heads[key]) for key, measured, head in parts]
    heads = [style.escape(head) for head in (*table.printed.row_fields, *named)]
    labels = [[*label[:-1], _marked(label[-1], marker)] for (label, _), marker in zip(table.rows, notes.labels)]
    rows = [[*map(style.escape, label), *(column[i] for column in texts)] for i, label in enumerate(labels)]
    return [heads, *rows], ["left"] * len(table.printed.row_fields) + ["right"] * len(parts)


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
    one, text = cell.measured, write(cell.measured.value)
    if math.isfinite(one.low):
        text += f" [{write(one.low)}, {write(one.high)}]"
    text = style.mark(style.escape(text), cell.measured_place)
    return f"{text} {DIFFERS}" if notes.differs(cell) else text


def _flat(cell: Cell, table: PaperTable) -> dict[str, Any]:
    one, measured = cell.number, cell.measured
    labels = {name: one[name] for name in published.FIELDS}
    place = {"row": one.row, "label": one["method_as_printed"], **labels, "direction": one["direction"]}
    value = one.value if one.text else None
    printed = {"published": value, "published_as": one.text, "flags": sorted(one.flags), "note": one.note}
    return {
        "table": table.printed.id,
        **place,
        **printed,
        "recipe": published.rule(one)["recipe"],
        "measured": measured.value if measured else None,
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "n": measured.n if measured else None,
        "measured_as": cell.metric,
        "measured_on": cell.images,
        "comparable": not cell.reasons if measured else None,
        "reasons": list(cell.reasons),
    }


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
