"""Recompute the scores of a run folder from its saved pictures, and compare them with those in its rows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invbench import schema
from invbench.api import Dataset, Edit, InvbenchError, Sample
from invbench.plugins.config import Suite
from invbench.plugins.registry import Registry
from invbench.plugins.selection import choose_metrics
from invbench.run import originals
from invbench.run.plan import Cell
from invbench.run.rescoring import evaluate_rows
from invbench.run.session import Session, Tools
from invbench.run.shard import Row
from invbench.scoring.scorer import Scorer
from invbench.store import Store
from invbench.util.progress import Progress

NOT_AGAIN = ("set", "round_trip")  # kinds not compared: set values are in another table, a round trip needs the method
TOLERANCE = 1e-5  # relative: the order of summation depends on threads and batches


@dataclass(frozen=True)
class Check:
    """How the recomputed values of a metric agree with the stored ones.

    n          number of values compared
    largest    largest difference, relative to the larger of the two values and of the metric's mean size
    unequal    number of values that differ by more than TOLERANCE, or are NaN or infinite on one side only
    changed    whether its code, weights or protocol changed after the rows were written
    """

    metric: str
    n: int
    largest: float
    unequal: int
    changed: bool


def verify(
    path: Path, suite: Suite, registry: Registry, *, metrics: Sequence[str], device: str, say: Callable[[str], None]
) -> list[Check]:
    """One check for each metric in the rows, or for those in ``metrics``.

    A dataset that cannot be opened is replaced by the run folder's copies of the originals, and ``say`` gets a line on it;
    metrics that need the truth are then not compared. Raises InvbenchError if the folder holds no run or a picture is missing.
    """
    store = Store(path)
    cells, stored = [Cell.read(one) for one in store.plan["cells"].values()], store.manifest["metrics"]
    again = [id for id in stored if id in registry.metrics and registry.metrics[id].kind not in NOT_AGAIN]
    chosen = choose_metrics(suite, metrics or again, registry, round_trips=False)
    with Session(suite, device=device, readers=0) as session:
        single = [spec for spec in chosen if spec.kind != "set"]
        scorer = session.scorer(single, protocols=registry.protocols, required=False)
        datasets = {cell.dataset: _dataset(session, store, cell, registry, say) for cell in cells}
        tools = session.tools(store, scorer, datasets=datasets, choices={})
        return _compared(cells, tools)


def _compared(cells: Sequence[Cell], tools: Tools) -> list[Check]:
    store, scorer, datasets = tools.store, tools.scorer, tools.datasets
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    changed: set[str] = set()
    with Progress() as bar:
        bar.begin(sum(len(cell.entries) for cell in cells))
        for cell in cells:
            bar.cell(cell.id)
            for part in store.parts(cell.id):
                began = time.perf_counter()
                changed |= {id for id, recipe in part.metrics.items() if scorer.recipes.get(id, recipe) != recipe}
                old = [row for row in part.rows if row["status"] == "ok"]
                new: list[Row] = [{key: value for key, value in row.items() if key in schema.ROWS.names} for row in old]
                evaluate_rows(cell, new, list(scorer.recipes), tools)
                for was, now in zip(old, new):
                    for id in scorer.recipes:
                        if id in was and id in now and not (isinstance(datasets[cell.dataset], _Copies) and _blind(scorer, id)):
                            pairs[id].append((was[id], now[id]))
                images = sum("edit" not in row for row in old)
                bar.done(images, seconds=(time.perf_counter() - began) / max(images, 1))
    return [_check(id, np.array(pairs[id], dtype=np.float64), id in changed) for id in scorer.recipes if pairs[id]]


def _check(id: str, pairs: np.ndarray, changed: bool) -> Check:
    was, now = pairs.T
    same = (was == now) | (np.isnan(was) & np.isnan(now))
    finite = np.isfinite(was) & np.isfinite(now)
    size = np.abs(was[finite]).mean() if finite.any() else 0.0
    scale = np.maximum(np.maximum(np.abs(was[finite]), np.abs(now[finite])), size)
    error = np.abs(was[finite] - now[finite]) / np.where(scale > 0, scale, 1.0)
    unequal = int((error > TOLERANCE).sum() + (~same & ~finite).sum())
    return Check(id, len(was), float(error.max(initial=0.0)), unequal, changed)


def _dataset(session: Session, store: Store, cell: Cell, registry: Registry, say: Callable[[str], None]) -> Dataset:
    spec = registry.datasets.get(cell.dataset)
    try:
        if spec is None:
            raise InvbenchError("it is not a registered dataset")
        return session.dataset(spec)
    except InvbenchError as error:
        say(f"{cell.dataset}: from the run folder's own copies, without the truth: {error}")
        return _Copies(store, cell)


def _blind(scorer: Scorer, id: str) -> bool:
    """Whether a metric needs truth that copies of the originals do not have."""
    return bool(set(scorer.specs[id].needs) - {"domain_mask"})


class _Copies:
    """The originals as a run folder keeps them."""

    def __init__(self, store: Store, cell: Cell) -> None:
        self._store, self._dataset = store, cell.dataset
        self._entries = {entry.index: entry for entry in cell.entries}
        self.names: Sequence[str] = [entry.name for entry in cell.entries]

    def read(self, index: int) -> Sample:
        entry = self._entries[index]
        sha256 = entry.sha256 or ""
        return Sample(originals.read(self._store, self._dataset, entry.name, sha256), entry.name, sha256)

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        return None
