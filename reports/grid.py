"""Columns of text as a table for the terminal or for Markdown, by tabulate, with the marks and escapes of each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from invbench.compare.text import escape_markdown

Column = tuple[str, Sequence[str]]  # head and texts
_LEFT = frozenset({"edit", "method", "point", "preset", "rank", "on"})  # heads of columns of words


@dataclass(frozen=True)
class Style:
    """How a text format escapes text and marks the best (1) and the second best (2); ``format`` is its name in tabulate."""

    format: str
    escape: Callable[[str], str]
    marks: Mapping[int, str]  # place -> pattern

    def mark(self, text: str, place: int) -> str:
        """``text``, already escaped, marked as the best (``place`` 1) or the second best (2); unchanged for another place."""
        return self.marks.get(place, "{}").format(text)


SIMPLE = Style("simple", lambda text: text, {1: "* {}"})
GITHUB = Style("github", escape_markdown, {1: "**{}**", 2: "<u>{}</u>"})


def grid(columns: Sequence[Column], style: Style, *, left: int) -> str:
    """One table. Texts must be escaped already; the first ``left`` columns are aligned left."""
    align = ["left" if index < left or head in _LEFT else "right" for index, (head, _) in enumerate(columns)]
    rows = list(zip(*(texts for _, texts in columns)))
    return tabulate(rows, headers=[head for head, _ in columns], tablefmt=style.format, disable_numparse=True, colalign=align)


def fold(fixed: Sequence[Column], groups: Sequence[Sequence[Column]], width: int | None, style: Style = SIMPLE) -> str:
    """One table, or several below each other if one would be wider than ``width`` characters (None: no limit).

    Each table begins with the ``fixed`` columns. A group of columns is never divided.
    """
    tables: list[list[Column]] = [[*fixed]]
    for group in groups:
        if width is not None and len(tables[-1]) > len(fixed) and width_of([*tables[-1], *group]) > width:
            tables.append([*fixed])
        tables[-1] += group
    return "\n\n".join(grid(columns, style, left=0) for columns in tables)


def width_of(columns: Sequence[Column]) -> int:
    """Number of characters in a line of the table: tabulate pads a head by two and separates columns by two blanks."""
    return sum(max([len(head) + 2, *map(len, texts)]) + 2 for head, texts in columns) - 2
