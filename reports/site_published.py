"""Published numbers beside the measured ones on a leaderboard, each marked where it cannot be compared, with the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from invbench import schema
from invbench.reports import published
from invbench.reports.extract import Column
from invbench.reports.measured import PLAIN
from invbench.reports.published import Number, PrintedTable


def rows(dataset: str, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The printed rows of a dataset's domain, with a cell for each of the leaderboard's columns.

    A row has ``label``, ``source``, ``n`` (empty if not stated) and ``cells``, by number of the column: ``text``, ``value`` and
    ``reason``, why it cannot be compared with the measured values; empty where it can.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for table in published.tables().values():
        for number in table.numbers:
            at = _column(number, columns) if _is_of(number, dataset) else None
            if at is None:
                continue
            row = found.setdefault((table.id, number.row), _row(table, number))
            reason = _reason(number, dataset, columns[at])
            if at not in row["cells"] or (row["cells"][at]["reason"] and not reason):
                row["cells"][at] = _cell(number, reason)
    return list(found.values())


def reasons(found: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """For each source the distinct reasons of its rows."""
    by_source: dict[str, dict[str, None]] = {}
    for row in found:
        for cell in row["cells"].values():
            if cell["reason"]:
                by_source.setdefault(row["paper"], {})[cell["reason"]] = None
    return [(paper, list(known)) for paper, known in by_source.items()]


def _is_of(number: Number, dataset: str) -> bool:
    """Whether a number is of a method itself, its reconstructions, and the domain of the dataset."""
    starts = published.protocols()["domains"].get(number["domain"], ())
    plain = number["variant"] in PLAIN and not number["versus"] and not number["edit"]
    return plain and math.isfinite(number.value) and any(dataset.replace("-", "_").startswith(start) for start in starts)


def _column(number: Number, columns: Sequence[Column]) -> int | None:
    """The column of a number: that of the same recipe, else the first of the same family."""
    family, recipe = published.protocols()["families"].get(number["metric"]), published.rule(number)["recipe"]
    if family is None or schema.is_seconds(family):
        return None
    names = [(index, one.spec.name) for index, one in enumerate(columns) if one.spec is not None and one.spec.kind != "edit"]
    same = [index for index, one in enumerate(columns) if one.id == recipe]
    near = [index for index, name in names if name == family or name.startswith(f"{family}_")]
    return next(iter([*same, *near]), None)


def _reason(number: Number, dataset: str, column: Column) -> str:
    rule, parts = published.rule(number), []
    if not dataset.replace("-", "_").startswith(number["dataset"] or number["domain"]):
        parts.append(f"measured on {number['dataset'] or number['domain']}")
    if rule["recipe"] != column.id:
        parts.append(f"by {rule['recipe']}, not {column.id}" if rule["recipe"] else str(rule.get("reason", "recipe unknown")))
    if "matches_other_source" in number.flags:
        parts.append("copied from another paper")
    return "; ".join(parts)


def _row(table: PrintedTable, number: Number) -> dict[str, Any]:
    embedder = f" ({published.name_of(number['embedder'])})" if number["embedder"] else ""
    paper = str(published.protocols()["sources"][table.source]).partition(" (")[0]
    return {
        "label": published.name_of(number["method"]) + embedder,
        "paper": paper,
        "source": f"{paper}, {table.name}",
        "n": number["n_images"],
        "cells": {},
    }


def _cell(number: Number, reason: str) -> dict[str, str]:
    scale = float(published.protocols()["scale"].get(number["metric"], 1.0))
    value = number.value / scale
    return {"text": number.text if scale == 1.0 else f"{value:.4g}", "value": repr(value), "reason": reason}
