"""Pages of the site: the published tables, each number with the measured value, their difference and a verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from invbench.reports import paper_tables, published
from invbench.reports.paper_tables import Cell, PaperTable
from invbench.reports.reproduction import WORDS, Verdict, verdict
from invbench.reports.run import Run
from invbench.reports.table_notes import Notes, caption, format_of
from invbench.reports.text import ARROWS, interval_text
from invbench.util.files import file_name

KINDS = dict(zip(WORDS, ("same", "other", "apart")))  # verdict -> class in the style sheet


def tables(run: Run, *, prefix: str = "") -> list[dict[str, Any]]:
    """Every published table: ``title``, ``counts`` of verdicts, ``orders`` (rank agreement), and what its page shows.

    ``path`` is that of its page below the site; empty for a table of which the run measured nothing.
    """
    return [_table(run, printed, prefix) for printed in published.tables().values()]


def _table(run: Run, printed: published.PrintedTable, prefix: str) -> dict[str, Any]:
    table = paper_tables.build(printed, run)
    verdicts = {id(cell): said for _, row in table.rows for cell in row.values() if (said := verdict(cell)) is not None}
    counts = Counter(said.word for said in verdicts.values())
    found = {
        "id": printed.id,
        "title": printed.title,
        "short": f"{str(published.protocols()['sources'][printed.source]).partition(' (')[0]}, {printed.name}",
        "path": f"published/{prefix}{file_name(printed.id.partition(':')[2])}.html" if verdicts else "",
        "numbers": len(printed.numbers),
        "counts": [(word, KINDS[word], counts[word]) for word in WORDS],
        "orders": [
            (
                one.metric,
                f"{one.tau.value:z.2f} {interval_text(f'{one.tau.low:z.2f}', f'{one.tau.high:z.2f}')}".rstrip(),
                len(one.methods),
            )
            for one in table.agreements
        ],
    }
    return found | _content(table, verdicts) if verdicts else found


def _content(table: PaperTable, verdicts: Mapping[int, Verdict]) -> dict[str, Any]:
    notes, reasons = Notes(table), dict[str, int]()
    keys = table.printed.columns()
    writes = {key: format_of([row.get(key) for _, row in table.rows]) for key in keys}
    rows = []
    for (label, row), marks in zip(table.rows, notes.labels):
        cells = []
        for key in keys:
            cell = row.get(key)
            cells.append(None if cell is None else _cell(cell, verdicts.get(id(cell)), notes, reasons, writes[key]))
        rows.append({"label": [*label], "marks": marks, "cells": cells})
    lines = [line for line in notes.lines() if not line.startswith("≠")]  # reasons stand in a list of their own
    return {
        "caption": caption(table),
        "labels": list(table.printed.row_fields),
        "heads": [{"text": _head(table, key), "marks": notes.heads[key]} for key in keys],
        "rows": rows,
        "reasons": [(_letter(number), reason) for reason, number in reasons.items()],
        "notes": lines,
    }


def _cell(cell: Cell, said: Verdict | None, notes: Notes, reasons: dict[str, int], write: Any) -> dict[str, Any]:
    printed = {"text": cell.number.text or "–", "place": cell.place, "marks": notes.cells[id(cell)]}
    if said is None or cell.measured is None:
        return printed | {"verdict": ""}
    one, gap = cell.measured, said.difference
    return printed | {
        "verdict": said.word,
        "kind": KINDS[said.word],
        "measured": write(one.value),
        "measured_place": cell.measured_place,
        "interval": interval_text(write(one.low), write(one.high)) if math.isfinite(one.low) else "",
        # Between values that cannot be compared there is no difference to tell.
        "difference": "" if said.reasons else _difference(gap.value, write),
        "ends": interval_text(_difference(gap.low, write), _difference(gap.high, write)) if _told(said) else "",
        "metric": cell.metric,
        "n": one.n,
        "reasons": [_letter(reasons.setdefault(reason, len(reasons))) for reason in said.reasons],
    }


def _told(said: Verdict) -> bool:
    return not said.reasons and math.isfinite(said.difference.low)


def _difference(value: float, write: Any) -> str:
    text = write(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def _letter(number: int) -> str:
    """0 -> "a", 25 -> "z", 26 -> "aa"."""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _head(table: PaperTable, key: tuple[str, ...]) -> str:
    directions = {row[key].number["direction"] for _, row in table.rows if key in row}
    arrow = ARROWS[directions.pop()] if len(directions) == 1 else ""
    return " ".join(part for part in (*key, arrow) if part) or "value"
