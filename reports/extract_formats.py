"""An extract of a run as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence

from invbench.compare.stats import LEVEL
from invbench.compare.text import escape_markdown
from invbench.reports.extract import Column, Extract
from invbench.reports.figures import Figure
from invbench.reports.formats import field, finite
from invbench.reports.grid import GITHUB, grid
from invbench.reports.latex import tex
from invbench.reports.text import ARROWS

WIDTH, LINES = 80, 40  # of the terminal that a summary fits into
SPARE = 6  # lines for what the command line prints after it
MARKS = {1: "*", 2: "+"}
LEGEND = "* shares rank 1, + rank 2; of set metrics best and second best"


def text(found: Sequence[Extract], *, width: int = WIDTH) -> str:
    """For each dataset the verdict and the table of the columns: at most 40 lines, where there are few datasets.

    Methods for which there is no room are counted in a last line.
    """
    verdicts = [
        [line for note in (f"{one.dataset}: {one.verdict}", *one.notes) for line in textwrap.wrap(note, width)] for one in found
    ]
    ids = [textwrap.wrap(", ".join(column.id for column in one.columns), width) for one in found]
    alike = len({tuple(lines) for lines in ids}) == 1
    spent = sum(len(verdict) + 4 for verdict in verdicts) + sum(map(len, ids[:1] if alike else ids)) + SPARE
    room = max((LINES - spent) // max(len(found), 1), 3)
    blocks = []
    for one, verdict, names in zip(found, verdicts, ids):
        lines = [*verdict, *_plain(one, room, width)]
        blocks.append("\n".join(lines if alike else [*lines, *names]))
    return "\n\n".join(blocks) + "\n\n" + "\n".join([*(ids[0] if alike and ids else []), LEGEND]) + "\n"


def markdown(found: Sequence[Extract]) -> str:
    """GitHub's Markdown with a heading for each dataset: rank 1 bold, rank 2 underlined."""
    parts = []
    for one in found:
        columns = [("method", [escape_markdown(label) for label in one.labels])]
        columns += [("n", one.counts)] if one.counts else []
        for column in one.columns:
            texts = [GITHUB.mark(escape_markdown(_value(figure)), figure.place) for figure in column.figures]
            columns.append((escape_markdown(_head(column)), texts))
        parts.append(f"### {escape_markdown(one.dataset)}\n\n{escape_markdown(one.verdict)}\n\n{grid(columns, GITHUB, left=1)}")
        parts += [escape_markdown(f"{note}.") for note in one.notes]
    return "\n\n".join(parts) + "\n"


def latex(found: Sequence[Extract]) -> str:
    """A ``table`` for each dataset, as narrow as the line: values without intervals, rank 1 bold, rank 2 underlined.

    It needs booktabs and graphicx, as its first line says, and no other package.
    """
    return "\n".join(["% needs \\usepackage{booktabs,graphicx}", *(line for one in found for line in _latex(one))]) + "\n"


def as_csv(found: Sequence[Extract]) -> str:
    """One line for each value."""
    buffer = io.StringIO()
    records = [record for one in found for record in _records(one)]
    writer = csv.DictWriter(buffer, fieldnames=list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: field(value) for name, value in record.items()} for record in records)
    return buffer.getvalue()


def as_json(found: Sequence[Extract]) -> str:
    """A list of datasets with their verdicts and values; numbers that are not finite are null."""
    content = [
        {"run": one.run.store.path.name, "dataset": one.dataset, "verdict": one.verdict, "level": LEVEL}
        | {"values": list(_records(one))}
        for one in found
    ]
    return json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Extract]], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}


def _plain(one: Extract, room: int, width: int) -> list[str]:
    """The table in narrow columns: heads of two lines, ``room`` rows, and how many methods (or columns) have no room."""
    shown = len(one.labels) if len(one.labels) <= room + 1 else room
    fixed = [["", "method", *one.labels], *([["", "n", *one.counts]] if one.counts else [])]
    columns = [*fixed, *map(_plain_column, one.columns)]
    for gap, kept in [(2, len(columns)), *((1, count) for count in range(len(columns), len(fixed), -1))]:
        widths = [max(map(len, column)) for column in columns[:kept]]
        if sum(widths) + gap * (kept - 1) <= width:
            break
    lines = []
    for row in range(shown + 2):
        cells = [column[row] for column in columns[:kept]]
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:]))]
        lines.append((" " * gap).join(padded).rstrip())
    lines.insert(2, "-" * (sum(widths) + gap * (kept - 1)))
    left = [(len(one.labels) - shown, "methods"), (len(columns) - kept, "columns")]
    return lines + [f"and {count} more {what}: --all" for count, what in left if count]


def _plain_column(column: Column) -> list[str]:
    """Two lines of head, then the texts with their marks behind them."""
    at = column.head.find(", ") + 1 or column.head.find("-") + 1  # where a head is divided
    marks = [MARKS.get(figure.place, "") for figure in column.figures]
    room = max(map(len, marks), default=0)
    texts = [(f"({f.text})" if f.few else f.text) + mark.ljust(room) for f, mark in zip(column.figures, marks)]
    return [column.head[:at], f"{column.head[at:].strip()} {ARROWS[column.better]}{' ' * room}", *texts]


def _latex(one: Extract) -> list[str]:
    heads = ["Method", *(["$n$"] if one.counts else []), *(tex(_head(column)) for column in one.columns)]
    rows = []
    for index, label in enumerate(one.labels):
        cells = [tex(label), *([one.counts[index]] if one.counts else [])]
        cells += [_tex_value(column.figures[index]) for column in one.columns]
        rows.append(" & ".join(cells) + r" \\")
    on = f" Seconds and memory on {tex(one.machine)}." if one.machine else ""
    return [
        r"\begin{table}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{tex(one.dataset)}, means over {_n(one)} images. Bold shares the first rank, underlined the second.{on}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]


def _n(one: Extract) -> int:
    """The largest number of images behind a value, else of images that were inverted."""
    counted = [figure.n for column in one.columns for figure in column.figures]
    return max(counted, default=0) or max((int(row["n_ok"]) for row in one.rows), default=0)


def _tex_value(figure: Figure) -> str:
    marks = {1: r"\textbf{%s}", 2: r"\underline{%s}"}
    return marks.get(figure.place, "%s") % tex(figure.text.replace("∞", "inf"))


def _value(figure: Figure) -> str:
    return f"{figure.text} {figure.interval}".rstrip()


def _head(column: Column) -> str:
    return f"{column.head} {ARROWS[column.better]}".rstrip()


def _records(one: Extract) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for column in one.columns:
        for row, label, figure in zip(one.rows, one.labels, column.figures):
            known = not math.isnan(figure.value)
            found.append(
                {"dataset": one.dataset, "method": row["method"], "preset": row["preset"], "title": label, "metric": column.id}
                | {"value": figure.value + 0.0 if known else None, "unit": column.unit, "better": column.better}
                | {name: end if math.isfinite(end) else None for name, end in (("low", figure.low), ("high", figure.high))}
                | {"n": figure.n or None, "rank": figure.rank, "failed": int(row["n_failed"]), "planned": int(row["n_total"])}
            )
    return found
