"""The figures of a run's tables as plain values, from which each output is rendered: the terminal, Markdown, the page.

This module alone decides which metrics a table has, how a value and its interval are rounded, which methods are compared and
which notes on the images are given. A renderer decides only the layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from invbench.reports import coverage, equal_change, machines, query, stability, trips
from invbench.reports.compare import Compared
from invbench.reports.measures import Measure
from invbench.reports.run import Run
from invbench.reports.text import interval_text, number_format


@dataclass(frozen=True)
class Figure:
    """One value with its interval, rounded as its column is.

    value            exact value; NaN if there is none, infinite if the metric has no bound
    low, high        ends of its interval; NaN if there is none
    text             the rounded value; if some images have infinite values, also their number and the mean of the others
    low_text, high_text, bias    rounded in the same way; empty if there is none
    n, own           number of images behind the value; number of images that the method itself covers
    few              whether the method covers too few images to be compared
    rank, place      as in :func:`invbench.reports.query.leaderboard`
    """

    value: float
    low: float
    high: float
    text: str
    low_text: str
    high_text: str
    bias: str = ""
    n: int = 0
    own: int = 0
    few: bool = False
    rank: str = ""
    place: int = 0

    @property
    def interval(self) -> str:
        """The interval as text, ``[low, high]``; empty if there is none."""
        return interval_text(self.low_text, self.high_text)


@dataclass(frozen=True)
class Table:
    """One table of one dataset: ``rows`` are records of its frame, ``metrics`` those with any value, with one figure per row.

    statements    notes on the images, then ``stability``
    stability     how stable the order of methods is between metrics of one quantity
    incomplete    metrics that some method covers, but not for every image
    """

    rows: Sequence[Mapping[str, Any]]
    metrics: Sequence[tuple[Measure, Sequence[Figure]]]
    statements: Sequence[str]
    incomplete: Sequence[str]
    stability: Sequence[str] = ()

    @property
    def of_inversions(self) -> list[str]:
        """The ids of the inversion metrics, which have one value per image."""
        return [spec.id for spec, _ in self.metrics if spec.kind == "inversion"]

    def values(self, name: str) -> list[float]:
        """The column ``name`` as numbers, one per row; NaN if a row has none."""
        return [float(row.get(name, math.nan)) for row in self.rows]

    def covered(self, metrics: Iterable[str]) -> dict[str, list[str]]:
        """Columns of counts of images, by head: inverted, failed, and for each metric the images that it covers ("7/8")."""
        columns = {"inverted": [counts(row) for row in self.rows], "failed": [str(row["n_failed"]) for row in self.rows]}
        return columns | {id: [counts(row, f"{id}.own") for row in self.rows] for id in metrics}


@dataclass(frozen=True)
class DatasetFigures:
    """All tables of a dataset; all but the ``board`` may be empty."""

    name: str
    board: Table
    edits: Table
    equal_change: Table
    trips: Table
    sources: Table  # of directions: compared with each other for each method, as equal_change.by_source has them
    compared_change: Sequence[Compared] = ()  # all comparisons at equal change


@dataclass(frozen=True)
class LatencyFigures:
    """The table of the latency pass: ``times`` has one figure per row for the whole inversion, each stage and the edit."""

    rows: Sequence[Mapping[str, Any]]
    times: Mapping[str, Sequence[Figure]]


def datasets(run: Run, board: pd.DataFrame, edits: pd.DataFrame, *, strongest: bool = False) -> list[DatasetFigures]:
    """The tables of each dataset of a run.

    board       frame of :func:`invbench.reports.query.leaderboard`
    edits       frame of :func:`invbench.reports.query.edits`
    strongest   only the largest strength of each edit (``edits`` must also be made with it) and its largest change
    """
    equal, round_trips = equal_change.summary(run), trips.summary(run)
    by_source = equal_change.by_source(run, strongest=strongest)
    at_change, compared = equal.frame, equal.compared
    if strongest:
        at_change = at_change[at_change["change"] == at_change.groupby(["dataset", "edit"])["change"].transform("max")]
        places = set(at_change[["dataset", "edit", "change"]].itertuples(index=False, name=None))
        compared = [one for one in compared if one.block.place in places]
    edited = run.strongest_edits if strongest else run.edits
    return [
        DatasetFigures(
            name,
            table,
            _table(name, edits, run.specs_of("edit"), edited),
            _table(name, at_change, run.specs_of("edit"), compared),
            _table(name, round_trips.frame, run.specs_of("round_trip"), round_trips.compared),
            _table(name, by_source.frame, run.specs_of("edit"), by_source.compared),
            [one for one in equal.compared if one.block.place[0] == name],
        )
        for name, table in boards(run, board).items()
    ]


def boards(run: Run, board: pd.DataFrame) -> dict[str, Table]:
    """Dataset -> its leaderboard; ``board`` is the frame of :func:`invbench.reports.query.leaderboard`."""
    specs = run.specs_of("inversion", "set")
    found = {str(name): _table(name, board, specs, run.inversions) for name in sorted(set(board["dataset"]))}
    whole = {}
    for name, table in found.items():
        of_sets = stability.statements(stability.of_sets(run.sets[run.sets["dataset"] == name], run.specs_of("set")))
        times = machines.statements(run.rows[run.rows["dataset"] == name])
        lines = [*table.statements, *of_sets, *times]
        whole[name] = replace(table, statements=lines, stability=[*table.stability, *of_sets])
    return whole


def latency(run: Run) -> LatencyFigures | None:
    """The figures of the latency pass; None if there was none."""
    frame = query.latency(run)
    names = [column.removesuffix(".low") for column in frame if column.endswith(".low")]
    rows = frame.to_dict("records")
    return LatencyFigures(rows, {name: _estimates(rows, name) for name in names}) if rows else None


def _table(dataset: object, frame: pd.DataFrame, specs: Sequence[Measure], compared: Sequence[Compared]) -> Table:
    frame = frame[frame["dataset"] == dataset]
    rows = frame.to_dict("records")
    metrics = [(spec, _metric(rows, spec.id)) for spec in specs if spec.id in frame and frame[spec.id].notna().any()]
    found = [one for one in compared if one.block.place[0] == dataset]
    strongest = {one.block.place[:2]: one.block.place for one in sorted(found, key=lambda one: one.block.place[2:])}
    largest = [one for one in found if one.block.place in strongest.values()]
    orders = stability.statements(stability.of_images(largest, {spec.id: spec.better for spec in specs}))
    return Table(rows, metrics, [*coverage.statements(found), *orders], coverage.incomplete(found), orders)


def _metric(rows: Sequence[Mapping[str, Any]], id: str) -> list[Figure]:
    finite = [row.get(f"{id}.finite", row[id]) for row in rows]
    write, found = number_format(finite), []
    for row, others in zip(rows, finite):
        one, n, count = _figure(row, id, write), row[f"{id}.n"], row.get(f"{id}.inf", 0)
        few = not row[f"{id}.compared"] and not math.isnan(one.value)
        if math.isinf(one.value) and count:
            text = f"{one.text} ({count} of {n}" + (f"; others {write(others)})" if count < n else ")")
            one = replace(one, text=text)
        place, rank, own = row[f"{id}.place"], row.get(f"{id}.rank", ""), row[f"{id}.own"]
        found.append(replace(one, n=n, own=own, few=few, rank=rank, place=place))
    return found


def _figure(row: Mapping[str, Any], name: str, write: Callable[[float], str]) -> Figure:
    """The value of a column, the ends of its interval and its bias; missing and infinite ones have no text."""
    value, low, high, bias = (float(row.get(f"{name}{part}", math.nan)) for part in ("", ".low", ".high", ".bias"))
    ends = (write(low), write(high)) if math.isfinite(low) else ("", "")
    return Figure(value, low, high, write(value), *ends, bias=write(bias) if math.isfinite(bias) else "")


def _estimates(rows: Sequence[Mapping[str, Any]], name: str) -> list[Figure]:
    """A column of values with their intervals, without a comparison."""
    write = number_format(row[name] for row in rows)
    return [_figure(row, name, write) for row in rows]


def counts(row: Mapping[str, Any], done: str = "n_ok", *, of: str = "n_total") -> str:
    """The number of images in column ``done`` and in column ``of``: ``7/8``."""
    return f"{row[done]}/{row[of]}"
