"""Quality against iterations and against seconds, of methods that show their way (``invbench run --curves``)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd
from markupsafe import Markup

from invbench.reports import svg
from invbench.reports.site_data import Board
from invbench.reports.text import ARROWS, short_head
from invbench.schema import CURVES

AXES = (("step", "steps (log)", 1.0), ("seconds", "seconds an image (log)", 0.0))  # column, title, what is added before the log


def plots(board: Board) -> list[Markup]:
    """For each metric of the curves: its mean against steps, and against seconds; empty if there are no curves of the dataset.

    An image whose optimisation ended early keeps its last value, and its seconds.
    """
    frame = board.run.store.curves()
    frame = frame[frame["dataset"] == board.dataset]
    found = []
    for id, spec in board.run.specs.items():
        if id not in frame or id in CURVES.names:
            continue
        ways = {board.run.label(*method): _mean_way(frame, method, id) for method in board.methods}
        for column, x_title, shift in AXES:
            lines = [
                svg.Line(label, [math.log10(x + shift) for x in way[column]], way["value"].tolist())
                for label, way in ways.items()
                if len(way) and (way[column] + shift > 0).all()
            ]
            head = f"{short_head(spec)} {ARROWS[spec.better]}"
            ends = [at for line in lines for at in line.x]
            found.append(svg.lines(lines, title=head, x_title=x_title, marks=list(_marks(ends, shift))))
    return [plot for plot in found if plot]


def _mean_way(frame: pd.DataFrame, method: Sequence[str], metric: str) -> pd.DataFrame:
    """Columns step, seconds, value: means over the images of a method that the metric covers, at every step of any of them."""
    own = frame[(frame["method"] == method[0]) & (frame["preset"] == method[1]) & frame[metric].notna()]
    tables = {name: own.pivot(index="image", columns="step", values=name).ffill(axis=1) for name in ("seconds", metric)}
    means = pd.DataFrame({name: table.mean() for name, table in tables.items()})
    return means.rename(columns={metric: "value"}).rename_axis("step").reset_index()


def _marks(ends: Sequence[float], shift: float) -> Iterator[tuple[float, str]]:
    """Round numbers within the ends of an axis: (place, label)."""
    if not ends:
        return
    if shift:
        yield math.log10(shift), "0"
    for power in range(math.floor(min(ends)), math.ceil(max(ends)) + 1):
        for step in (1, 3):
            number = step * 10.0**power
            if number >= shift:
                yield math.log10(number + shift), f"{number:g}"
