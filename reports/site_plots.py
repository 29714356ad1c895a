"""The plots of trade-offs, drawn when the site is written: quality against seconds and editability, stages, memory."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from invbench import schema
from invbench.api import STAGES
from invbench.reports import svg, text, verdicts
from invbench.reports.extract import Column
from invbench.reports.site_data import Board
from invbench.reports.text import ARROWS


def quality(board: Board) -> Markup:
    """The fidelity of each method against its seconds an image, with the front; only times of one machine."""
    column = next(iter(board.main.columns), None)
    rows, seconds = board.found.board.rows, board.found.board.values(schema.INVERT)
    if column is None or column.spec is None:
        return Markup("")
    machines = [row["machine"] for row in rows if row["machine"]]
    usual = max(machines, key=machines.count, default="")
    points = [
        svg.Point(label, time, one.value, one.low, one.high)
        for label, time, one, row in zip(board.main.labels, seconds, column.figures, rows)
        if row["machine"] == usual and not one.few
    ]
    return svg.pareto(points, better=column.better, title=_title(column))


def editability(board: Board) -> Markup:
    """What an edit keeps at an equal change against the fidelity of the reconstruction, with the front."""
    measured = [one for one in board.main.columns if one.spec is not None]
    edited = next((one for one in measured if one.spec is not None and one.spec.kind == "edit"), None)
    fidelity = next((one for one in measured if one.spec is not None and one.spec.kind == "inversion"), None)
    if edited is None or fidelity is None:
        return Markup("")
    points = [
        svg.Point(label, one.value, two.value, two.low, two.high)
        for label, one, two in zip(board.main.labels, fidelity.figures, edited.figures)
        if not one.few and not two.few
    ]
    axes = {"better": edited.better, "better_x": fidelity.better}
    return svg.scatter(points, **axes, title=_title(edited), x_title=_title(fidelity))


def costs(board: Board) -> list[dict[str, Any]]:
    """Seconds by stage and memory of each method, the fastest first; widths in percent.

    ``stages`` are shares of the method's own seconds; ``memory`` is a share of the largest, and "" where none was measured.
    """
    table = board.found.board
    device = any(value > 0 for value in table.values(schema.DEVICE_PEAK))
    bytes_of = table.values(schema.DEVICE_PEAK if device else schema.RSS_PEAK)
    largest = max((value for value in bytes_of if value > 0), default=1.0)
    found = []
    for label, row, seconds, size in zip(board.main.labels, table.rows, table.values(schema.INVERT), bytes_of):
        parts = [(stage, row.get(schema.seconds(stage), math.nan)) for stage in STAGES if stage != "edit"]
        known = [(stage, value) for stage, value in parts if value > 0]
        total = sum(value for _, value in known)
        found.append(
            {
                "label": label,
                "order": seconds if seconds > 0 else math.inf,
                "seconds": text.written(seconds, "z.3g"),
                "stages": [(stage, f"{100 * value / total:.2f}", f"{stage} {value:.3g} s") for stage, value in known],
                "memory": f"{100 * size / largest:.1f}" if size > 0 else "",
                "bytes": text.mebibytes(size),
            }
        )
    return sorted(found, key=lambda one: one["order"])


def _title(column: Column) -> str:
    unit = f", {column.unit}" if column.unit in verdicts.UNITS else ""
    return f"{column.head} {ARROWS[column.better]}{unit}"
