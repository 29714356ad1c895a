"""A paper table in LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from invbench.compare.stats import Interval
from invbench.reports.paper_tables import Cell, PaperTable
from invbench.reports.table_notes import Notes, caption, columns, format_of

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "≠": r"$\neq$", "–": "--"}
_LATEX |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "τ": r"$\tau$", ">": r"$>$", "<": r"$<$"}
_LATEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"}


def latex(table: PaperTable, *, notes: bool = True) -> str:
    """A ``table`` environment with booktabs rules and siunitx columns; its first lines name the packages that it needs.

    Best bold, second best underlined. The plus-minus is the larger side of the interval, which BCa makes unequal. A table
    that is wider than the line is made smaller. Notes follow the float, which would not fit a page with them.
    """
    footnotes = Notes(table, shown=notes)
    parts, labels = columns(table), len(table.printed.row_fields)
    heads = [tex(head) for head in table.printed.row_fields]
    heads += [f"{{{tex(head)}{'' if measured else _raised(footnotes.heads[key])}}}" for key, measured, head in parts]
    found = [_column([row.get(key) for _, row in table.rows], measured, footnotes) for key, measured, _ in parts]
    label = table.printed.id.replace("paper:", "tab:")
    lines = []
    for i, (names, _) in enumerate(table.rows):
        named = [*map(tex, names[:-1]), tex(names[-1]) + _raised(footnotes.labels[i])]
        lines.append(" & ".join([*named, *(texts[i] for _, texts in found)]) + r" \\")
    return (
        "\n".join(
            [
                r"% needs \usepackage{booktabs,etoolbox,graphicx,siunitx}, \robustify\bfseries and",
                r"% \sisetup{separate-uncertainty=true, detect-weight=true, group-digits=none, mode=text}",
                r"\begin{table}",
                r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
                rf"\caption{{{tex(caption(table))}}}\label{{{label}}}",
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{{'l' * labels}{''.join(spec for spec, _ in found)}}}",
                r"\toprule",
                " & ".join(heads) + r" \\",
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}}",
                r"\end{table}",
                *_below(footnotes.lines(), label),
            ]
        )
        + "\n"
    )


def _below(notes: Sequence[str], label: str) -> list[str]:
    """The notes as small text below each other."""
    head = rf"{{\footnotesize\raggedright\noindent Notes to Table~\ref{{{label}}}.\par"
    return [head, *(rf"\noindent {tex(line)}\par" for line in notes), "}"] if notes else []


def _column(cells: Sequence[Cell | None], measured: bool, notes: Notes) -> tuple[str, list[str]]:
    """Specification and cells of a column, with room for the marks after its numbers."""
    numbers = _tex_numbers(cells, measured)
    marks = [_mark(cell, measured, notes) for cell in cells]
    room = max(marks, key=len, default="")
    spec = f" S[table-format={_table_format(numbers)}" + (f", table-space-text-post={{{room}}}]" if room else "]")
    return spec, [_tex_cell(cell, number, mark, measured) for cell, number, mark in zip(cells, numbers, marks)]


def _tex_numbers(cells: Sequence[Cell | None], measured: bool) -> list[str]:
    """The siunitx text of a cell: "0.0036" or "0.0123 \\pm 0.0011"; empty if there is no number."""
    if not measured:
        return [cell.number.text if cell is not None else "" for cell in cells]
    write = format_of(cells)
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


def _mark(cell: Cell | None, measured: bool, notes: Notes) -> str:
    if cell is None or (measured and cell.measured is None):
        return ""
    return _raised((r"$\neq$" if notes.differs(cell) else "") if measured else notes.cells[id(cell)])


def _tex_cell(cell: Cell | None, number: str, mark: str, measured: bool) -> str:
    if cell is None or (measured and cell.measured is None):
        return "{}"
    if not number:
        return rf"{{--{mark}}}"
    place = cell.measured_place if measured else cell.place
    if place == 2:  # siunitx cannot underline a number that it aligns
        return rf"{{\underline{{\num{{{number}}}}}{mark}}}"
    return (r"\bfseries " if place == 1 else "") + number + (f" {{{mark}}}" if mark else "")


def _raised(marker: str) -> str:
    return rf"\textsuperscript{{{marker}}}" if marker else ""


def tex(text: str) -> str:
    """Text as LaTeX shows it unchanged."""
    return "".join(_LATEX.get(letter, letter) for letter in re.sub(r"\s+", " ", text))
