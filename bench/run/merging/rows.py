"""Which rows of several runs a merged cell has, and the parts that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invbench.api import Edit, InvbenchError
from invbench.run.plan import Cell
from invbench.run.shard import Row
from invbench.store import Part, Store


@dataclass(frozen=True)
class Held:
    """A row, with the run and the part that hold it."""

    store: Store
    part: Part
    row: Row

    @property
    def rank(self) -> tuple[bool, int]:
        """Of two rows with one key the higher is taken: one that is ok, then one with more metrics."""
        return self.row["status"] == "ok", len(self.part.metrics)

    @property
    def edit(self) -> Edit | None:
        """The edit of the row; None for a reconstruction."""
        return Edit(self.row["edit"], self.row["strength"]) if "edit" in self.row else None

    def files(self, cell: str, *, into: Store) -> dict[Path, Path]:
        """The picture and the mask that the row was scored from -> where they are in another run folder."""
        if self.row["status"] != "ok":
            return {}
        image = self.row["image"]
        found = {self.store.picture(cell, image, self.edit): into.picture(cell, image, self.edit)}
        if self.row.get("mask") is not None:
            found[self.store.mask(cell, image)] = into.mask(cell, image)
        return found


def choose(cell: Cell, stores: Iterable[Store]) -> dict[str, Held]:
    """The rows of a cell by key, in the cell's order: of equal rank, those of the first run. Other keys are left out.

    Raises InvbenchError where two runs have other pictures under one key, where no run has the picture that a row was scored
    from, and for a part that cannot be read.
    """
    wanted = cell.keys()
    found: dict[str, list[Held]] = {key: [] for key in wanted}
    for store in stores:
        for part in store.parts(cell.id):
            for row in part.rows:
                if row["key"] in found:
                    found[row["key"]].append(Held(store, part, row))
    return {key: _best(cell.id, every) for key, every in found.items() if every}


def _best(cell: str, every: Sequence[Held]) -> Held:
    """Of rows with one key the one to be taken."""
    best, *others = sorted(every, key=lambda one: one.rank, reverse=True)  # keeps the order of runs among equals
    if best.row["status"] != "ok":
        return best
    whole = [one for one in (best, *others) if one.row["status"] == "ok" and one.store.stands(one.row, cell)]
    if not whole:
        raise InvbenchError(
            f"{best.store.picture(cell, best.row['image'], best.edit)}: expected the picture (and mask) that its row was "
            "scored from, found another or none; the same `invbench run` as before makes it again"
        )
    for other in whole[1:]:
        _expect_same(cell, whole[0], other)
    return whole[0]


def joined(name: str, cell: str, rows: Sequence[Held]) -> tuple[Part, dict[str, np.ndarray], list[str], dict[str, str]]:
    """A part of rows from one or more parts of its name, and its features as in :meth:`invbench.store.Store.features`."""
    parts = {one.store.path: one for one in rows}.values()
    metrics = dict(_common([one.part.metrics for one in parts]))
    owed = {id: why for one in parts for id, why in one.part.failures.items() if id not in metrics}
    part = Part(name, [one.row for one in rows], metrics, owed)
    known = {one.store.path: one.store.features(cell, name) for one in parts}
    if len(known) == 1:
        return part, *known.popitem()[1]
    recipes = dict(_common([recipes for *_, recipes in known.values()]))
    places = {path: {image: place for place, image in enumerate(names)} for path, (_, names, _) in known.items()}
    own = [one for one in rows if "edit" not in one.row and one.row["image"] in places[one.store.path]]
    together = {
        id: np.stack([known[one.store.path][0][id][places[one.store.path][one.row["image"]]] for one in own])
        for id in recipes
        if own
    }
    return part, together, [one.row["image"] for one in own], recipes


def _common(ones: Sequence[Mapping[str, str]]) -> Iterable[tuple[str, str]]:
    """The items that all mappings have."""
    return [(key, value) for key, value in ones[0].items() if all(one.get(key) == value for one in ones)]


def _expect_same(cell: str, one: Held, other: Held) -> None:
    """Raise InvbenchError if two rows were scored from other pictures (not only from other files: encoders differ)."""
    if one.row.get("picture") == other.row.get("picture"):
        return
    ours, theirs = (held.store.picture(cell, held.row["image"], held.edit) for held in (one, other))
    if not np.array_equal(one.store.read_picture(ours), other.store.read_picture(theirs)):
        raise InvbenchError(
            f"{theirs}: expected the picture of {ours}, found another for the same method, options and original: "
            "machines or libraries round otherwise; merge runs that do not share images"
        )
