"""The plots of the front page, drawn when the site is written: quality against seconds, reconstruction against editability."""

from __future__ import annotations

from markupsafe import Markup

from invbench import schema
from invbench.reports import svg, verdicts
from invbench.reports.site_data import Board
from invbench.reports.text import ARROWS


def quality_plot(board: Board) -> Markup:
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
    unit = f", {column.unit}" if column.unit in verdicts.UNITS else ""
    return svg.pareto(points, better=column.better, title=f"{column.head} {ARROWS[column.better]}{unit}")
