"""The plan of a run: cells, their images, batches and keys.

The key of a row is a hash of the image's name and of all that can change the row: the method's recipe (options, sources,
weights, seed, precision, compilation, protocol), the bytes of the image, and for an edit its name and strength. Two names with
equal bytes are two rows. If a method takes steps, the key also holds the other images of the batch: rounding depends on the
shape of a batch, and steps amplify it. (Measured on procfaces: latents of a projection alone and in a batch of 3 differ by
3e-6 after 2 steps and by 4e-3 after 32, since the library's matrix products for one row and for three rows differ.) Equal keys
are never computed twice in a run folder. One more edit later gives new keys for its rows only; the image is inverted again for
them, because the state of an inversion may be far larger than a picture and is not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from invbench.api import Dataset, Edit, InvbenchError, sources_of
from invbench.plugins.config import MethodChoice, RunSettings
from invbench.run.compilation import OFF
from invbench.run.precision import FP32, effective
from invbench.util.provenance import digest, source_digest
from invbench.weights.networks import Networks

PROTOCOL = 1  # raised whenever a change of the harness itself changes results
PRECISION = "float32"  # of a CPU, in keys


@dataclass(frozen=True)
class Entry:
    """One image of the plan: ``sha256`` is None and ``reason`` is set for a picture that cannot be used.

    ``pixels`` is the number of its pixels; 0 if it could not be decoded.
    """

    index: int
    name: str
    sha256: str | None
    reason: str = ""
    pixels: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (method, preset, dataset) with its images in order, cut into batches of ``batch`` consecutive ones.

    options   the options of the method, or the facts recorded on external pictures
    directions  source of edit directions -> digest of it, for the edits that name one ("age@ganspace")
    stepwise  whether the method takes steps; then the key of an image includes its batch mates
    joint     whether the images of a batch share what is found; then the same, and they are always computed together
    """

    method: str
    preset: str
    options: Mapping[str, Any]
    stepwise: bool
    dataset: str
    entries: tuple[Entry, ...]
    edits: tuple[Edit, ...]
    recipe: str
    batch: int
    consistency: tuple[Edit, ...] = ()  # as :func:`invbench.schema.round_trip` names them
    directions: Mapping[str, str] = field(default_factory=dict)
    joint: bool = False
    beyond: tuple[Entry, ...] = ()  # images after ``entries`` from earlier runs in the folder; they keep the batches unchanged

    @property
    def asked(self) -> tuple[Edit, ...]:
        """Edits, then round trips: one row of each beside the row of the inversion."""
        return (*self.edits, *self.consistency)

    @property
    def id(self) -> str:
        """The name of the cell in rows, files and ``plan.json``."""
        return cell_id(self.method, self.preset, self.dataset)

    @cached_property
    def batches(self) -> tuple[tuple[Entry, ...], ...]:
        """The images in batches; the last batch may hold some of :attr:`beyond`, but no batch holds only these."""
        images = (*self.entries, *self.beyond)
        return tuple(images[first : first + self.batch] for first in range(0, len(self.entries), self.batch))

    @cached_property
    def _batch_mates(self) -> dict[Entry, str]:
        """Image -> digest of the images of its batch; empty for a method that takes no steps and is not joint."""
        if not (self.stepwise or self.joint):
            return {}
        mates: dict[Entry, str] = {}
        for batch in self.batches:
            readable = [entry for entry in batch if entry.sha256 is not None]
            mates |= dict.fromkeys(readable, digest([entry.sha256 for entry in readable]))
        return mates

    def together(self, names: set[str]) -> set[str]:
        """``names`` and the images that must be computed again with them: for a stepwise method, their whole batches."""
        batches = [{entry.name for entry in batch} for batch in self.batches] if self._batch_mates else []
        return names.union(*(batch for batch in batches if batch & names))

    def key(self, entry: Entry, edit: Edit | None = None) -> str:
        """The content key of the row of an image (and an edit)."""
        content = {
            "recipe": self.recipe,
            "image": [entry.name, entry.sha256 or entry.reason],  # equal pictures under two names are two rows
            "edit": None if edit is None else asdict(edit),
        }
        if edit is not None and (asked := sources_of(edit.name)):
            content["directions"] = {name: self.directions.get(name) for name in asked}
        return digest(content | ({"batch": self._batch_mates[entry]} if entry in self._batch_mates else {}))

    def keys(self, entries: Sequence[Entry] | None = None) -> list[str]:
        """Keys of all rows of the entries (default: of the cell): for each image the inversion, then its edits."""
        return [self.key(entry, edit) for entry in entries or self.entries for edit in (None, *self.asked)]

    def own(self, number: int) -> tuple[Entry, ...]:
        """The images of a batch but for :attr:`beyond`."""
        return self.entries[number * self.batch :][: self.batch]

    def shards(self, done: set[str], *, numbers: Iterable[int] | None = None) -> Iterator[Shard]:
        """The batches (of these numbers; None: all) that have missing rows, with the keys of these rows.

        An image that failed in its batch was also tried alone, so it is tried alone again, if the method is not joint.
        """
        for number in range(len(self.batches)) if numbers is None else numbers:
            batch, entries = self.batches[number], self.own(number)
            missing = frozenset(self.keys(entries)) - done
            left = tuple(entry for entry in entries if missing & set(self.keys([entry])))
            whole = self.joint or self._batch_mates and all(entry in left or entry.sha256 is None for entry in entries)
            if left:
                yield Shard(self, batch if whole else left, missing)

    def describe(self) -> dict[str, Any]:
        """The cell as ``plan.json`` stores it."""
        return {
            "method": self.method,
            "preset": self.preset,
            "dataset": self.dataset,
            "options": dict(self.options),
            "stepwise": self.stepwise,
            "recipe": self.recipe,
            "batch": self.batch,
            "edits": [asdict(edit) for edit in self.edits],
            "consistency": [asdict(edit) for edit in self.consistency],
            **({"directions": dict(self.directions)} if self.directions else {}),
            **({"joint": True} if self.joint else {}),
            "images": [{**asdict(entry), "key": self.key(entry)} for entry in self.entries],
        }

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> Cell:
        """The reverse of :meth:`describe`. Raises InvbenchError for a plan that lacks what a run needs."""
        names = ("method", "preset", "options", "stepwise", "dataset", "recipe", "batch", "edits", "consistency")
        for name in names:
            if name not in described:
                raise InvbenchError(f"plan.json: cell of {described['method']}: expected the key {name!r}, found none")
        edits, trips = (tuple(Edit(one["name"], one["strength"]) for one in described[kind]) for kind in names[-2:])
        plain = {name: described[name] for name in names[:-2]}
        known, joint = described.get("directions", {}), described.get("joint", False)
        entries = tuple(_entries(described))
        return cls(**plain, entries=entries, edits=edits, consistency=trips, directions=known, joint=joint)


@dataclass(frozen=True)
class Shard:
    """The unit of work: at most a batch of images of a cell, and the keys of the rows to compute."""

    cell: Cell
    entries: tuple[Entry, ...]
    keys: frozenset[str]

    @property
    def name(self) -> str:
        """Name of the part that it writes. The same work has the same name, so a repeated try replaces its files."""
        return f"{self.entries[0].index:06d}-{digest(sorted(self.keys))[:12]}"


def cell_id(method: str, preset: str, dataset: str) -> str:
    """The name of a cell in rows, files and ``plan.json``."""
    return f"{method}.{preset}.{dataset}"


def shared(cells: Sequence[Cell], share: tuple[int, int] | None) -> list[range]:
    """The numbers of the batches of each cell that belong to a share (i, n) of the work; None: all of them.

    The batches of all cells are dealt out in turn, so shares differ by one batch of a cell at most.
    """
    number, count = share or (1, 1)
    found, before = [], 0
    for cell in cells:
        found.append(range((number - 1 - before) % count, len(cell.batches), count))
        before += len(cell.batches)
    return found


def beyond(described: Mapping[str, Any], entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The images that follow ``entries`` in a cell of ``plan.json``."""
    return tuple(one for one in _entries(described) if one.index > entries[-1].index)


def _entries(described: Mapping[str, Any]) -> list[Entry]:
    images = described["images"]
    return [Entry(one["index"], one["name"], one["sha256"], one.get("reason", ""), one.get("pixels", 0)) for one in images]


def read_entry(
    dataset: Dataset, index: int, size: tuple[int, int] | None
) -> tuple[Entry, np.ndarray | None]:
    """An image's entry and its picture. If it cannot be read, or has not ``size`` (height, width; None: any), the entry holds
    the reason and the picture is None."""
    name = dataset.names[index]
    try:
        sample = dataset.read(index)
    except (InvbenchError, OSError, ValueError) as error:
        return Entry(index, name, None, f"{type(error).__name__}: {error}"), None
    height, width = sample.picture.shape[:2]
    if size is not None and (height, width) != size:
        reason = f"expected a picture of {size[1]}x{size[0]}, found {width}x{height}"
        return Entry(index, name, None, reason, height * width), sample.picture
    return Entry(index, name, sample.sha256, pixels=height * width), sample.picture


def switches(settings: RunSettings, *, device: str) -> dict[str, str]:
    """How methods compute on a kind of device where it is not plainly in fp32: "precision", "compile"."""
    precision = effective(settings.precision, device)
    compiled = {} if settings.compile == OFF else {"compile": settings.compile}
    return compiled | ({} if precision == FP32 else {"precision": precision})


def recipe(
    settings: RunSettings, method: MethodChoice, classes: Sequence[type], networks: Networks, *, device: str
) -> str:
    """Digest of all that can change a method's results, except the image itself; ``classes``: a pair has two."""
    roles = networks.roles(method.spec, method.options)
    switched = switches(settings, device=device)
    several = {"threads": settings.threads} if device == "cpu" and settings.threads > 1 else {}  # they round otherwise than one
    return digest(
        several
        | {
            "protocol": PROTOCOL,
            "precision": PRECISION if device == "cpu" else FP32,
            "device": device,
            "method": method.id,
            "preset": method.preset,
            "options": method.options,
            "seed": settings.seed,
            "source": source_digest([*classes, *(code for role in roles for code in networks.code(role))]),
            "networks": {role: networks.provenance(role) for role in roles},
            "edits": {name: edit.per_strength for name, edit in settings.suite.edits.items()},
        }
        | switched
    )


def known_fits(described: Mapping[str, Any]) -> dict[str, int]:
    """By kind of call: how many images fit into memory together in a cell of ``plan.json``, where its batch did not."""
    found = described.get("fits")
    return {kind: most for kind, most in found.items() if type(most) is int and most > 0} if isinstance(found, dict) else {}


def merge(
    earlier: Mapping[str, Any], suite: str, cells: Sequence[Cell], *, fits: Mapping[tuple[str, str], int] | None = None
) -> dict[str, Any]:
    """The content of ``plan.json``: the cells of this run, and unchanged those of earlier runs in the folder.

    fits  as in :class:`invbench.run.work.Executor`, of the cells of this run

    Raises InvbenchError if the folder holds a run of another suite.
    """
    if earlier.get("suite", suite) != suite:
        raise InvbenchError(f"plan.json: expected suite {suite}, found {earlier['suite']}; choose another --out")
    merged = dict(earlier.get("cells", {}))
    for cell in cells:
        old = merged.get(cell.id)
        new = cell.describe()
        if old is not None and old["recipe"] == cell.recipe:
            for kind in ("edits", "consistency"):
                new[kind] += [edit for edit in old[kind] if edit not in new[kind]]
            if "directions" in old:
                new["directions"] = {**old["directions"], **new.get("directions", {})}
            names = {image["name"] for image in new["images"]}
            new["images"] = sorted(
                [*new["images"], *(image for image in old["images"] if image["name"] not in names)],
                key=lambda image: image["index"],
            )
        own = {kind: most for (id, kind), most in (fits or {}).items() if id == cell.id}
        merged[cell.id] = new | ({"fits": own} if own else {})
    return {"format": 1, "suite": suite, "cells": merged}
