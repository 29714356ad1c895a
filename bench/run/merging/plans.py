"""The plans of several runs as one, and where they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from invbench.api import InvbenchError
from invbench.run.plan import Cell, Entry

Plans = Sequence[tuple[str, Mapping[str, Any]]]
"""The name of each run (its folder, for messages) and the content of its ``plan.json``."""


def together(plans: Plans) -> dict[str, Any]:
    """One plan with the cells of all, and in each cell the images and edits of all.

    Raises InvbenchError naming two runs and what is another in the second: the suite, a picture under a name, the place of a
    name in its dataset, the recipe of a cell, a source of directions, or the batch of a method whose results depend on it.
    """
    (first, plan), *others = plans
    for name, other in others:
        if other["suite"] != plan["suite"]:
            raise InvbenchError(f"{name}: expected the suite of {first}, {plan['suite']}, found {other['suite']}")
    pictures: dict[str, _Pictures] = {}
    found: dict[str, list[tuple[str, Cell, Mapping[str, Any]]]] = {}
    for name, one in plans:
        for id, described in one["cells"].items():
            cell = Cell.read(described)
            found.setdefault(id, []).append((name, cell, described))
            pictures.setdefault(cell.dataset, _Pictures(cell.dataset)).note(name, cell.entries)
    return {"format": 1, "suite": plan["suite"], "cells": {id: _cell(id, ones) for id, ones in found.items()}}


@dataclass
class _Pictures:
    """What runs have of a dataset: by name and by place, the run and the entry."""

    dataset: str
    names: dict[str, tuple[str, Entry]] = field(default_factory=dict)
    places: dict[int, tuple[str, Entry]] = field(default_factory=dict)

    def note(self, run: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            other, known = self.names.setdefault(entry.name, (run, entry))
            where = f"{run}: {self.dataset}: {entry.name}: expected"
            if None not in (entry.sha256, known.sha256) and entry.sha256 != known.sha256:
                raise InvbenchError(f"{where} the picture of {other} (sha256 {known.sha256}), found sha256 {entry.sha256}")
            if entry.index != known.index:
                raise InvbenchError(f"{where} place {known.index} in the dataset as in {other}, found {entry.index}")
            if known.sha256 is None:
                self.names[entry.name] = run, entry
            other, known = self.places.setdefault(entry.index, (run, entry))
            if entry.name != known.name:
                raise InvbenchError(f"{where} {known.name} at place {entry.index} as in {other}, found {entry.name}")


def _cell(id: str, ones: Sequence[tuple[str, Cell, Mapping[str, Any]]]) -> dict[str, Any]:
    """A cell that one or more runs have, as a plan describes it."""
    (first, cell, described), *others = ones
    plain = all(other == described for _, _, other in others)
    for name, other, _ in others:
        _expect_same(f"{name}: {id}: recipe", first, cell.recipe, other.recipe)
        if (cell.stepwise or cell.joint) and cell.batch != other.batch:
            _expect_same(f"{name}: {id}: batch (of a method that rounds by its batch)", first, cell.batch, other.batch)
        for source in cell.directions.keys() & other.directions.keys():
            _expect_same(f"{name}: {id}: directions {source}", first, cell.directions[source], other.directions[source])
        entries = {entry.name: entry for entry in other.entries}
        entries |= {one.name: one for one in cell.entries if one.sha256 is not None or one.name not in entries}
        entries |= {one.name: one for one in cell.entries if entries[one.name].sha256 is None}
        cell = replace(
            cell,
            entries=tuple(sorted(entries.values(), key=lambda entry: entry.index)),
            edits=tuple(dict.fromkeys([*cell.edits, *other.edits])),
            consistency=tuple(dict.fromkeys([*cell.consistency, *other.consistency])),
            directions={**cell.directions, **other.directions},
        )
    return dict(described) if plain else cell.describe()


def _expect_same(where: str, first: str, expected: object, found: object) -> None:
    if expected != found:
        raise InvbenchError(f"{where}: expected that of {first}, {expected}, found {found}")
