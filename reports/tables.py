"""Tables of a run as text, for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import pandas as pd
from tabulate import tabulate

from invbench import schema
from invbench.compare.stats import LEVEL
from invbench.compare.text import NOTHING, escape_markdown, shown
from invbench.reports import edit_sets, figures, query
from invbench.reports.figures import Figure, LatencyFigures, Table, counts
from invbench.reports.grid import GITHUB, SIMPLE, Column, Style, fold, width_of
from invbench.reports.run import Run
from invbench.reports.text import ARROWS, edit_text, mebibytes, number_format, signed, written
from invbench.store import Store

LATENCY = "latency: seconds of an image that comes alone, median [quartiles]; s/image above is throughput, in batches"
SOURCES = "sources of directions at an equal change, method by method; n = images on which the source reaches the change"
EQUAL_CHANGE = "kept by edits at an equal change of the attribute; n = images on which the method reaches the change"
TRIPS = "round trips (edit, invert the result, edit back); see docs/edits.md"
NAMED = 3  # number of images that a failure names


@dataclass(frozen=True)
class Layout:
    """The layout of a table.

    style      that of the terminal or of Markdown
    intervals  whether to give intervals with the means; None: if the table then fits into ``width``
    width      width of the terminal in characters, at which tables are folded; None: no folding
    """

    style: Style = SIMPLE
    intervals: bool | None = None
    width: int | None = None


def terminal(source: Store | Run, *, intervals: bool | None = None, covered: bool = False, width: int | None = None) -> str:
    """All tables of a run as text: leaderboard, strongest edits, times, failures and what could not be measured.

    ``covered`` adds the number of images that each method covers in each metric; without it, only incomplete metrics have it.
    ``intervals`` and ``width`` are those of :class:`Layout`.
    """
    run, layout = Run.of(source), Layout(intervals=intervals, width=width)
    found = figures.datasets(run, query.leaderboard(run), query.edits(run, strongest=True), strongest=True)
    blocks: list[list[str]] = []
    for one in found:
        blocks.append([one.name, leaderboard(one.board, layout), *one.board.statements])
        known = [spec.id for spec in run.specs_of("inversion") if spec.id in one.board.rows[0]]
        metrics = known if covered else one.board.incomplete
        if metrics:
            own = [[column] for column in one.board.covered(metrics).items()]
            blocks.append([f"{one.name}: images covered of images planned", fold(_heads(one.board.rows, SIMPLE), own, width)])
        if one.edits.rows:
            head = f"{one.name}: edits at the largest strength (the page has all)"
            blocks.append([head, edits(one.edits, layout), *one.edits.statements])
    for one in found:
        if one.equal_change.rows:
            table = equal_change(one.equal_change, layout)
            blocks.append([f"{one.name}: {EQUAL_CHANGE}", table, *one.equal_change.statements])
    for one in found:
        if one.sources.rows:
            blocks.append([f"{one.name}: {SOURCES}", sources(one.sources, layout), *one.sources.statements])
    for one in found:
        if one.trips.rows:
            blocks.append([f"{one.name}: {TRIPS}", round_trips(one.trips, layout), *one.trips.statements])
    if told := edit_sets.text(edit_sets.tables(run), edit_sets.without(run), width=width):
        blocks.append([told])
    times = figures.latency(run)
    if times:
        blocks.append([LATENCY, latency(times, layout)])
    blocks.append(_notes(run))
    failed = query.failures(run)
    if len(failed):
        blocks.append(["failed", failure_table(failed)])
    return "\n\n".join("\n".join(lines) for lines in blocks)


def markdown(source: Store | Run) -> str:
    """The leaderboards of a run in GitHub's Markdown, with a heading for each dataset: best bold, second best underlined.

    Tables of the FID of edits follow, where `invbench edit-fid` computed it.
    """
    run, parts = Run.of(source), []
    for name, table in figures.boards(run, query.leaderboard(run)).items():
        lines = "".join(f"\n- {escape_markdown(line)}" for line in table.statements)
        parts.append(f"### {escape_markdown(name)}\n\n{leaderboard(table, Layout(GITHUB, intervals=True))}\n{lines}")
    if told := edit_sets.text(edit_sets.tables(run), edit_sets.without(run), style=GITHUB):
        parts.append(f"### FID of edits\n\n{told}")
    return "\n\n".join(parts) + "\n"


def leaderboard(table: Table, layout: Layout) -> str:
    """The leaderboard of a dataset as text: metrics, then seconds and memory."""
    fixed = [*_heads(table.rows, layout.style), ("n", [counts(row) for row in table.rows])]
    memory = {schema.DEVICE_PEAK: "device MiB", schema.RSS_PEAK: "RSS MiB"}
    costs = _numbers(table, {schema.INVERT: "s/image", schema.EDIT: "s/edit"})
    costs += [(head, list(map(mebibytes, table.values(name)))) for name, head in memory.items() if _used(table, name)]
    return _lay_out(fixed, table, costs, layout)


def edits(table: Table, layout: Layout) -> str:
    """The table of a dataset's edits as text, by edit and strength."""
    fixed = [
        _edit_column(table, layout.style),
        *_heads(table.rows, layout.style),
        ("n", [counts(row) for row in table.rows]),
        ("asked", [written(row["target"], "+zg", unit=row["unit"]) for row in table.rows]),
    ]
    return _lay_out(fixed, table, [], layout)


def equal_change(table: Table, layout: Layout) -> str:
    """The table of a dataset's edits at equal change as text."""
    fixed = [
        ("edit", [layout.style.escape(f"{row['edit']} {signed(row['change'])} {row['unit']}") for row in table.rows]),
        *_heads(table.rows, layout.style),
        ("n", [counts(row, "n") for row in table.rows]),
        ("strength", [written(row["strength"], "+z.2f") for row in table.rows]),
    ]
    return _lay_out(fixed, table, [], layout)


def sources(table: Table, layout: Layout) -> str:
    """The comparison of sources of directions as text, a row a method and source."""
    escape = layout.style.escape
    fixed = [
        ("edit", [escape(f"{row['edit']} {signed(row['change'])} {row['unit']}") for row in table.rows]),
        ("method", [escape(row["preset"]) for row in table.rows]),
        ("source", [escape(row["method"]) for row in table.rows]),
        ("n", [counts(row, "n") for row in table.rows]),
        ("strength", [written(row["strength"], "+z.2f") for row in table.rows]),
    ]
    return _lay_out(fixed, table, [], layout)


def round_trips(table: Table, layout: Layout) -> str:
    """The table of a dataset's round trips as text."""
    fixed = [
        _edit_column(table, layout.style),
        *_heads(table.rows, layout.style),
        ("n", [counts(row) for row in table.rows]),
    ]
    return _lay_out(fixed, table, _numbers(table, {"trimmed": "LEC, trimmed", "seconds": "s/image"}), layout)


def latency(found: LatencyFigures, layout: Layout) -> str:
    """The table of the latency pass as text."""
    fixed = [*_heads(found.rows, layout.style), ("n", [counts(row, of="n") for row in found.rows])]
    times: list[list[Column]] = [
        [(name, [f"{one.text} {one.interval}".rstrip() for one in column])] for name, column in found.times.items()
    ]
    machines = [layout.style.escape(str(row["machine"])) for row in found.rows]
    return fold(fixed, [*times, [("on", machines)]], layout.width, layout.style)


def failure_table(failed: pd.DataFrame, *, style: Style = SIMPLE) -> str:
    """The frame of :func:`invbench.reports.query.failures` as text; long reasons are shortened."""
    rows = [
        [row.dataset, row.method, row.preset, row.rows, ", ".join([*row.images[:NAMED], *["…"][: len(row.images) > NAMED]])]
        + [shown(str(row.reason))]
        for row in failed.itertuples()
    ]
    cells = [[style.escape(str(cell)) for cell in row] for row in rows]
    heads = ["dataset", "method", "preset", "rows", "images", "reason"]
    return tabulate(cells, headers=heads, tablefmt=style.format, disable_numparse=True, maxcolwidths=[None] * 5 + [70])


def _lay_out(fixed: Sequence[Column], table: Table, costs: Sequence[Column], layout: Layout) -> str:
    """``fixed`` columns, metrics, ``costs``; without intervals if they do not fit and were not asked for."""

    def groups(intervals: bool) -> list[list[Column]]:
        return [*_metrics(table, layout.style, intervals=intervals), *([column] for column in costs)]

    found = groups(layout.intervals is not False)
    if layout.intervals is None and layout.width is not None and width_of([*fixed, *chain(*found)]) > layout.width:
        found = groups(False)
    return fold(fixed, found, layout.width, layout.style)


def _metrics(table: Table, style: Style, *, intervals: bool) -> list[list[Column]]:
    """For each metric: means with the best marked, and ranks if there are any."""
    found: list[list[Column]] = []
    for spec, column in table.metrics:
        head = f"{style.escape(spec.id)} {ARROWS[spec.better]}".strip()
        group: list[Column] = [(head, [_text(one, style, intervals=intervals) for one in column])]
        if any(one.rank for one in column):
            group.append(("rank", [one.rank or NOTHING for one in column]))
        found.append(group)
    return found


def _text(one: Figure, style: Style, *, intervals: bool) -> str:
    parts = [one.text, one.interval, f"(bias {one.bias})" if one.bias else ""]
    text = style.mark(style.escape(" ".join(filter(None, parts)) if intervals else one.text), one.place)
    return f"({text}, {one.n} img)" if one.few else text


def _notes(run: Run) -> list[str]:
    notes = [
        f"[low, high]: {LEVEL:.0%} BCa interval of the mean; rank: methods that cannot be told apart share one",
        "* shares the first rank (paired sign-flip tests, Holm); of set metrics, the best value at the most images",
        "n = images inverted of images planned; (in brackets): covers too few images to be compared",
    ]
    if "bias" in run.sets and run.sets["bias"].notna().any():
        notes.append("bias: of a set metric, due to the number of images; [low - bias, high - bias] is for all such images")
    if not run.manifest.get("finished"):
        notes.append("this run is not finished; `invbench run` with the same arguments continues it")
    return notes + [f"{id}: {shown(reason)}" for id, reason in query.unavailable(run).items()]


def _heads(rows: Sequence[Mapping[str, object]], style: Style) -> list[Column]:
    return [(name, [style.escape(str(row[name])) for row in rows]) for name in ("method", "preset")]


def _edit_column(table: Table, style: Style) -> Column:
    return "edit", [style.escape(edit_text(row["edit"], row["strength"])) for row in table.rows]


def _numbers(table: Table, heads: Mapping[str, str]) -> list[Column]:
    """Columns (head, numbers), for the columns that have any number."""
    found: list[Column] = []
    for name, head in heads.items():
        values = table.values(name)
        if not all(map(math.isnan, values)):
            found.append((head, list(map(number_format(values), values))))
    return found


def _used(table: Table, name: str) -> bool:
    return any(value > 0 for value in table.values(name))
