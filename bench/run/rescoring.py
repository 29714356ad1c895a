"""Rescoring: compute metrics that were added or changed after rows were written, from the saved pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from invbench import schema
from invbench.api import Edit
from invbench.run import truths
from invbench.run.plan import Cell, Entry
from invbench.run.session import Tools
from invbench.run.shard import Row
from invbench.scoring.evaluator import Evaluator
from invbench.store import Part


def outdated(cell: Cell, part: Part, tools: Tools) -> list[str]:
    """The metrics of which a part has values of other recipes, or none; features count for their set metrics.

    None of a part with failed rows, or with rows of images that are not in the cell now: it is left unchanged.
    """
    known = {entry.name for entry in cell.entries if entry.sha256 is not None}
    if any(row["status"] != "ok" or row["image"] not in known for row in part.rows):
        return []
    recipes = _recipes(tools)
    stale = [id for id, recipe in recipes.items() if part.metrics.get(id) != recipe]
    return stale or ([*tools.scorer.sets] if _lacks_features(cell, part, tools) else [])


def rescore_part(cell: Cell, part: Part, tools: Tools) -> int:
    """Bring one part up to the recipes of the run's metrics, and write it, if it is :func:`outdated`.

    Returns how many rows changed. Rows of edits that are not in the cell now are left unchanged. Raises InvbenchError if the
    picture of a row is missing or broken.
    """
    if not outdated(cell, part, tools):
        return 0
    entries = {entry.name: entry for entry in cell.entries}
    recipes, rows = _recipes(tools), part.rows
    stale = [id for id, recipe in recipes.items() if part.metrics.get(id) != recipe]
    tools.scorer.take_owed()
    evaluators = evaluate_rows(cell, rows, stale, tools)
    failed = _refresh_features(cell, part, [entries[row["image"]] for row in rows if "edit" not in row], evaluators, tools)
    with tools.ledger.spent("writing"):
        owed = dict.fromkeys(failed, "its features could not be computed") | tools.scorer.take_owed()
        done = {id: recipe for id, recipe in (part.metrics | recipes).items() if id not in owed}
        still = {id: why for id, why in part.failures.items() if id not in recipes}  # not requested in this run
        tools.store.write_part(cell.id, Part(part.name, part.rows, done, still | owed))
    return len(rows)


def _recipes(tools: Tools) -> dict[str, str]:
    """By id, of the metrics that can be computed from what is stored."""
    return {id: recipe for id, recipe in tools.scorer.recipes.items() if id not in tools.scorer.of_latents}


def evaluate_rows(cell: Cell, rows: Sequence[Row], ids: Sequence[str], tools: Tools) -> dict[tuple[str, ...], Evaluator]:
    """Compute the metrics ``ids`` of rows with status ok from their saved pictures. Returns the evaluators that were used."""
    entries = {entry.name: entry for entry in cell.entries}
    groups: dict[Edit | None, list[Row]] = defaultdict(list)
    for row in rows:
        groups[Edit(row["edit"], row["strength"]) if "edit" in row else None].append(row)
    evaluators: dict[tuple[str, ...], Evaluator] = {}  # one for all edits of the same images
    for edit, group in groups.items():
        if edit is not None and schema.is_round_trip(edit.name):
            continue  # from latents that are not kept
        _evaluate_group(cell, edit, group, [entries[row["image"]] for row in group], ids, evaluators, tools)
    return evaluators


def _evaluate_group(
    cell: Cell,
    edit: Edit | None,
    rows: Sequence[Row],
    entries: Sequence[Entry],
    ids: Sequence[str],
    evaluators: dict[tuple[str, ...], Evaluator],
    tools: Tools,
) -> None:
    again = {*ids} - tools.scorer.of_latents
    wanted = [id for id in tools.scorer.wanted("inversion" if edit is None else "edit", edit) if id in again]
    if not wanted:
        return
    evaluator = _evaluator(cell, entries, evaluators, tools)
    if edit is None:
        with tools.ledger.spent("metrics"):
            found = evaluator.inversion(only=wanted)
    else:
        with tools.ledger.spent("data"):
            output = np.stack([tools.store.read_picture(tools.store.picture(cell.id, entry.name, edit)) for entry in entries])
        with tools.ledger.spent("metrics"):
            truth, factors = truths.of(tools.datasets[cell.dataset], entries, edit, tools.scorer)
            found = evaluator.edit(edit, output, truth=truth, true_factors=factors, only=wanted)
    for id, values in found.items():
        for row, value in zip(rows, values, strict=True):
            row[id] = float(value)


def _evaluator(cell: Cell, entries: Sequence[Entry], evaluators: dict[tuple[str, ...], Evaluator], tools: Tools) -> Evaluator:
    names = tuple(entry.name for entry in entries)
    if names not in evaluators:
        masks = None
        with tools.ledger.spent("data"):
            samples = [tools.datasets[cell.dataset].read(entry.index) for entry in entries]
            inverted = np.stack([tools.store.read_picture(tools.store.picture(cell.id, name)) for name in names])
            if all(tools.store.mask(cell.id, name).exists() for name in names):
                masks = np.stack([tools.store.read_picture(tools.store.mask(cell.id, name)) for name in names])
        evaluators[names] = Evaluator(tools.scorer, samples, inverted, masks=masks)
    return evaluators[names]


def _lacks_features(cell: Cell, part: Part, tools: Tools) -> bool:
    """Whether features of the part's reconstructions are missing."""
    images = {row["image"] for row in part.rows if "edit" not in row}
    _, names, known = tools.store.features(cell.id, part.name)
    return bool(images) and bool(tools.scorer.sets) and not (images <= {*names} and {*tools.scorer.feature_recipes} <= {*known})


def _refresh_features(
    cell: Cell, part: Part, entries: Sequence[Entry], evaluators: dict[tuple[str, ...], Evaluator], tools: Tools
) -> set[str]:
    """Bring the features of a part up to date. Returns the set metrics whose features could not be computed."""
    recipes = tools.scorer.feature_recipes
    features, names, known = tools.store.features(cell.id, part.name)
    missing = [name for name, recipe in recipes.items() if known.get(name) != recipe]
    images = [entry.name for entry in entries]
    if not entries or not (missing or {*images} - {*names}):
        return set()
    same = names == images  # otherwise rows were removed from the part, and the stored features belong to other images
    evaluator = _evaluator(cell, entries, evaluators, tools)
    with tools.ledger.spent("metrics"):
        found = evaluator.features(only=missing if same else None)
    failed = {id for id in tools.scorer.sets if tools.scorer.feature(id) in missing and tools.scorer.feature(id) not in found}
    if same:
        found = {name: value for name, value in features.items() if name not in missing} | found
    kept = {name: recipes.get(name, known.get(name, "")) for name in found}
    tools.store.write_features(cell.id, part.name, features=found, images=images, recipes=kept)
    return failed
