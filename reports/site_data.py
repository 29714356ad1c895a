"""What the scripts of the site read: names of images, where their pictures are, values of each image, tests of each pair.

Browsers refuse to read files beside a page that was opened from a disk, so each file is a script that hands over its content:
``data/BOARD.js`` what a dataset holds, ``data/BOARD.N.js`` the values [images][methods] of its Nth metric,
``data/BOARD.pairs.js`` the tests of each pair of methods in each metric.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from invbench.api import Edit, InvbenchError
from invbench.reports import compare, verdicts
from invbench.reports.compare import Block, Compared, Method
from invbench.reports.extract import Extract
from invbench.reports.figures import DatasetFigures
from invbench.reports.run import Run
from invbench.reports.text import edit_text, short_head
from invbench.schema import signed
from invbench.util.files import file_name

PIXELATED = 128  # pictures up to this many pixels are enlarged without smoothing, so that single pixels can be seen


@dataclass(frozen=True)
class Board:
    """A dataset of a run: ``id`` is its name in files and addresses, ``root`` where its pictures are, seen from the site."""

    id: str
    run: Run
    found: DatasetFigures
    main: Extract
    root: str

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return self.found.name

    @property
    def methods(self) -> list[Method]:
        """Its methods in the order of the leaderboard."""
        return [(str(row["method"]), str(row["preset"])) for row in self.found.board.rows]

    @property
    def cells(self) -> list[Mapping[str, Any]]:
        """The plan of each method."""
        return [self.run.plan["cells"][self.cell(method)] for method in self.methods]

    def cell(self, method: Method) -> str:
        """The id of a method's cell."""
        return f"{method[0]}.{method[1]}.{self.dataset}"

    def images(self) -> list[str]:
        """The names of all its images, in the dataset's order."""
        return list(dict.fromkeys(name for method in self.methods for name in self.run.images(*method, self.dataset)))

    def edits(self) -> list[Edit]:
        """All edits that any method was asked for, by name and strength."""
        asked = {Edit(edit["name"], float(edit["strength"])) for cell in self.cells for edit in cell["edits"]}
        return sorted(asked, key=lambda edit: (edit.name, edit.strength))

    def compared(self) -> list[Compared]:
        """The comparisons of its methods: of inversions, and of edits at the largest strength."""
        return [one for one in (*self.run.inversions, *self.run.strongest_edits) if one.block.place[0] == self.dataset]


def scripts(board: Board, hidden: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The files of a board: (name, content). ``hidden``: pictures that must not be shown, as paths of addresses."""
    names, blocks = board.images(), board.compared()
    fidelity = verdicts.first_of(blocks, verdicts.FIDELITY, lambda one: board.run.specs[one.block.metric].name)
    edits: dict[str, list[list[Any]]] = {}
    for edit in board.edits():
        edits.setdefault(edit.name, []).append([edit.strength, quote(f"@{file_name(edit.name)}{signed(edit.strength)}")])
    content = {
        "dataset": board.dataset,
        "root": board.root,
        "inputs": quote(file_name(board.dataset)),
        "images": names,
        "files": [quote(file_name(name)) for name in names],
        "methods": [board.run.label(*method) for method in board.methods],
        "cells": [quote(file_name(board.cell(method))) for method in board.methods],
        "masks": [_has(board.run.store.mask(board.cell(method), "x").parent) for method in board.methods],
        "truths": _has(board.run.store.truth_mask(board.dataset, "x").parent),
        "true_edits": _has(board.run.store.truth(board.dataset, "x", Edit("x", 1.0)).parent),
        "edits": edits,
        "failed": _failed(board, names),
        "hidden": hidden,
        "pixelated": _height(board, names) <= PIXELATED,
        "fidelity": next((index for index, one in enumerate(blocks) if one is fidelity), 0),
        "metrics": [_metric(board, one) for one in blocks],
    }
    yield f"{board.id}.js", script("boards", board.id, content)
    yield f"{board.id}.pairs.js", script("pairs", f"{board.id}.pairs", _pairs(board, blocks))
    for number, one in enumerate(blocks):
        yield f"{board.id}.{number}.js", script("values", f"{board.id}.{number}", _values(board, one.block, names))


def script(kind: str, key: str, content: Any) -> str:
    """A script that hands ``content`` over to the pages."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return f"window.invbench.{kind}[{json.dumps(key)}]={text};\n"


def _metric(board: Board, one: Compared) -> dict[str, Any]:
    spec, (_, *edit) = board.run.specs[one.block.metric], one.block.place
    head = " ".join(filter(None, [short_head(spec), edit_text(*edit) if edit else ""]))
    return {"head": head, "id": spec.id, "better": spec.better, "unit": spec.unit if spec.unit in verdicts.UNITS else ""}


def _values(board: Board, block: Block, names: Sequence[str]) -> list[list[float | str | None]]:
    """The values [images][methods] in the board's order, with six digits; null where there is none."""
    rows, columns = dict(zip(block.images, range(len(block.images)))), [block.methods.index(m) for m in board.methods]
    return _rounded(block.values[[rows[name] for name in names]][:, columns])


def _rounded(table: np.ndarray) -> list[list[float | str | None]]:
    """:func:`_short` of each value [n, m]."""
    finite = np.isfinite(table) & (table != 0)
    size = np.floor(np.log10(np.abs(table), where=finite, out=np.zeros_like(table)))
    digits = np.clip(5 - size, -290, 290)  # powers up to 22 are exact, so the quotient is the shortest decimal
    scale = 10.0 ** np.abs(digits)
    whole = np.rint(np.where(digits < 0, table / scale, table * scale))
    found: list[list[Any]] = (np.where(digits < 0, whole * scale, whole / scale) + 0.0).tolist()
    for row, column in zip(*np.nonzero(~np.isfinite(table))):
        found[row][column] = _short(float(table[row, column]))
    return found


def _pairs(board: Board, blocks: Sequence[Compared]) -> list[list[list[Any]]]:
    """For each metric: [first, second, difference, low, high, Holm's p, distinct, n, images that would decide]."""
    order = {method: index for index, method in enumerate(board.methods)}
    found = []
    for pairs in compare.pairs_of(blocks):
        found.append(
            [
                [order[pair.first], order[pair.second]]
                + [_short(value) for value in (pair.difference.value, pair.difference.low, pair.difference.high, pair.p)]
                + [pair.distinct, pair.difference.n, pair.needed]
                for pair in pairs
            ]
        )
    return found


def _short(value: float) -> float | str | None:
    """The value rounded to six digits; infinity as text, since JSON has none."""
    if math.isnan(value):
        return None
    return ("inf" if value > 0 else "-inf") if math.isinf(value) else float(f"{value:.6g}") + 0.0


def _failed(board: Board, names: Sequence[str]) -> dict[str, str]:
    """ "image.method" by number -> the reason of the failed inversion."""
    rows = board.run.rows
    rows = rows[(rows["dataset"] == board.dataset) & rows["edit"].isna() & (rows["status"] != "ok")]
    at, order = {name: index for index, name in enumerate(names)}, {m: index for index, m in enumerate(board.methods)}
    return {
        f"{at[row.image]}.{order[row.method, row.preset]}": str(row.reason)[:300]
        for row in rows.itertuples()
        if row.image in at and (row.method, row.preset) in order
    }


def _has(folder: Path) -> bool:
    return folder.is_dir()


def _height(board: Board, names: Sequence[str]) -> int:
    """Height in pixels of the first input that can be read; 0 if there is none."""
    for name in names[:8]:
        with suppress(InvbenchError):
            return int(board.run.store.read_picture(board.run.store.input(board.dataset, name)).shape[0])
    return 0
