"""The edits of a dataset on the site: change against strength, what was kept against the change, leakage by edit and method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from invbench.api import Edit, plain_edit, sources_of
from invbench.compare import stats
from invbench.compare.stats import Interval
from invbench.compare.text import shown
from invbench.reports import compare, edit_sets, svg, verdicts
from invbench.reports.measures import Measure
from invbench.reports.run import Run
from invbench.reports.site_data import Board
from invbench.reports.text import ARROWS, short_head

TRUE_CHANGE = "true_change"  # the metric of the change that the dataset knows to be true
SHOWN = (*verdicts.KEPT, "truth_psnr", "leakage")  # what is drawn against the change: the first two that a run has
LEAKS = ("leakage_ratio", "leakage", "attribute_flips")  # matrices of edits and methods
_NONE = Interval(math.nan, math.nan, math.nan, 0)

Means = Mapping[tuple[str, str, float], Sequence[Interval]]  # metric, edit, strength -> the mean of each method


def plots(board: Board) -> list[tuple[str, list[Markup]]]:
    """For each edit: its change against strength beside what was asked, and what was kept against the change.

    A sum of edits has both for the change of each of its parts. An edit by several sources of directions has its lines in one
    plot.
    """
    run, found = board.run, []
    edits = {
        name: [one.strength for one in board.edits() if one.name == name]
        for name in dict.fromkeys(e.name for e in board.edits())
    }
    by_plain: dict[str, dict[str, list[float]]] = {}
    for name, strengths in edits.items():
        by_plain.setdefault(plain_edit(name), {})[name] = strengths
    changes = {name: [(part.name, _change(run, part.name)) for part in Edit(name, 0.0).parts] for name in by_plain}
    kept = [spec for name in SHOWN for spec in run.specs_of("edit") if spec.name == name and spec.id in run.rows][:2]
    true = next((spec for spec in run.specs_of("edit") if spec.name == TRUE_CHANGE and spec.id in run.rows), None)
    moves = [one for parts in changes.values() for _, one in parts if one is not None]
    wanted = [one.id for one in (*moves, *kept, *([true] if true else []))]
    means = _means(board, list(dict.fromkeys(wanted)))
    for edit, group in by_plain.items():
        drawn: list[Markup] = []
        first, strengths = next(iter(group.items()))
        for part, change in changes[edit]:
            if change is None:
                continue
            own = _lines(board, means, change.id, group)
            unit = run.manifest.get("edits", {}).get(part, {}).get("unit", "")
            title = f"change of {part}" + (f", {unit}" if unit else "")
            asked = _asked(board, means, true, first, strengths, part=part)
            moved = [svg.Line(label, at, *ends) for label, at, ends in own]
            drawn.append(svg.lines(moved, title=title, x_title="strength", ideal=asked))
            for spec in kept:
                rest = {label: ends for label, _, ends in _lines(board, means, spec.id, group)}
                both = [svg.Line(label, values, *rest[label]) for label, _, (values, _, _) in own if label in rest]
                drawn.append(svg.lines(both, title=f"{short_head(spec)} {ARROWS[spec.better]}", x_title=title))
        if any(drawn):
            found.append((edit, [one for one in drawn if one]))
    return found


def leakage(board: Board) -> list[dict[str, Any]]:
    """How much an edit changes what it should not: a matrix of methods and edits for each measure of LEAKS that a run has.

    Values are of the largest strength; ``share`` is the value's share of the largest of the matrix, 0 to 1.
    """
    table, found = board.found.edits, []
    edits = list(dict.fromkeys(str(row["edit"]) for row in table.rows))
    for name in LEAKS:
        for spec, figures in table.metrics:
            if spec.name != name:
                continue
            of = {(row["method"], row["preset"], row["edit"]): one for row, one in zip(table.rows, figures)}
            largest = max((one.value for one in figures if math.isfinite(one.value)), default=0.0) or 1.0
            rows = []
            for method in board.methods:
                cells = [of.get((*method, edit)) for edit in edits]
                rows.append(
                    (
                        board.run.label(*method),
                        [_cell(one.value, one.text, largest) if one else _cell(math.nan, "–", 1.0) for one in cells],
                    )
                )
            found.append({"head": f"{spec.title or short_head(spec)} {ARROWS[spec.better]}", "edits": edits, "rows": rows})
    return found


def edit_fids(board: Board) -> dict[str, Any]:
    """The FID of edits, where ``invbench edit-fid`` computed it: a table for each form, edit and direction, how to read them,
    and what could not be computed."""
    tables = [table for table in edit_sets.tables(board.run) if table.dataset == board.dataset]
    lacking = edit_sets.of_dataset(edit_sets.without(board.run), board.dataset)
    found = [(table, edit_sets.columns(table)) for table in tables]
    return {
        "tables": [
            {"title": edit_sets.title(table), "heads": [head for head, _ in columns], "notes": edit_sets.notes(table)}
            | {"rows": list(zip(*(texts for _, texts in columns), strict=True))}
            for table, columns in found
        ],
        "notes": [
            *(edit_sets.LEGEND if found else ()),
            *edit_sets.orders(tables),
            *(f"without {form}: {shown(why)}" for form, why in lacking.items()),
        ],
    }


def _cell(value: float, text: str, largest: float) -> dict[str, str]:
    share = value / largest if math.isfinite(value) and value > 0 else 0.0
    return {"text": text, "share": f"{share:.2f}"}


def _change(run: Run, edit: str) -> Measure | None:
    """The metric that measures an edit's change, with any value."""
    family = f"{edit}_change"
    known = [one for one in run.specs_of("edit") if one.id in run.rows]
    return next((one for one in known if one.name == family or one.name.startswith(f"{family}_")), None)


def _asked(
    board: Board, means: Means, true: Measure | None, edit: str, strengths: Sequence[float], *, part: str
) -> list[tuple[float, float]]:
    """The change that the edit, or a part of a sum, should make: that known to be true, else strength times the part's step."""
    if true is not None:
        known = [(s, next((one.value for one in means.get((true.id, edit, s), ()) if one.n), math.nan)) for s in strengths]
        known = [one for one in known if math.isfinite(one[1])]
        if known:
            return sorted([*known, (0.0, 0.0)])
    step = board.run.manifest.get("edits", {}).get(part, {}).get("per_strength")
    return [(s, s * step) for s in (min(0.0, *strengths), max(0.0, *strengths))] if step else []


def _lines(
    board: Board, means: Means, metric: str, edits: Mapping[str, Sequence[float]]
) -> list[tuple[str, Sequence[float], tuple[list[float], list[float], list[float]]]]:
    """(label, strengths, (means, lower ends, upper ends)) of the methods that have any value; ``edits``: edit -> strengths."""
    found = []
    for edit, strengths in edits.items():
        source = "".join(f" @{one}" for one in sources_of(edit))
        for index, method in enumerate(board.methods):
            own = [means[metric, edit, s][index] if (metric, edit, s) in means else _NONE for s in strengths]
            if any(one.n for one in own):
                ends = [one.value for one in own], [one.low for one in own], [one.high for one in own]
                found.append((f"{board.run.label(*method)}{source}", strengths, ends))
    return found


def _means(board: Board, metrics: Sequence[str]) -> Means:
    """Means over the images that all compared methods cover, with their intervals."""
    run = board.run
    images = {method: run.images(*method, board.dataset) for method in board.methods}
    plan = {(board.dataset, edit.name, edit.strength): images for edit in board.edits()}
    found = compare.blocks(run.rows, plan, metrics=metrics, by=["dataset", "edit", "strength"])
    columns = [block.column(index) for block in found for index in range(len(block.methods))]
    intervals = iter(stats.mean_intervals(columns, np.random.default_rng(compare.SEED)))
    return {(block.metric, *block.place[1:]): [next(intervals) for _ in block.methods] for block in found}
