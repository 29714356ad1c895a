"""A paper table as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from bench.stats import LEVEL, Interval
from reports import published
from reports.paper_tables import Cell, PaperTable
from reports.text import ARROWS, NOTHING, escape_markdown, number_format

DIFFERS = "≠"
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "≠": r"$\neq$", "–": "--"}
_LATEX |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "τ": r"$\tau$", ">": r"$>$", "<": r"$<$"}
_LATEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"}


def terminal(table: PaperTable) -> str:
    """Plain text; an asterisk marks the best of a column."""
    notes = _Notes(table)
    grid, align = _grid(table, notes, Style(lambda text: text, lambda text: f"* {text}", lambda text: text))
    body = tabulate(grid[1:], headers=grid[0], tablefmt="simple", disable_numparse=True, colalign=align)
    return "\n".join([_caption(table), "", body, "", "* best of its column", *notes.lines()]) + "\n"


def markdown(table: PaperTable) -> str:
    """GitHub's Markdown: best bold, second best underlined."""
    notes = _Notes(table)
    style = Style(escape_markdown, lambda text: f"**{text}**", lambda text: f"<u>{text}</u>")
    grid, align = _grid(table, notes, style)
    body = tabulate(grid[1:], headers=grid[0], tablefmt="github", disable_numparse=True, colalign=align)
    lines = [f"- {escape_markdown(line)}" for line in notes.lines()]
    return "\n".join([f"### {escape_markdown(_caption(table))}", "", body, "", *lines]) + "\n"


def latex(table: PaperTable) -> str:
    """A ``table`` environment with booktabs rules and siunitx columns; its first lines say what the preamble needs.

    Best bold, second best underlined. The plus-minus is the larger side of the interval, which BCa makes unequal.
    """
    notes = _Notes(table)
    columns, labels = _columns(table), len(table.printed.row_fields)
    heads = [_tex(head) for head in table.printed.row_fields]
    heads += [f"{{{_tex(head)}{'' if measured else _raised(notes.heads[key])}}}" for key, measured, head in columns]
    specs, texts = "l" * labels, []
    for key, measured, _ in columns:
        cells = [row.get(key) for _, row in table.rows]
        numbers = _tex_numbers(cells, measured)
        specs += f" S[table-format={_table_format(numbers)}]"
        texts.append([_tex_cell(cell, number, measured, notes) for cell, number in zip(cells, numbers)])
    lines = [
        " & ".join([*(_tex(part) for part in label[:-1]), _tex(label[-1]) + _raised(notes.labels[i]), *(c[i] for c in texts)])
        + r" \\"
        for i, (label, _) in enumerate(table.rows)
    ]
    return (
        "\n".join(
            [
                r"% needs \usepackage{booktabs,etoolbox,siunitx}, \robustify\bfseries and",
                r"% \sisetup{separate-uncertainty=true, detect-weight=true, mode=text}",
                r"\begin{table}",
                r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
                rf"\caption{{{_tex(_caption(table))}}}",
                rf"\begin{{tabular}}{{{specs}}}",
                r"\toprule",
                " & ".join(heads) + r" \\",
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                *(rf"\par\raggedright {_tex(line)}" for line in notes.lines()),
                r"\end{table}",
            ]
        )
        + "\n"
    )


def as_csv(table: PaperTable) -> str:
    """One line for each printed number, in printed order."""
    rows = [_flat(cell, table) for _, row in table.rows for cell in row.values()]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "; ".join(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows)
    return buffer.getvalue()


def as_json(table: PaperTable) -> str:
    """The same as an object, with the rank agreements; what is not a finite number is null."""
    agreements = [
        {"metric": one.metric, "measured_as": one.measured_as, "domain": one.domain, "methods": list(one.methods)}
        | {"tau": one.tau.value, "low": one.tau.low, "high": one.tau.high, "level": LEVEL, "n": one.tau.n}
        for one in table.agreements
    ]
    content = {
        "id": table.printed.id,
        "title": table.printed.title,
        "numbers": [_flat(cell, table) for _, row in table.rows for cell in row.values()],
        "rank_agreement": agreements,
        "notes": list(table.notes),
    }
    return json.dumps(_finite(content), indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[PaperTable], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}


@dataclass(frozen=True)
class Style:
    """How a text format escapes text and marks the best and the second best."""

    escape: Callable[[str], str]
    best: Callable[[str], str]
    second: Callable[[str], str]

    def mark(self, text: str, place: int) -> str:
        return {1: self.best, 2: self.second}.get(place, str)(text)


class _Notes:
    """Footnotes, said at the widest place that they hold for: the table, a column, a row, or one number."""

    def __init__(self, table: PaperTable) -> None:
        self.table = table
        self.reasons: dict[str, dict[str, None]] = {}  # why measured values differ -> metrics
        rows = [row for _, row in table.rows]
        self.shared = _in_all(cell for row in rows for cell in row.values())
        columns = {key: _in_all(row[key] for row in rows if key in row) for key in table.printed.columns()}
        numbers: dict[str, int] = {}

        def markers(texts: Iterable[str], *said: Collection[str]) -> str:
            new = [text for text in texts if not any(text in known for known in (self.shared, *said))]
            return ",".join(str(numbers.setdefault(text, len(numbers) + 1)) for text in new)

        self.heads = {key: markers(texts) for key, texts in columns.items()}
        self.labels: list[str] = []
        self.cells: dict[int, str] = {}
        for row in rows:
            everywhere = [text for texts in columns.values() for text in texts]
            of_row = _in_all(row.values())
            self.labels.append(markers(of_row, everywhere))
            for key, cell in row.items():
                self.cells[id(cell)] = markers(_texts(cell), columns[key], of_row)
        self.numbered = numbers

    def differs(self, cell: Cell) -> bool:
        for reason in cell.reasons:
            self.reasons.setdefault(reason, {})[cell.number["metric"]] = None
        return bool(cell.reasons)

    def lines(self) -> list[str]:
        table = self.table
        lines = [f"all printed numbers: {text}" for text in self.shared]
        lines += [f"[{number}] {text}" for text, number in self.numbered.items()]
        lines += [f"{DIFFERS} not comparable in value ({', '.join(of)}): {reason}" for reason, of in self.reasons.items()]
        lines += list(table.notes)
        if any(cell.measured for _, row in table.rows for cell in row.values()):
            lines.append(f"intervals: {LEVEL:.0%} BCa bootstrap of the mean; best and second measured: ranks of tie groups")
        for one in table.agreements:
            head = f"order of {one.metric}" + (f", {one.domain}" if "domain" not in table.printed.common else "")
            interval = f"[{one.tau.low:.2f}, {one.tau.high:.2f}]"
            lines.append(
                f"{head}: Kendall's τ {one.tau.value:.2f} {interval} between printed and measured ({one.measured_as}) "
                f"over {len(one.methods)} methods ({', '.join(one.methods)}), {one.tau.n} images"
            )
        return lines


def _texts(cell: Cell) -> list[str]:
    rule = published.rule(cell.number).get("note", "")
    return [*published.notes(cell.number), *([rule] if rule else [])]


def _in_all(cells: Iterable[Cell]) -> list[str]:
    """The notes that all of them have."""
    of_each = [_texts(cell) for cell in cells]
    return [text for text in of_each[0] if all(text in texts for texts in of_each)]


def _caption(table: PaperTable) -> str:
    common = [f"{name} {value}" for name, value in table.printed.common.items()]
    return f"{table.printed.title}" + (f": {', '.join(common)}" if common else "")


def _columns(table: PaperTable) -> list[tuple[tuple[str, ...], bool, str]]:
    """(printed column, whether it is the measured side, head) from left to right; nothing measured, no measured side."""
    found = []
    for key in table.printed.columns():
        cells = [row[key] for _, row in table.rows if key in row]
        directions = {cell.number["direction"] for cell in cells}
        arrow = ARROWS[directions.pop()] if len(directions) == 1 else ""
        head = " ".join(part for part in (*key, arrow) if part) or "value"
        found.append((key, False, head))
        if any(cell.measured for cell in cells):
            found.append((key, True, "measured"))
    return found


def _grid(table: PaperTable, notes: _Notes, style: Style) -> tuple[list[list[str]], list[str]]:
    """Heads and rows of texts, and the alignment of the columns."""
    columns = _columns(table)
    texts = []
    for key, measured, _ in columns:
        cells = [row.get(key) for _, row in table.rows]
        if measured:
            write = _formats(cells)
            texts.append([_measured_text(cell, write, notes, style) for cell in cells])
        else:
            texts.append([_printed_text(cell, notes, style) for cell in cells])
    named = [_marked(head, "" if measured else notes.heads[key]) for key, measured, head in columns]
    heads = [style.escape(head) for head in (*table.printed.row_fields, *named)]
    labels = [[*label[:-1], _marked(label[-1], marker)] for (label, _), marker in zip(table.rows, notes.labels)]
    rows = [[*map(style.escape, label), *(column[i] for column in texts)] for i, label in enumerate(labels)]
    return [heads, *rows], ["left"] * len(table.printed.row_fields) + ["right"] * len(columns)


def _marked(text: str, markers: str) -> str:
    return f"{text} [{markers}]".lstrip() if markers else text


def _printed_text(cell: Cell | None, notes: _Notes, style: Style) -> str:
    if cell is None:
        return ""
    markers = notes.cells[id(cell)]
    return style.mark(cell.number.text or NOTHING, cell.place) + (style.escape(f" [{markers}]") if markers else "")


def _measured_text(cell: Cell | None, write: Callable[[float], str], notes: _Notes, style: Style) -> str:
    if cell is None or cell.measured is None:
        return ""
    one, text = cell.measured, write(cell.measured.value)
    if math.isfinite(one.low):
        text += f" [{write(one.low)}, {write(one.high)}]"
    text = style.mark(style.escape(text), cell.measured_place)
    return f"{text} {DIFFERS}" if notes.differs(cell) else text


def _formats(cells: Sequence[Cell | None]) -> Callable[[float], str]:
    return number_format([cell.measured.value for cell in cells if cell is not None and cell.measured is not None])


def _tex_numbers(cells: Sequence[Cell | None], measured: bool) -> list[str]:
    """What siunitx is to read in a column: "0.0036" or "0.0123 \\pm 0.0011"; empty where there is no number."""
    if not measured:
        return [cell.number.text if cell is not None else "" for cell in cells]
    write = _formats(cells)
    return [_with_margin(cell.measured, write) if cell is not None and cell.measured else "" for cell in cells]


def _with_margin(one: Interval, write: Callable[[float], str]) -> str:
    if not math.isfinite(one.value):
        return ""
    return write(one.value) + (rf" \pm {write(one.margin)}" if math.isfinite(one.margin) else "")


def _table_format(numbers: Sequence[str]) -> str:
    """siunitx's table-format for a column: sign, digits before and after the point, digits of the uncertainty."""
    parts = [number.split(r" \pm ") for number in numbers if number]
    if not parts:
        return "1.0"
    values = [part[0] for part in parts]
    sign = "-" if any(value.startswith("-") for value in values) else ""
    whole = max(len(value.lstrip("-").split(".")[0]) for value in values)
    decimals = max(len(value.partition(".")[2]) for value in values)
    digits = max((len(part[1].replace(".", "").lstrip("0")) or 1 for part in parts if len(part) > 1), default=0)
    return f"{sign}{whole}.{decimals}" + (f"({digits})" if digits else "")


def _tex_cell(cell: Cell | None, number: str, measured: bool, notes: _Notes) -> str:
    if cell is None or (measured and cell.measured is None):
        return "{}"
    if measured:
        place, marker = cell.measured_place, r"$\neq$" if notes.differs(cell) else ""
    else:
        place, marker = cell.place, notes.cells[id(cell)]
    raised = _raised(marker)
    if not number:
        return rf"{{--{raised}}}"
    if place == 2:  # siunitx cannot underline a number that it aligns
        return rf"{{\underline{{\num{{{number}}}}}{raised}}}"
    return (r"\bfseries " if place == 1 else "") + number + (f" {{{raised}}}" if raised else "")


def _raised(marker: str) -> str:
    return rf"\textsuperscript{{{marker}}}" if marker else ""


def _tex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in re.sub(r"\s+", " ", text))


def _flat(cell: Cell, table: PaperTable) -> dict[str, Any]:
    one, measured = cell.number, cell.measured
    labels = {name: one[name] for name in published.FIELDS}
    place = {"row": one.row, "label": one["method_as_printed"], **labels, "direction": one["direction"]}
    value = one.value if one.text else None
    printed = {"published": value, "published_as": one.text, "flags": sorted(one.flags), "note": one.note}
    return {
        "table": table.printed.id,
        **place,
        **printed,
        "recipe": published.rule(one)["recipe"],
        "measured": measured.value if measured else None,
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "n": measured.n if measured else None,
        "measured_as": cell.metric,
        "measured_on": cell.images,
        "comparable": not cell.reasons if measured else None,
        "reasons": list(cell.reasons),
    }


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
