"""What a finished run says of a larger one: its tasks, with the seconds that pictures took, and what is spent around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from invbench import schema
from invbench.api import InvbenchError
from invbench.store import Store

MOST_TASKS = 200_000
REMEDY = "`invbench run` with workers (not --in-process) writes it"


@dataclass(frozen=True)
class Kind:
    """Batches of one cell; ``paces``: the measured seconds an image, of the inversion, of each edit and of each round trip."""

    cell: str
    images: int  # of the cell
    batch: int
    paces: tuple[np.ndarray, ...]

    @property
    def tasks(self) -> int:
        """Batches of the cell."""
        return -(-self.images // self.batch)

    def sizes(self) -> np.ndarray:
        """Images of each batch, [tasks]."""
        sizes = np.full(self.tasks, self.batch)
        sizes[-1] = self.images - self.batch * (self.tasks - 1)
        return sizes


@dataclass(frozen=True)
class Measured:
    """A run to be foretold; all times in seconds.

    kinds    of its tasks, in the order in which a run takes them
    harness  around a row: metrics, reading and writing
    start    of a worker, until it can work
    alone    of the first process while no worker has a task: loading, planning, set metrics
    machine  on which the times were measured, as the manifest has it, and in words
    """

    kinds: tuple[Kind, ...]
    harness: float
    start: float
    alone: float
    machine: dict[str, Any]
    named: str

    @property
    def tasks(self) -> int:
        """Batches of all cells."""
        return sum(kind.tasks for kind in self.kinds)

    def draw(self, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Seconds of each task, [draws, tasks]: every batch gets a measured pace of its cell at random for each part of it."""
        every = []
        for kind in self.kinds:
            shape = draws, kind.tasks
            pace = sum((rng.choice(known, shape) for known in kind.paces), np.zeros(shape))
            every.append((pace + self.harness * len(kind.paces)) * kind.sizes())
        return np.concatenate(every, axis=1)


def read(store: Store, *, images: int | None) -> Measured:
    """The run in a folder, with ``images`` of each dataset (None: as many as it has).

    Raises InvbenchError for a run without workers, for rows of several machines, and for more than MOST_TASKS tasks.
    """
    manifest, rows = store.manifest, store.rows()
    work = manifest.get("work")
    if not work or not work.get("rows"):
        raise InvbenchError(f"{store.path / 'manifest.json'}: work: expected what workers took, found none; {REMEDY}")
    timed = rows[rows["status"] == "ok"]
    machines = sorted(timed["machine"].dropna().unique())
    if len(machines) != 1:
        found = ", ".join(machines) or "none that is named"
        raise InvbenchError(f"{store.path}: expected times of one machine, found {found}; simulate from a run of one of them")
    kinds = tuple(_kind(id, cell, timed, images) for id, cell in store.plan["cells"].items())
    before = sum(len(cell["images"]) for cell in store.plan["cells"].values())
    after = sum(kind.images for kind in kinds)
    measured = Measured(
        kinds=kinds,
        harness=max(work["busy"] - work["methods"], 0.0) / work["rows"],
        start=work.get("starting", 0.0) / max(work.get("starts", 0), 1),
        alone=work["alone"] + work["growing"] * (after / before - 1),
        machine=manifest.get("machine", {}),
        named=machines[0],
    )
    if measured.tasks > MOST_TASKS:
        raise InvbenchError(f"--images: expected at most {MOST_TASKS} batches in all, found {measured.tasks}")
    return measured


def _kind(id: str, cell: dict[str, Any], rows: pd.DataFrame, images: int | None) -> Kind:
    own = rows[(rows["method"] == cell["method"]) & (rows["preset"] == cell["preset"]) & (rows["dataset"] == cell["dataset"])]
    trips = [(schema.ROUND_TRIP + one["name"].removeprefix(schema.ROUND_TRIP), one["strength"]) for one in cell["consistency"]]
    edits = [(one["name"], one["strength"]) for one in cell["edits"]]
    paces = [_paces(own[own["edit"].isna()], schema.INVERT)]
    paces += [_paces(_of(own, *edit), schema.EDIT) for edit in edits]
    paces += [_paces(_of(own, *trip), schema.CONSISTENCY) for trip in trips]
    return Kind(id, images or len(cell["images"]), cell["batch"], tuple(paces))


def _of(rows: pd.DataFrame, edit: str, strength: float) -> pd.DataFrame:
    return rows[(rows["edit"] == edit) & (rows["strength"] == strength)]


def _paces(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Measured seconds an image; 0 where nothing succeeded, as of a method that fails at once."""
    found: Sequence[float] = rows[column].dropna().to_numpy(np.float64) if column in rows else ()
    return np.asarray(found if len(found) else [0.0])
