"""One shard: read, invert, edit, quantise, score, write.

A batch that does not fit into memory is halved until it does, and the size that fits is kept for the rest of the cell. A batch
that fails otherwise is tried again image by image, so that one bad image does not spoil the others; an image that fails alone
becomes a row with status "failed" and the reason. Pictures are written first (while their metrics are computed, which are not
timed), then features, then the rows: a row proves that everything it was scored from is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from invbench import schema
from invbench.api import Dataset, Edit, Inversion, Sample
from invbench.run import calls, round_trips, truths
from invbench.run.curves import Recorder
from invbench.run.inversions import select
from invbench.run.plan import Cell, Entry, Shard
from invbench.run.session import Tools
from invbench.scoring.evaluator import Evaluator
from invbench.scoring.scorer import Scorer
from invbench.store import Part
from invbench.util.behind import Behind
from invbench.util.clock import StageClock
from invbench.util.images import dequantise, quantise

Value = TypeVar("Value")
Row = dict[str, Any]


@dataclass(frozen=True)
class Attempt(Generic[Value]):
    """A call on some images of a batch: its value, or the reason why it failed."""

    indices: list[int]
    clock: StageClock
    value: Value | None = None
    reason: str = ""
    outgrown: bool = False  # whether it failed for want of memory


@dataclass
class _Batch:
    """The readable images of a shard, and their rows and features."""

    cell: Cell
    keys: frozenset[str]
    entries: list[Entry]
    samples: list[Sample]
    behind: Behind
    rows: list[Row] = field(default_factory=list)
    features: list[tuple[list[str], dict[str, np.ndarray]]] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Inverted:
    """Images that were inverted together, with what their edits need."""

    entries: list[Entry]
    samples: list[Sample]
    inversion: Inversion
    pictures: np.ndarray
    evaluator: Evaluator
    writes: Sequence[int]  # to its tensors, before the first edit

    def names(self, indices: list[int]) -> tuple[str, ...]:
        """Names of some of the images."""
        return tuple(self.entries[index].name for index in indices)

    def part(self, indices: list[int]) -> Inversion:
        """The inversion of some of the images. Raises ValueError if an earlier edit wrote into it."""
        if calls.writes(self.inversion) != self.writes:
            raise ValueError("the inversion is spoilt: an earlier edit of this method wrote into it")
        return self.inversion if len(indices) == len(self.entries) else select(self.inversion, indices)

    def evaluator_of(self, indices: list[int], scorer: Scorer) -> Evaluator:
        """The evaluator that all edits share, or a new one for some of the images if these were edited alone."""
        if len(indices) == len(self.entries):
            return self.evaluator
        return Evaluator(scorer, [self.samples[index] for index in indices], self.pictures[indices], masks=None)


def run(shard: Shard, tools: Tools) -> Part:
    """Compute a shard and write it. Returns the part as written. Raises WriteFailed if it cannot be written."""
    with Behind() as behind:
        return _run(shard, tools, behind)


def _run(shard: Shard, tools: Tools, behind: Behind) -> Part:
    cell, rows, entries, samples = shard.cell, [], [], []
    tools.scorer.take_owed()
    dataset = tools.datasets[cell.dataset]
    with tools.ledger.spent("data"):
        for entry in shard.entries:
            sample, reason = _read(dataset, entry)
            if sample is None:
                rows += [_row(tools, cell, entry, edit, batch=0, reason=reason) for edit in (None, *cell.asked)]
            else:
                entries.append(entry)
                samples.append(sample)
    batch = _Batch(cell, shard.keys, entries, samples, behind, rows)
    if entries:
        method = tools.methods[cell.id]
        target = dequantise(np.stack([sample.picture for sample in samples]), tools.device)

        def call(chosen: list[int], clock: StageClock) -> Inversion:
            if tools.curves:
                own = [samples[index] for index in chosen]
                clock.on_pictures = Recorder(own, tools.curves, scorer=tools.scorer, ledger=tools.ledger)
            with tools.watch.over(calls.Call(cell.id, "inversion", None, tuple(entries[index].name for index in chosen))):
                return calls.invert(method, target[chosen], clock)

        for attempt in isolate(call, len(entries), tools, kind=(cell.id, "inversion"), whole=cell.joint):
            _finish_inversion(batch, attempt, tools)
    order = {key: place for place, key in enumerate(cell.keys(shard.entries))}
    batch.rows = sorted((row for row in batch.rows if row["key"] in shard.keys), key=lambda row: order[row["key"]])
    features = _merged_features(batch, tools.scorer)
    failed = {id for id in tools.scorer.sets if batch.features and tools.scorer.feature(id) not in features}
    # A metric that raised is not done: the next run tries it again.
    owed = dict.fromkeys(failed, "its features could not be computed") | tools.scorer.take_owed()
    part = Part(shard.name, batch.rows, {id: one for id, one in tools.scorer.recipes.items() if id not in owed}, owed)
    with tools.ledger.spent("writing"):
        _write_features(batch, part, features, tools)  # while the last pictures are written
        if batch.curves:
            tools.store.write_curves(cell.id, part.name, batch.curves)
        digests = behind.finish()
        for row in part.rows:
            row |= _digests(tools, cell, row, digests)
        tools.store.write_part(cell.id, part)
    return part


def isolate(
    call: Callable[[list[int], StageClock], Value], count: int, tools: Tools, *, kind: tuple[str, str], whole: bool = False
) -> Iterator[Attempt[Value]]:
    """The call on all ``count`` images, or on as many as fit into memory; where it raises otherwise, on each alone.

    What fits is looked up and kept under ``kind`` in ``tools.fits``. After an image that does not fit
    alone, the others are tried together again. ``whole``: all images in one call, which fail together.
    """
    if whole:
        yield _attempt(call, list(range(count)), tools)
        return
    first = min(count, tools.fits.get(kind, count))
    size, pieces = first, _cut(range(count), first)
    while pieces:
        indices = pieces.pop(0)
        attempt = _attempt(call, indices, tools)
        if attempt.outgrown and len(indices) > 1:
            size = len(indices) // 2
            pieces = _cut([*indices, *chain.from_iterable(pieces)], size)
        elif attempt.outgrown:
            size, pieces = first, _cut(list(chain.from_iterable(pieces)), first)
            yield attempt
        elif attempt.value is None and len(indices) > 1:
            pieces = [*_cut(indices, 1), *pieces]
        else:
            if attempt.value is not None and size < first and len(indices) == size:
                tools.fits[kind] = size
            yield attempt


def _cut(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _attempt(call: Callable[[list[int], StageClock], Value], indices: list[int], tools: Tools) -> Attempt[Value]:
    clock = StageClock(tools.device, on_stage=tools.on_stage)
    try:
        with tools.ledger.spent("methods"), clock:
            value = call(indices, clock)
    except (Exception, GeneratorExit, SystemExit) as error:  # an error of a method is a failed row; it does not end the run
        reason, outgrown = f"{type(error).__name__}: {error}", calls.does_not_fit(error)
    else:
        return Attempt(indices, clock, value)
    if outgrown and tools.device.type == "cuda":  # here, where the error no longer holds the call's tensors
        torch.cuda.empty_cache()
    return Attempt(indices, clock, reason=reason, outgrown=outgrown)


def _finish_inversion(batch: _Batch, attempt: Attempt[Inversion], tools: Tools) -> None:
    cell = batch.cell
    entries = [batch.entries[index] for index in attempt.indices]
    samples = [batch.samples[index] for index in attempt.indices]
    if attempt.value is None:
        for entry in entries:
            batch.rows.append(_row(tools, cell, entry, None, batch=len(entries), reason=attempt.reason))
            for edit in cell.asked:
                batch.rows.append(_row(tools, cell, entry, edit, batch=0, reason=f"inversion failed: {attempt.reason}"))
        return
    inversion = calls.watched(attempt.value)
    pictures = quantise(inversion.images)
    masks = quantise(inversion.state["domain_mask"] * 2 - 1)[..., 0] if "domain_mask" in inversion.state else None
    wanted = [index for index, entry in enumerate(entries) if cell.key(entry) in batch.keys]
    evaluator = Evaluator(tools.scorer, samples, pictures, masks=masks)
    if wanted:
        files = {tools.store.picture(cell.id, entries[index].name): pictures[index] for index in wanted}
        if masks is not None:
            files |= {tools.store.mask(cell.id, entries[index].name): masks[index] for index in wanted}
        with tools.ledger.spent("writing"):
            batch.behind.write(files)
        with tools.ledger.spent("metrics"):
            known = inversion.latents if inversion.latents.numel() else None  # foreign code may give none
            values = evaluator.inversion(latents=known)
            features = evaluator.features()
        batch.features.append(([entry.name for entry in entries], features))
        batch.rows += _rows(tools, cell, entries, None, attempt.clock, values)
        batch.curves += _curves(tools, cell, entries, attempt.clock, values, wanted=wanted)
    inverted = _Inverted(entries, samples, inversion, pictures, evaluator, calls.writes(inversion))
    for edit in cell.edits:
        if any(cell.key(entry, edit) in batch.keys for entry in entries):
            _finish_edit(batch, inverted, edit, tools)
    for edit in cell.consistency:
        if any(cell.key(entry, edit) in batch.keys for entry in entries):
            _finish_round_trip(batch, inverted, edit, tools)


def _finish_edit(batch: _Batch, inverted: _Inverted, edit: Edit, tools: Tools) -> None:
    cell, method, entries = batch.cell, tools.methods[batch.cell.id], inverted.entries

    def call(chosen: list[int], clock: StageClock) -> Tensor:
        with tools.watch.over(calls.Call(cell.id, "edit", edit, inverted.names(chosen))):
            return calls.edit(method, inverted.part(chosen), edit, clock)

    for attempt in isolate(call, len(entries), tools, kind=(cell.id, "edit")):
        own = [entries[index] for index in attempt.indices]
        if attempt.value is None:
            batch.rows += [_row(tools, cell, entry, edit, batch=len(own), reason=attempt.reason) for entry in own]
            continue
        pictures = quantise(attempt.value)
        with tools.ledger.spent("writing"):
            batch.behind.write({tools.store.picture(cell.id, one.name, edit): pictures[i] for i, one in enumerate(own)})
        with tools.ledger.spent("metrics"):  # only metrics use the true picture
            truth, factors = truths.of(tools.datasets[cell.dataset], own, edit, tools.scorer)
            evaluator = inverted.evaluator_of(attempt.indices, tools.scorer)
            values = evaluator.edit(edit, pictures, truth=truth, true_factors=factors)
        batch.rows += _rows(tools, cell, own, edit, attempt.clock, values)


def _finish_round_trip(batch: _Batch, inverted: _Inverted, edit: Edit, tools: Tools) -> None:
    """A second inversion and the inverse edit; ``edit`` is named by :func:`invbench.schema.round_trip`."""
    cell, entries, plain = batch.cell, inverted.entries, schema.one_way(edit)
    method, move = tools.methods[cell.id], tools.moves[cell.id]

    def call(chosen: list[int], clock: StageClock) -> round_trips.Trip:
        with tools.watch.over(calls.Call(cell.id, "round trip", edit, inverted.names(chosen))):
            return round_trips.travel(method, inverted.part(chosen), plain, clock, move=move)

    for attempt in isolate(call, len(entries), tools, kind=(cell.id, "round trip"), whole=cell.joint):
        own, count = [entries[index] for index in attempt.indices], len(attempt.indices)
        if attempt.value is None:
            batch.rows += [_row(tools, cell, entry, edit, batch=count, reason=attempt.reason) for entry in own]
            continue
        trip, latents = attempt.value, inverted.part(attempt.indices).latents
        with tools.ledger.spent("writing"):
            batch.behind.write({tools.store.picture(cell.id, one.name, edit): trip.pictures[i] for i, one in enumerate(own)})
        with tools.ledger.spent("metrics"):
            evaluator = inverted.evaluator_of(attempt.indices, tools.scorer)
            values = evaluator.round_trip(plain, trip.pictures, latents=latents, latents_back=trip.latents)
        for i, entry in enumerate(own):
            found = {id: float(value[i]) for id, value in values.items()}
            seconds = {schema.CONSISTENCY: attempt.clock.total / count, "machine": tools.machine}
            batch.rows.append(_row(tools, cell, entry, edit, batch=count) | found | seconds)


def _read(dataset: Dataset, entry: Entry) -> tuple[Sample | None, str]:
    if entry.sha256 is None:
        return None, entry.reason
    try:
        sample = dataset.read(entry.index)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    if sample.sha256 != entry.sha256:
        return None, f"the picture changed during the run: expected sha256 {entry.sha256}, found {sample.sha256}"
    return sample, ""


def _rows(
    tools: Tools,
    cell: Cell,
    entries: Sequence[Entry],
    edit: Edit | None,
    clock: StageClock,
    values: Mapping[str, np.ndarray],
) -> list[Row]:
    count = len(entries)
    times = {schema.seconds(name): seconds / count for name, seconds in clock.stages.items()}
    times[schema.EDIT if edit else schema.INVERT] = clock.total / count
    times |= {schema.DEVICE_PEAK: float(clock.device_peak), schema.RSS_PEAK: float(clock.rss_peak)}
    machine = {"machine": tools.machine}
    return [
        _row(tools, cell, entry, edit, batch=count)
        | {id: float(value[i]) for id, value in values.items()}
        | times
        | machine
        for i, entry in enumerate(entries)
    ]


def _curves(
    tools: Tools,
    cell: Cell,
    entries: Sequence[Entry],
    clock: StageClock,
    values: Mapping[str, np.ndarray],
    *,
    wanted: Sequence[int],
) -> Iterator[Row]:
    """The points of the curves of the images ``wanted``."""
    recorder = clock.on_pictures
    if isinstance(recorder, Recorder):
        recorder.finish(values, clock.total)
        for index in wanted:
            row = _row(tools, cell, entries[index], None, batch=len(entries))
            kept = {name: row[name] for name in ("key", "method", "preset", "dataset", "image", "index", "batch")}
            yield from (kept | {"machine": tools.machine} | point for point in recorder.points(index))


def _digests(tools: Tools, cell: Cell, row: Row, digests: Mapping[Path, str]) -> Row:
    """The columns "picture" and "mask" of a row: sha256 of the files that it was scored from, if they were written."""
    edit = None if row["edit"] is None else Edit(row["edit"], row["strength"])
    paths = {"picture": tools.store.picture(cell.id, row["image"], edit)}
    if edit is None:
        paths["mask"] = tools.store.mask(cell.id, row["image"])
    return {name: digests[path] for name, path in paths.items() if path in digests}


def _row(tools: Tools, cell: Cell, entry: Entry, edit: Edit | None, *, batch: int, reason: str = "") -> Row:
    return {
        "key": cell.key(entry, edit),
        "recipe": cell.recipe,
        "suite": tools.suite,
        "method": cell.method,
        "preset": cell.preset,
        "dataset": cell.dataset,
        "image": entry.name,
        "index": entry.index,
        "edit": None if edit is None else edit.name,
        "strength": None if edit is None else float(edit.strength),
        "status": "failed" if reason else "ok",
        "reason": reason or None,
        "batch": batch,
    }


def _merged_features(batch: _Batch, scorer: Scorer) -> dict[str, np.ndarray]:
    """Features [n, F] of all inverted images of the batch by name; those that failed on one of them are left out."""
    blocks = [features for _, features in batch.features]
    names = [name for name in scorer.feature_recipes if blocks and all(name in block for block in blocks)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in names}


def _write_features(batch: _Batch, part: Part, features: dict[str, np.ndarray], tools: Tools) -> None:
    if features:
        images = [name for names, _ in batch.features for name in names]
        recipes = {name: tools.scorer.feature_recipes[name] for name in features}
        tools.store.write_features(batch.cell.id, part.name, features=features, images=images, recipes=recipes)
