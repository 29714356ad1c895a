"""The table of a sweep in all formats; the page has its plots as well."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from invbench.compare.stats import Interval
from invbench.compare.text import NOTHING, escape_markdown
from invbench.reports import formats, sweep_plots
from invbench.reports.grid import GITHUB, Column, fold, grid
from invbench.reports.latex import tex
from invbench.reports.sweeps import Row, Swept
from invbench.reports.templating import environment, static
from invbench.reports.text import interval_text, number_format
from invbench.swept import PAGE
from invbench.util.files import write_atomic

LABEL, COUNT, PRINTED = "point", "n", "printed"


def terminal(found: Swept, *, width: int | None = None) -> str:
    """The table as plain text, in several parts if it would be wider than ``width`` characters (None: no limit)."""
    point, count, *columns = texts(found)
    groups: list[list[Column]] = []
    for column in columns:
        if column[0] == PRINTED:
            groups[-1].append(column)
        else:
            groups.append([column])
    return f"{found.caption}\n\n{fold([point, count], groups, width)}\n\n" + "".join(f"{line}\n" for line in found.notes)


def markdown(found: Swept) -> str:
    """The table in GitHub's Markdown."""
    lines = "".join(f"- {escape_markdown(line)}\n" for line in found.notes)
    columns = [(escape_markdown(head), [*map(escape_markdown, column)]) for head, column in texts(found)]
    return f"### {escape_markdown(found.caption)}\n\n{grid(columns, GITHUB, left=1)}\n\n{lines}"


def latex(found: Swept) -> str:
    """A ``table`` environment with booktabs rules; the plus-minus is the larger side of the interval."""
    columns = texts(found, interval=lambda write, one: rf" $\pm$ {write(one.margin)}")
    body = [
        " & ".join(text if r"$\pm$" in text else tex(text) for text in line) + r" \\"
        for line in zip(*(texts for _, texts in columns), strict=True)
    ]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering\footnotesize",
            rf"\caption{{{tex(found.caption)}}}\label{{tab:{found.plan['name']}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(tex(head) for head, _ in columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            *(rf"{{\footnotesize\noindent {tex(line)}\par}}" for line in found.notes),
            "",
        ]
    )


def as_csv(found: Swept) -> str:
    """One line for each point and column, with all digits."""
    rows = _flat(found)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: formats.field(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def as_json(found: Swept) -> str:
    """The same as an object, with what the sweep is; numbers that are not finite are null."""
    content = {"sweep": dict(found.plan), "values": _flat(found), "notes": list(found.notes)}
    return json.dumps(formats.finite(content), indent=1, ensure_ascii=False) + "\n"


def html(found: Swept) -> str:
    """One page with the plots and the table, which asks for nothing outside."""
    columns, plots = texts(found, interval=_below), sweep_plots.plots(found)
    paired = any(len(pair) > 1 for pair in plots)  # measured beside printed; else one after the other fills the page
    return environment().get_template("sweep.html.j2").render(
        title=found.caption,
        style=static("site.css"),
        plots=plots if paired else [[one for pair in plots for one in pair]],
        heads=[head for head, _ in columns],
        rows=list(zip(*(texts for _, texts in columns), strict=True)),
        notes=found.notes,
    )


def write_page(found: Swept, folder: Path) -> Path:
    """Write the page into the sweep's folder, in place of a link that stands there. Returns its path."""
    write_atomic(folder / PAGE, html(found).encode())
    return folder / PAGE


FORMATS: Mapping[str, Callable[[Swept], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
    "html": html,
}


def texts(found: Swept, *, interval: Callable[..., str] | None = None) -> list[Column]:
    """The columns of the table: points, images, and for each metric the measured values and the printed ones.

    ``interval``: (number format, interval) -> the text after a value; None: " [low, high]".
    """
    columns: list[Column] = [(LABEL, [row.label for row in found.rows]), (COUNT, [_count(row) for row in found.rows])]
    for index, column in enumerate(found.columns):
        cells = [row.cells[index] for row in found.rows]
        write = number_format(cell.measured.value for cell in cells if cell.measured is not None)
        measured = []
        for cell in cells:
            one = cell.measured
            text = NOTHING if one is None else write(one.value)
            if one is not None and math.isfinite(one.low):
                text += interval(write, one) if interval else f" {interval_text(write(one.low), write(one.high))}"
            measured.append(text)
        columns.append((column.head, measured))
        if found.printed(index):
            columns.append((PRINTED, ["" if cell.printed is None else cell.printed.text for cell in cells]))
    return columns


def _below(write: Callable[[float], str], one: Interval) -> Markup:
    """An interval on a line of its own below its value, in the page."""
    return Markup('<span class="interval">{}</span>').format(interval_text(write(one.low), write(one.high)))


def _count(row: Row) -> str:
    return NOTHING if row.reason else str(row.n) if row.n == row.total else f"{row.n} of {row.total}"


def _flat(found: Swept) -> Sequence[dict[str, Any]]:
    lines = []
    for row in found.rows:
        for column, cell in zip(found.columns, row.cells, strict=True):
            one, number = cell.measured, cell.printed
            edit, strength = column.edit or ("", None)
            values = (None,) * 3 if one is None else tuple(map(_finite, (one.value, one.low, one.high)))
            point = {"sweep": found.plan["name"], "point": row.point["name"], "label": row.label, "line": row.point["line"]}
            point |= {"x": row.point["x"], "method": row.point["method"], "preset": row.point["preset"]}
            point |= {"settings": " ".join(row.point["settings"]), "metric": column.id, "edit": edit, "strength": strength}
            point |= dict(zip(("value", "low", "high"), values, strict=True))
            point |= {"n": row.n, "of": row.total, "reason": row.reason, "machine": row.machine}
            point |= {"printed": number.value if number else None, "printed_as": number.text if number else ""}
            point |= {"printed_in": f"{number['source']}, {number['table']}" if number else ""}
            point |= {"printed_n": number["n_images"] if number else ""}
            point |= {"flags": ";".join(sorted(number.flags)) if number else ""}
            lines.append(point)
    return lines


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
