"""The plots of the site, drawn when it is written: quality against seconds, edits against strength."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from invbench import schema
from invbench.reports import compare, svg, verdicts
from invbench.reports.compare import Block
from invbench.reports.run import Run
from invbench.reports.site_data import Board
from invbench.reports.text import ARROWS, short_head


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


def edit_plots(board: Board) -> list[tuple[str, list[Markup]]]:
    """For each edit: its change against strength beside what was asked, and what was kept against the change."""
    run, found = board.run, []
    for edit in dict.fromkeys(edit.name for edit in board.edits()):
        known = run.manifest.get("edits", {}).get(edit, {})
        strengths = [one.strength for one in board.edits() if one.name == edit]
        changes = _means(board, edit, strengths, _change(run, edit))
        plots = []
        if changes:
            step = known.get("per_strength")
            ideal = [(s, s * step) for s in (min(strengths), max(strengths))] if step else []
            lines = [svg.Line(label, strengths, values) for label, values in changes.items()]
            unit = known.get("unit", "")
            title = f"change of {edit}" + (f", {unit}" if unit else "")
            plots.append(svg.lines(lines, title=title, x_title="strength", ideal=ideal))
            for spec in [spec for spec in run.specs_of("edit") if spec.name in (*verdicts.KEPT, "leakage", "truth_psnr")][:2]:
                kept = _means(board, edit, strengths, spec.id)
                both = [svg.Line(label, values, kept.get(label, ())) for label, values in changes.items()]
                plots.append(svg.lines(both, title=f"{short_head(spec)} {ARROWS[spec.better]}", x_title=title))
        kept_plots = [plot for plot in plots if plot]
        if kept_plots:
            found.append((edit, kept_plots))
    return found


def _change(run: Run, edit: str) -> str | None:
    family = f"{edit}_change"
    return next((s.id for s in run.specs_of("edit") if s.name == family or s.name.startswith(f"{family}_")), None)


def _means(board: Board, edit: str, strengths: Sequence[float], metric: str | None) -> dict[str, list[float]]:
    """Label -> mean at each strength, over the images that all compared methods cover; methods without any are left out."""
    run = board.run
    if metric is None or metric not in run.rows:
        return {}
    rows = run.rows[(run.rows["dataset"] == board.dataset) & (run.rows["edit"] == edit)]
    plan = {
        (board.dataset, edit, strength): {method: run.images(*method, board.dataset) for method in board.methods}
        for strength in strengths
    }
    by = {one.place[2]: one for one in compare.blocks(rows, plan, metrics=[metric], by=["dataset", "edit", "strength"])}
    found = {}
    for index, method in enumerate(board.methods):
        values = [_mean(by.get(strength), index) for strength in strengths]
        if not all(map(math.isnan, values)):
            found[run.label(*method)] = values
    return found


def _mean(block: Block | None, index: int) -> float:
    column = np.empty(0) if block is None else block.column(index)
    return float(column.mean()) if len(column) else math.nan
