"""How much each layer's weights are changed by methods that change them, as a table and as a plot: figure 8 of HyperInverter.

The statistic is the mean over a layer's weight, and then over the pictures, of the absolute change (Dinh et al. 2022, section
4.5). Beside it stands its share of the mean absolute weight, since layers differ in that.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from invbench.compare.stats import LEVEL, Interval, mean_intervals
from invbench.reports.grid import SIMPLE, Column, Style, grid
from invbench.reports.text import interval_text, number_format, written

SEED = 0  # of the intervals' bootstrap
LABELS, BARS, BAR = 330, 560, 20  # pixels of the plot: its labels, the longest bar, the height of a row


@dataclass(frozen=True)
class LayerChange:
    """One method on one dataset and one layer: the mean change over pictures with its interval, and its share of the weight."""

    method: str
    dataset: str
    layer: str
    change: Interval
    share: float


def summary(frame: pd.DataFrame) -> list[LayerChange]:
    """A row for each method, dataset and layer, in the order of the frame.

    frame  one row a picture: columns method, dataset, image, layer, change and weight (mean absolute weight before)
    """
    groups = list(frame.groupby(["method", "dataset", "layer"], sort=False))
    columns = [rows["change"].to_numpy(np.float64) for _, rows in groups]
    intervals = mean_intervals(columns, np.random.default_rng(SEED))
    return [
        LayerChange(str(method), str(dataset), str(layer), interval, interval.value / float(rows["weight"].iloc[0]))
        for ((method, dataset, layer), rows), interval in zip(groups, intervals, strict=True)
    ]


def table(frame: pd.DataFrame, style: Style = SIMPLE) -> str:
    """The table for the terminal or for Markdown, with what it shows below it."""
    rows = summary(frame)
    texts = [(head, [style.escape(text) for text in column]) for head, column in _columns(rows)]
    return f"{grid(texts, style, left=3)}\n\n{caption(rows)}"


def caption(rows: Sequence[LayerChange]) -> str:
    """One line on what the columns are."""
    return (
        f"mean change: mean absolute change of a layer's weight, over n pictures, with its {LEVEL:.0%} interval; "
        f"{len({row.layer for row in rows})} layers, in the generator's order"
    )


def as_csv(frame: pd.DataFrame) -> str:
    """The rows of :func:`summary` with all digits."""
    buffer = io.StringIO()
    pd.DataFrame(
        [
            {
                "method": row.method,
                "dataset": row.dataset,
                "layer": row.layer,
                "change": row.change.value,
                "low": row.change.low,
                "high": row.change.high,
                "share": row.share,
                "n": row.change.n,
            }
            for row in summary(frame)
        ]
    ).to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def page(frame: pd.DataFrame) -> str:
    """The plot, bars of every method by layer, above the table: one document that asks no other host for anything."""
    rows = summary(frame)
    columns = _columns(rows)
    heads = "".join(f"<th>{escape(head)}</th>" for head, _ in columns)
    lines = zip(*(texts for _, texts in columns), strict=True)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in line)}</tr>" for line in lines)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Change of the generator\'s weights</title>\n'
        "<style>body{font:14px sans-serif;margin:2em}td,th{padding:.15em .8em;text-align:left}</style></head>\n"
        f"<body>{_bars(rows)}\n<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>\n"
        f"<p>{escape(caption(rows))}</p></body></html>\n"
    )


def _bars(rows: Sequence[LayerChange]) -> str:
    """A bar with its interval for each row, in the order of the table, as SVG."""
    longest = max((row.change.high if np.isfinite(row.change.high) else row.change.value for row in rows), default=1.0) or 1.0
    parts = []
    for place, row in enumerate(rows):
        top, end = BAR * place, BARS * row.change.value / longest
        label = escape(f"{row.method} on {row.dataset}: {row.layer}")
        parts.append(f'<text x="{LABELS - 8}" y="{top + BAR - 5}" text-anchor="end">{label}</text>')
        parts.append(f'<rect x="{LABELS}" y="{top + 2}" width="{end:.1f}" height="{BAR - 5}" fill="#7a9cc6"/>')
        if np.isfinite(row.change.low):
            low, high = (LABELS + BARS * value / longest for value in (row.change.low, row.change.high))
            middle = top + BAR / 2
            parts.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#333"/>')
    size = f'viewBox="0 0 {LABELS + BARS + 10} {BAR * len(rows)}" width="{LABELS + BARS + 10}"'
    return f'<svg {size} role="img" aria-label="mean absolute change by layer" font-size="11">{"".join(parts)}</svg>'


def _columns(rows: Sequence[LayerChange]) -> list[Column]:
    write = number_format(row.change.value for row in rows)
    ends = [(write(row.change.low), write(row.change.high)) if np.isfinite(row.change.low) else ("", "") for row in rows]
    return [
        ("method", [row.method for row in rows]),
        ("dataset", [row.dataset for row in rows]),
        ("layer", [row.layer for row in rows]),
        ("mean change", [write(row.change.value) for row in rows]),
        ("interval", [interval_text(low, high) for low, high in ends]),
        ("of the weight", [written(100 * row.share, "z.2f", unit="%") for row in rows]),
        ("n", [str(row.change.n) for row in rows]),
    ]
