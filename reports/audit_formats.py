"""An audit as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from invbench.compare.text import NOTHING, escape_markdown
from invbench.reports import audit, published
from invbench.reports.audit import Order, Pair, Quantity, Row
from invbench.reports.formats import field, finite
from invbench.reports.grid import GITHUB, SIMPLE, Column, Style, grid
from invbench.reports.latex import tex
from invbench.reports.text import ARROWS, interval_text, number_format

MARKS = {"suspected_misprint": "m", "matches_other_source": "c"}
LEGEND = "m: suspected misprint, c: copied from another source; neither counts. The order is that of the means of what counts."


def terminal(found: Sequence[Quantity]) -> str:
    """For each quantity its orders and what joins or parts the sources."""
    blocks = []
    for one in found:
        blocks += [head(one, order) + "\n\n" + _grid(order, SIMPLE) for order in one.orders]
        blocks += ["\n".join(f"  {evidence(pair, one)}" for pair in one.pairs)] if one.pairs else []
    return "\n\n".join([*blocks, LEGEND]) + "\n"


def markdown(found: Sequence[Quantity]) -> str:
    """The same in GitHub's Markdown, with a heading for each order."""
    blocks = []
    for one in found:
        blocks += [f"### {escape_markdown(head(one, order))}\n\n{_grid(order, GITHUB)}" for order in one.orders]
        blocks += ["\n".join(f"- {escape_markdown(evidence(pair, one))}" for pair in one.pairs)] if one.pairs else []
    return "\n\n".join([*blocks, escape_markdown(LEGEND)]) + "\n"


def latex(found: Sequence[Quantity]) -> str:
    """A ``table`` for each order; its first line names the packages that it needs."""
    blocks = [r"% needs \usepackage{booktabs,graphicx}"]
    for one in found:
        for order in one.orders:
            columns = _columns(order, tex)
            lines = [" & ".join(texts) + r" \\" for texts in zip(*(texts for _, texts in columns))]
            notes = [rf"\par\raggedright {tex(evidence(pair, one))}" for pair in one.pairs if order is one.orders[0]]
            blocks += [
                r"\begin{table}",
                r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
                rf"\caption{{{tex(head(one, order))}}}",
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{rl{'r' * (len(columns) - 2)}}}",
                r"\toprule",
                " & ".join(name for name, _ in columns) + r" \\",
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}}",
                *notes,
                rf"\par\raggedright {tex(LEGEND)}",
                r"\end{table}",
            ]
    return "\n".join(blocks) + "\n"


def as_csv(found: Sequence[Quantity]) -> str:
    """One line for each printed number."""
    rows = [
        {"domain": one.domain, "dataset": one.dataset, "metric": one.metric, "order": number} | line
        for one in found
        for number, order in enumerate(one.orders, start=1)
        for row in order.rows
        for line in _lines(row, order)
    ]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else ["domain"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: field(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def as_json(found: Sequence[Quantity]) -> str:
    """A JSON list of quantities with their orders and pairs; numbers that are not finite are null."""
    content = [
        {
            "domain": one.domain,
            "dataset": one.dataset,
            "metric": one.metric,
            "orders": [
                {"sources": list(order.sources), "measured_as": order.measured_as, "rows": list(map(_record, order.rows))}
                for order in one.orders
            ],
            "pairs": [
                {"sources": list(pair.sources), "joined": pair.joined, "differences": dict(pair.differences)}
                | {"near": list(pair.near), "causes": list(pair.causes)}
                for pair in one.pairs
            ],
        }
        for one in found
    ]
    return json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Quantity]], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}


def head(one: Quantity, order: Order) -> str:
    """What an order is of: "faces, celebahq: lpips ↓, printed by DHR and GANInverter"."""
    better = f"{one.metric} {ARROWS[one.direction]}".rstrip()
    return f"{one.domain}, {one.dataset}: {better}, printed by {_listed([short(name) for name in order.sources])}"


def evidence(pair: Pair, one: Quantity) -> str:
    """What the numbers of two sources say of their protocols, in a sentence."""
    a, b = map(short, pair.sources)
    share = f"{len(pair.near)} of {len(pair.differences)} shared rows within {audit.NEAR:.0%}"
    together = any(set(pair.sources) <= set(order.sources) for order in one.orders)
    agreed = "same protocol" if together else "agree, but not with most of the others"
    verdict = agreed if pair.joined else "kept apart" if pair.apart else "not shown to share a protocol"
    far = [f"{label} {value:+.0%}" for label, value in pair.differences.items() if label not in pair.near]
    parts = [f"{a} and {b}: {verdict}: {share}", *([f"{b} differs in {', '.join(far)}"] if far else [])]
    parts += pair.causes or (["no known cause"] if far else [])
    return "; ".join(parts)


def short(source: str) -> str:
    """The name of a source in a column: what stands before its title."""
    name: str = published.protocols()["sources"][source]
    return name.split(" (")[0].removeprefix("README of caopulan/")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _grid(order: Order, style: Style) -> str:
    return grid(_columns(order, style.escape), style, left=2)


def _columns(order: Order, escape: Callable[[str], str]) -> list[Column]:
    """Place, method, a column for each source, and one for what was measured, if anything was."""
    columns: list[Column] = [
        ("", [str(row.place or "") for row in order.rows]),
        ("method", [escape(row.label) for row in order.rows]),
    ]
    for source in order.sources:
        columns.append((escape(short(source)), [escape(_printed(row, source)) for row in order.rows]))
    if order.measured_as:
        values = [
            one for row in order.rows if row.measured for one in (row.measured.value, row.measured.low, row.measured.high)
        ]
        write = number_format(values)
        columns.append((escape(order.measured_as), [escape(_measured(row, write)) for row in order.rows]))
    return columns


def _printed(row: Row, source: str) -> str:
    one = row.printed.get(source)
    if one is None:
        return ""
    marks = "".join(mark for flag, mark in MARKS.items() if flag in one.flags)
    return f"{one.text} {marks}".rstrip()


def _measured(row: Row, write: Callable[[float], str]) -> str:
    if row.measured is None:
        return NOTHING
    return f"{write(row.measured.value)} {interval_text(write(row.measured.low), write(row.measured.high))}"


def _lines(row: Row, order: Order) -> list[dict[str, Any]]:
    measured = row.measured
    return [
        {"place": row.place or "", "method": row.label, "source": source, "published": one.text, "counts": audit.counts(one)}
        | {"recipe": published.rule(one)["recipe"], "measured_as": order.measured_as if measured else ""}
        | {"measured": measured.value if measured else "", "low": measured.low if measured else ""}
        | {"high": measured.high if measured else "", "n": measured.n if measured else ""}
        for source, one in row.printed.items()
    ]


def _record(row: Row) -> dict[str, Any]:
    printed = {source: {"value": one.value, "counts": audit.counts(one)} for source, one in row.printed.items()}
    measured = row.measured and {
        "value": row.measured.value,
        "low": row.measured.low,
        "high": row.measured.high,
        "n": row.measured.n,
    }
    return {"place": row.place or None, "method": row.label, "value": row.value, "printed": printed, "measured": measured}
