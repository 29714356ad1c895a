"""Parts that the text formats of a paper table share: footnotes, caption, columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from invbench.compare.stats import LEVEL
from invbench.reports import published
from invbench.reports.paper_tables import Cell, PaperTable
from invbench.reports.text import ARROWS, interval_text, number_format

DIFFERS = "≠"


class Notes:
    """Footnotes, each placed at the widest scope that it holds for: the table, a column, a row, or one number.

    Not ``shown``: neither lines nor markers, but a value that is not comparable still says so (:meth:`differs`).
    """

    def __init__(self, table: PaperTable, *, shown: bool = True) -> None:
        self.shown = shown
        self.table = table
        self.reasons: dict[str, dict[str, None]] = {}  # reason why measured values are not comparable -> metrics
        rows = [row for _, row in table.rows]
        self.shared = _in_all(cell for row in rows for cell in row.values())
        columns = {key: _in_all(row[key] for row in rows if key in row) for key in table.printed.columns()}
        numbers: dict[str, int] = {}

        def markers(texts: Iterable[str], *said: Collection[str]) -> str:
            new = [text for text in texts if shown and not any(text in known for known in (self.shared, *said))]
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
        """Whether the measured value is not comparable with the printed one; its reasons then appear in :meth:`lines`."""
        for reason in cell.reasons:
            self.reasons.setdefault(reason, {})[cell.number["metric"]] = None
        return bool(cell.reasons)

    def lines(self) -> list[str]:
        """All footnotes of the table, one text each. Call it after :meth:`differs` for every cell."""
        table = self.table
        if not self.shown:
            return [f"{DIFFERS} not comparable in value"] if self.reasons else []
        lines = [f"all printed numbers: {text}" for text in self.shared]
        lines += [f"[{number}] {text}" for text, number in self.numbered.items()]
        lines += [f"{DIFFERS} not comparable in value ({', '.join(of)}): {reason}" for reason, of in self.reasons.items()]
        lines += list(table.notes)
        if any(cell.measured for _, row in table.rows for cell in row.values()):
            lines.append(f"intervals: {LEVEL:.0%} BCa bootstrap of the mean; best and second measured: ranks of tie groups")
        for one in table.agreements:
            head = f"order of {one.metric}" + (f", {one.domain}" if "domain" not in table.printed.common else "")
            interval = interval_text(f"{one.tau.low:z.2f}", f"{one.tau.high:z.2f}")
            lines.append(
                f"{head}: Kendall's τ {one.tau.value:z.2f} {interval} between printed and measured ({one.measured_as}) "
                f"over {len(one.methods)} methods ({', '.join(map(published.name_of, one.methods))}), {one.tau.n} images"
            )
        return lines


def caption(table: PaperTable) -> str:
    """The caption: name and source of the table, and the fields that all its numbers share."""
    common = [f"{name} {value}" for name, value in table.printed.common.items()]
    return f"{table.printed.title}" + (f": {', '.join(common)}" if common else "")


def columns(table: PaperTable) -> list[tuple[tuple[str, ...], bool, str]]:
    """(printed column, whether it holds measured values, head) from left to right; measured columns only if not empty."""
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


def format_of(cells: Sequence[Cell | None]) -> Callable[[float], str]:
    """The number format of the measured values of a column, see :func:`invbench.reports.text.number_format`."""
    return number_format([cell.measured.value for cell in cells if cell is not None and cell.measured is not None])


def _texts(cell: Cell) -> list[str]:
    rule = published.rule(cell.number).get("note", "")
    return [*published.notes(cell.number), *([rule] if rule else [])]


def _in_all(cells: Iterable[Cell]) -> list[str]:
    """The notes that all cells have."""
    of_each = [_texts(cell) for cell in cells]
    return [text for text in of_each[0] if all(text in texts for texts in of_each)]
