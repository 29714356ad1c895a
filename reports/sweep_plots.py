"""The plots of a sweep: one for each metric, and beside it one of what the paper prints.

The two never share an axis of values: other pictures, another generator. They share the axis of settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from invbench import schema, swept
from invbench.reports import svg
from invbench.reports.sweeps import Cell, Row, Swept

SECONDS_TITLE = "seconds an image (log)"


Values = tuple[float, float, float]  # a value and the ends of its interval; NaN: none


@dataclass(frozen=True)
class Placed:
    """A point with its place on the axis and its value."""

    row: Row
    at: float
    values: Values


def plots(found: Swept) -> list[list[Markup]]:
    """For each column its plot, if it has two values, and that of its printed numbers, if there are any."""
    drawn = [
        [
            _plot(found, index, _measured, title=column.head, fewest=2),
            _plot(found, index, _printed, title=f"{column.head}, as printed", fewest=1),
        ]
        for index, column in enumerate(found.columns)
        if not schema.is_seconds(column.id)
    ]
    return [kept for pair in drawn if (kept := [one for one in pair if one])]


def _measured(cell: Cell) -> Values:
    one = cell.measured
    return (math.nan,) * 3 if one is None else (one.value, one.low, one.high)


def _printed(cell: Cell) -> Values:
    return math.nan if cell.printed is None else cell.printed.value, math.nan, math.nan


def _plot(found: Swept, index: int, read: Callable[[Cell], Values], *, title: str, fewest: int) -> Markup:
    placed = _placed(found, index, read)
    if len(placed) < fewest:
        return Markup("")
    if found.plan["axis"] == swept.SECONDS and not any(one.row.point["line"] for one in placed):
        points = [svg.Point(one.row.label, one.at, *one.values) for one in placed]
        return svg.pareto(points, better=found.columns[index].better, title=title)
    names = dict.fromkeys(str(one.row.point["line"]) for one in placed)
    series = [_line(found, name, [one for one in placed if one.row.point["line"] == name]) for name in names]
    span = [] if found.plan["axis"] == swept.SECONDS else _span(found)
    joined = bool(found.plan["axis"])  # points side by side have no order
    marks = _marks(found, placed)
    return svg.lines(series, title=title, x_title=_axis_title(found), marks=marks, span=span, joined=joined)


def _placed(found: Swept, index: int, read: Callable[[Cell], Values]) -> list[Placed]:
    """The points that have a value and a place on the axis."""
    timed = found.plan["axis"] == swept.SECONDS
    clock = next(i for i, column in enumerate(found.columns) if schema.is_seconds(column.id))
    placed = []
    for row, at in zip(found.rows, _places(found), strict=True):
        at = read(row.cells[clock])[0] if timed else at
        values = read(row.cells[index])
        if math.isfinite(values[0]) and math.isfinite(at) and (at > 0 or not _is_log(found)):
            placed.append(Placed(row, at, values))
    return placed


def _places(found: Swept) -> list[float]:
    """Where the points stand on the axis, if it is not that of seconds: at their numbers, else side by side."""
    numbered = found.plan["axis"] not in ("", swept.SECONDS)
    return [float(row.point["x"]) if numbered else float(number) for number, row in enumerate(found.rows)]


def _span(found: Swept) -> list[float]:
    """The ends of the axis, if it is not that of seconds; points side by side have half a place to the edges."""
    places, room = [_scaled(found, at) for at in _places(found)], 0.0 if found.plan["axis"] else 0.5
    return [min(places) - room, max(places) + room]


def _line(found: Swept, name: str, placed: Sequence[Placed]) -> svg.Line:
    x = [_scaled(found, one.at) for one in placed]
    return svg.Line(name, x, *zip(*(one.values for one in placed), strict=True))


def _scaled(found: Swept, at: float) -> float:
    return math.log10(at) if _is_log(found) else at


def _is_log(found: Swept) -> bool:
    return bool(found.plan["log"]) or found.plan["axis"] == swept.SECONDS


def _marks(found: Swept, placed: Sequence[Placed]) -> list[tuple[float, str]]:
    """The labels below the axis: of every point of the sweep, or round numbers of seconds."""
    if found.plan["axis"] != swept.SECONDS:
        labels = [f"{row.point['x']:g}" if found.plan["axis"] else row.label for row in found.rows]
        places = [_scaled(found, at) for at in _places(found)]
        low, high = _span(found)
        return _apart(list(dict.fromkeys(zip(places, labels, strict=True))), width=(high - low) or 1.0)
    logs = [math.log10(one.at) for one in placed]
    powers = range(math.floor(min(logs)), math.ceil(max(logs)) + 1)
    steps = [(power + math.log10(step), f"{step * 10.0**power:g}") for power in powers for step in (1, 2, 5)]
    within = [(at, label) for at, label in steps if min(logs) <= at <= max(logs)]
    return within or [(logs[0], f"{placed[0].at:g}")]


def _apart(marks: Sequence[tuple[float, str]], *, width: float) -> list[tuple[float, str]]:
    """Those labels that do not touch the one before, on an axis of that ``width`` in its own units."""
    letter = 6.2 * width / (svg.WIDTH - svg.LEFT - svg.RIGHT)
    kept: list[tuple[float, str]] = []
    for at, label in sorted(marks):
        if not kept or at - kept[-1][0] >= letter * ((len(label) + len(kept[-1][1])) / 2 + 1):
            kept.append((at, label))
    return kept


def _axis_title(found: Swept) -> str:
    axis = found.plan["axis"]
    return SECONDS_TITLE if axis == swept.SECONDS else f"{axis} (log)" if found.plan["log"] else axis

