"""The page and the table of ``invbench directions show``."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invbench.compare.stats import Interval
from invbench.reports import templating
from invbench.schema import signed


@dataclass(frozen=True)
class Sheet:
    """One edit: heads and rows of its table, the metric of its change ("" if there is none), and source -> PNG of its strip."""

    name: str
    measure: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    strips: Mapping[str, bytes]
    strengths: Sequence[float]


def sheets(
    lines: Sequence[Any],
    strips: Mapping[tuple[str, str], bytes],
    strengths: Mapping[str, Sequence[float]],
    measures: Mapping[str, str],
) -> list[Sheet]:
    """A sheet an edit. ``lines``: objects with the fields edit, source, strength, asked, change, others and kept."""
    found = []
    for name in strengths:
        own = [line for line in lines if line.edit == name]
        others, kept = (list(own[0].others), list(own[0].kept)) if own else ([], [])
        heads = ["source", "strength", "change", "asked", *(f"|{one}|" for one in others), *kept]
        rows = [
            [line.source, signed(line.strength), _text(line.change), _number(line.asked)]
            + [*map(_number, line.others.values()), *map(_text, line.kept.values())]
            for line in own
        ]
        own_strips = {source: data for (edit, source), data in strips.items() if edit == name}
        found.append(Sheet(name, measures.get(name, ""), heads, rows, own_strips, strengths[name]))
    return found


def page(found: Sequence[Sheet], *, suite: str, images: int, seed: int, without: Sequence[str]) -> str:
    """The page, which holds its pictures and opens without a server."""
    edits = [
        {
            "name": one.name,
            "measure": one.measure,
            "heads": one.heads,
            "rows": one.rows,
            "strips": [
                {"source": source, "data": base64.b64encode(data).decode(), "strengths": ", ".join(map(signed, one.strengths))}
                for source, data in one.strips.items()
            ],
        }
        for one in found
    ]
    template = templating.environment().get_template("directions.html.j2")
    style = templating.static("site.css")
    return template.render(suite=suite, images=images, seed=seed, edits=edits, without=without, style=style)


def table(lines: Sequence[Any], measures: Mapping[str, str]) -> str:
    """All lines as CSV, numbers as they are: one row an edit, source and strength."""
    others = list(dict.fromkeys(name for line in lines for name in line.others))
    kept = list(dict.fromkeys(id for line in lines for id in line.kept))
    heads = ["edit", "source", "strength", "images", "asked", "measure", "change", "change_low", "change_high"]
    heads += [f"{name}_change_abs" for name in others]
    heads += [head for id in kept for head in (id, f"{id}_low", f"{id}_high")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for line in lines:
        row = [line.edit, line.source, line.strength, line.images, line.asked, measures[line.edit]]
        row += [line.change.value, line.change.low, line.change.high, *(line.others.get(name, "") for name in others)]
        for id in kept:
            row += [line.kept[id].value, line.kept[id].low, line.kept[id].high] if id in line.kept else [""] * 3
        writer.writerow(row)
    return text.getvalue()


def _text(interval: Interval) -> str:
    if not math.isfinite(interval.value):
        return "–"
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"
