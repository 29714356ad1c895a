"""The figures of a run's tables as plain values, from which each output is rendered: the terminal, Markdown, the page.

Here stands, once, which metrics a table has, how a value and its interval are rounded, who is compared and what must be said of
the images. A renderer decides only how that looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from invbench.api import MetricSpec
from invbench.reports import coverage, equal_change, query, trips
from invbench.reports.compare import Compared
from invbench.reports.run import Run
from invbench.reports.text import interval_text, number_format


@dataclass(frozen=True)
class Figure:
    """One value with its interval, rounded as its column is.

    value            exact; NaN where there is none, infinite where a metric has no bound
    low, high        ends of its interval; NaN where there is none
    text             the rounded value; where some images' are infinite also how many, and the mean of the others
    low_text, high_text, bias    rounded likewise; empty where there is none
    n, own           images that the value is over; images that the method itself covers
    few              covers too few images to be compared with the others
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
        """``[low, high]``; empty where there is none."""
        return interval_text(self.low_text, self.high_text)


@dataclass(frozen=True)
class Table:
    """One table of one dataset: ``rows`` are records of its frame, ``metrics`` those that have any value, with a figure a row.

    statements    what must be said of the images
    incomplete    metrics that some method has values of, but not for every image
    """

    rows: Sequence[Mapping[str, Any]]
    metrics: Sequence[tuple[MetricSpec, Sequence[Figure]]]
    statements: Sequence[str]
    incomplete: Sequence[str]

    @property
    def of_inversions(self) -> list[str]:
        """The metrics that each image has of its inversion."""
        return [spec.id for spec, _ in self.metrics if spec.kind == "inversion"]

    def values(self, name: str) -> list[float]:
        """A column of numbers; NaN where a row has none."""
        return [float(row.get(name, math.nan)) for row in self.rows]

    def covered(self, metrics: Iterable[str]) -> dict[str, list[str]]:
        """Head -> for each row how many images the method itself covers, of those planned."""
        columns = {"inverted": [counts(row) for row in self.rows], "failed": [str(row["n_failed"]) for row in self.rows]}
        return columns | {id: [counts(row, f"{id}.own") for row in self.rows] for id in metrics}


@dataclass(frozen=True)
class DatasetFigures:
    """All tables of a dataset; each but the ``board`` may have no rows."""

    name: str
    board: Table
    edits: Table
    equal_change: Table
    trips: Table


@dataclass(frozen=True)
class LatencyFigures:
    """The table of the latency pass: ``times`` has for the whole inversion, its stages and the edit a figure a row."""

    rows: Sequence[Mapping[str, Any]]
    times: Mapping[str, Sequence[Figure]]


def datasets(run: Run, board: pd.DataFrame, edits: pd.DataFrame, *, strongest: bool = False) -> list[DatasetFigures]:
    """The tables of each dataset of a run.

    board       frame of :func:`invbench.reports.query.leaderboard`
    edits       frame of :func:`invbench.reports.query.edits`
    strongest   only the largest strength of each edit (``edits`` must have been made with it, too), and the largest change
    """
    equal, round_trips = equal_change.summary(run), trips.summary(run)
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
        )
        for name, table in boards(run, board).items()
    ]


def boards(run: Run, board: pd.DataFrame) -> dict[str, Table]:
    """Dataset -> its leaderboard; ``board`` is the frame of :func:`invbench.reports.query.leaderboard`."""
    specs = run.specs_of("inversion", "set")
    return {str(name): _table(name, board, specs, run.inversions) for name in sorted(set(board["dataset"]))}


def latency(run: Run) -> LatencyFigures | None:
    """The figures of the latency pass; None where there was none."""
    frame = query.latency(run)
    names = [column.removesuffix(".low") for column in frame if column.endswith(".low")]
    rows = frame.to_dict("records")
    return LatencyFigures(rows, {name: _estimates(rows, name) for name in names}) if rows else None


def _table(dataset: object, frame: pd.DataFrame, specs: Iterable[MetricSpec], compared: Sequence[Compared]) -> Table:
    frame = frame[frame["dataset"] == dataset]
    rows = frame.to_dict("records")
    metrics = [(spec, _metric(rows, spec.id)) for spec in specs if spec.id in frame and frame[spec.id].notna().any()]
    found = [one for one in compared if one.block.place[0] == dataset]
    return Table(rows, metrics, coverage.statements(found), coverage.incomplete(found))


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
    """The value of a column, its ends and its bias; what is not there or not finite has no text."""
    value, low, high, bias = (float(row.get(f"{name}{part}", math.nan)) for part in ("", ".low", ".high", ".bias"))
    ends = (write(low), write(high)) if math.isfinite(low) else ("", "")
    return Figure(value, low, high, write(value), *ends, bias=write(bias) if math.isfinite(bias) else "")


def _estimates(rows: Sequence[Mapping[str, Any]], name: str) -> list[Figure]:
    """A column of values with ends and nothing to compare."""
    write = number_format(row[name] for row in rows)
    return [_figure(row, name, write) for row in rows]


def counts(row: Mapping[str, Any], done: str = "n_ok", *, of: str = "n_total") -> str:
    """How many images of those planned: ``7/8``."""
    return f"{row[done]}/{row[of]}"
