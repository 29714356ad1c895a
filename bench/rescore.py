"""Metrics that were added or changed since rows were written: computed from the saved pictures, without the method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from bench.api import Edit
from bench.images import dequantise, read_png
from bench.plan import Cell, Entry
from bench.scoring import scored_from_pictures
from bench.shard import Row, Tools, true_pictures
from bench.store import Part


def rescore(cell: Cell, tools: Tools) -> int:
    """Bring the rows of a cell up to the recipes of the run's metrics. Returns how many rows got new values.

    Rows of images or edits that are not in the cell now are left as they are, with the metrics they have.
    Raises InvbenchError when a picture that a row speaks of is missing or broken.
    """
    entries = {entry.name: entry for entry in cell.entries if entry.sha256 is not None}
    changed = 0
    for part in tools.store.parts(cell.id):
        stale = [id for id, recipe in tools.scorer.recipes.items() if part.metrics.get(id) != recipe]
        rows = [row for row in part.rows if row["status"] == "ok" and row["image"] in entries]
        if not stale or len(rows) < len(part.rows):
            continue
        groups: dict[Edit | None, list[Row]] = defaultdict(list)
        for row in rows:
            groups[Edit(row["edit"], row["strength"]) if "edit" in row else None].append(row)
        for edit, group in groups.items():
            _rescore_group(cell, edit, group, [entries[row["image"]] for row in group], stale, tools)
        changed += len(rows)
        _refresh_features(cell, part, [row for row in rows if "edit" not in row], tools)
        with tools.ledger.spent("writing"):
            tools.store.write_part(cell.id, Part(part.name, part.rows, part.metrics | tools.scorer.recipes))
    return changed


def _rescore_group(
    cell: Cell, edit: Edit | None, rows: Sequence[Row], entries: Sequence[Entry], stale: Sequence[str], tools: Tools
) -> None:
    wanted = [id for id in tools.scorer.wanted(edit) if id in stale]
    if not wanted:
        return
    dataset = tools.datasets[cell.dataset]
    names = [entry.name for entry in entries]
    with tools.ledger.spent("data"):
        samples = [dataset.read(entry.index) for entry in entries]
        output = np.stack([read_png(tools.store.picture(cell.id, name, edit)) for name in names])
        inverted, masks = None, None
        if edit is not None:
            inverted = np.stack([read_png(tools.store.picture(cell.id, name)) for name in names])
        elif all(tools.store.mask(cell.id, name).exists() for name in names):
            masks = np.stack([read_png(tools.store.mask(cell.id, name)) for name in names])
    with tools.ledger.spent("metrics"):
        truth = true_pictures(dataset, entries, edit) if edit is not None and tools.scorer.wants_truth(edit) else None
        scored = scored_from_pictures(
            samples, output, device=tools.device, edit=edit, inverted=inverted, truth=truth, masks=masks
        )
        for id, values in tools.scorer.score(scored, only=wanted).items():
            for row, value in zip(rows, values, strict=True):
                row[id] = float(value)


def _refresh_features(cell: Cell, part: Part, rows: Sequence[Row], tools: Tools) -> None:
    recipes = tools.scorer.feature_recipes
    features, names, known = tools.store.features(cell.id, part.name)
    missing = [name for name, recipe in recipes.items() if known.get(name) != recipe]
    if not missing or not rows:
        return
    images = [row["image"] for row in rows]
    pictures = np.stack([read_png(tools.store.picture(cell.id, name)) for name in images])
    with tools.ledger.spent("metrics"):
        found = tools.scorer.features(dequantise(pictures, tools.device), only=missing)
    if names == images:  # otherwise what is there speaks of other images of a part that was cut down
        found = {name: value for name, value in features.items() if name not in found} | found
    else:
        found = tools.scorer.features(dequantise(pictures, tools.device))
    kept = {name: recipes.get(name, known.get(name, "")) for name in found}
    tools.store.write_features(cell.id, part.name, features=found, images=images, recipes=kept)
