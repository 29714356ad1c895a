"""What a run has to do: cells, their images, batches and keys.

The key of a row is a hash of all that can change it: the method's recipe (options, sources, weights, seed, precision,
protocol), the bytes of the image, and for an edit its name and strength. Equal keys are never computed twice in a run
folder. Asking for one more edit later gives new keys for its rows only; the image is inverted again for them, because the
state of an inversion may be far larger than a picture and is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from invbench.api import Dataset, Edit, InvbenchError
from invbench.plugins.config import MethodChoice, RunSettings
from invbench.util.provenance import digest, source_digest
from invbench.weights.networks import Networks

PROTOCOL = 1  # raised whenever the harness itself treats images so that results differ
PRECISION = "float32"


@dataclass(frozen=True)
class Entry:
    """One image of the plan; ``sha256`` is None for a picture that cannot be used, and ``reason`` says why."""

    index: int
    name: str
    sha256: str | None
    reason: str = ""


@dataclass(frozen=True)
class Cell:
    """One (method, preset, dataset) with its images in order, cut into batches of ``batch`` consecutive ones."""

    method: MethodChoice
    dataset: str
    entries: tuple[Entry, ...]
    edits: tuple[Edit, ...]
    recipe: str
    batch: int
    consistency: tuple[Edit, ...] = ()  # as :func:`invbench.run.round_trips.marked` names them

    @property
    def asked(self) -> tuple[Edit, ...]:
        """What is asked for beside the inversion, a row each: edits, then edits there and back."""
        return (*self.edits, *self.consistency)

    @property
    def id(self) -> str:
        return cell_id(self.method, self.dataset)

    def key(self, entry: Entry, edit: Edit | None = None) -> str:
        """The content key of the row of an image (and an edit)."""
        image = entry.sha256 or f"{entry.name}: {entry.reason}"
        return digest({"recipe": self.recipe, "image": image, "edit": None if edit is None else asdict(edit)})

    def keys(self, entries: Sequence[Entry] | None = None) -> list[str]:
        """Keys of all rows of the entries (default: of the cell): for each image the inversion, then its edits."""
        return [self.key(entry, edit) for entry in entries or self.entries for edit in (None, *self.asked)]

    def shards(self, done: set[str]) -> Iterator[Shard]:
        """The batches with what is missing in them; batches that miss nothing are left out."""
        for first in range(0, len(self.entries), self.batch):
            entries = self.entries[first : first + self.batch]
            missing = frozenset(self.keys(entries)) - done
            left = tuple(entry for entry in entries if missing & set(self.keys([entry])))
            if left:
                yield Shard(self, left, missing)

    def describe(self) -> dict[str, Any]:
        """The cell in ``plan.json``."""
        return {
            "method": self.method.id,
            "preset": self.method.preset,
            "dataset": self.dataset,
            "options": self.method.options,
            "recipe": self.recipe,
            "batch": self.batch,
            "edits": [asdict(edit) for edit in self.edits],
            "consistency": [asdict(edit) for edit in self.consistency],
            "images": [{**asdict(entry), "key": self.key(entry)} for entry in self.entries],
        }


@dataclass(frozen=True)
class Shard:
    """The unit of work: up to a batch of images of a cell, and the keys of the rows that are wanted."""

    cell: Cell
    entries: tuple[Entry, ...]
    keys: frozenset[str]

    @property
    def name(self) -> str:
        """Name of the part that it becomes. The same work has the same name, so a repeated try replaces its files."""
        return f"{self.entries[0].index:06d}-{digest(sorted(self.keys))[:12]}"


def cell_id(method: MethodChoice, dataset: str) -> str:
    return f"{method.id}.{method.preset}.{dataset}"


def read_entry(
    dataset: Dataset, index: int, size: tuple[int, int] | None
) -> tuple[Entry, np.ndarray | None]:
    """An image's entry and its picture; where it cannot be read, or is not of ``size`` (None: of any), the entry says why."""
    name = dataset.names[index]
    try:
        sample = dataset.read(index)
    except (InvbenchError, OSError, ValueError) as error:
        return Entry(index, name, None, f"{type(error).__name__}: {error}"), None
    height, width = sample.picture.shape[:2]
    if size is not None and (height, width) != size:
        reason = f"expected a picture of {size[1]}x{size[0]}, found {width}x{height}"
        return Entry(index, name, None, reason), sample.picture
    return Entry(index, name, sample.sha256), sample.picture


def recipe(settings: RunSettings, method: MethodChoice, cls: type, networks: Networks, *, device: str) -> str:
    """Digest of all that can change a method's results but the image itself."""
    roles = networks.roles(method.spec)
    return digest(
        {
            "protocol": PROTOCOL,
            "precision": PRECISION,
            "device": device,
            "method": method.id,
            "preset": method.preset,
            "options": method.options,
            "seed": settings.seed,
            "source": source_digest([cls, *(code for role in roles for code in networks.code(role))]),
            "networks": {role: networks.provenance(role) for role in roles},
            "edits": {name: edit.per_strength for name, edit in settings.suite.edits.items()},
        }
    )


def merge(earlier: Mapping[str, Any], suite: str, cells: Sequence[Cell]) -> dict[str, Any]:
    """The content of ``plan.json``: the cells of this run, and those of earlier runs in the folder as they were.

    Raises InvbenchError when the folder holds a run of another suite.
    """
    if earlier.get("suite", suite) != suite:
        raise InvbenchError(f"plan.json: expected suite {suite}, found {earlier['suite']}; choose another --out")
    merged = dict(earlier.get("cells", {}))
    for cell in cells:
        old = merged.get(cell.id)
        new = cell.describe()
        if old is not None and old["recipe"] == cell.recipe:
            for kind in ("edits", "consistency"):
                new[kind] += [edit for edit in old.get(kind, []) if edit not in new[kind]]
            names = {image["name"] for image in new["images"]}
            new["images"] = sorted(
                [*new["images"], *(image for image in old["images"] if image["name"] not in names)],
                key=lambda image: image["index"],
            )
        merged[cell.id] = new
    return {"format": 1, "suite": suite, "cells": merged}
