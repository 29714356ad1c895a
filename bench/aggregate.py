"""Set metrics from stored features: FID, KID and their like over the images that a cell has finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.api import SetMetric
from bench.images import read_png
from bench.provenance import digest
from bench.scoring import Scorer
from bench.store import Store

CHUNK = 64  # pictures at a time when features of the originals are computed


def set_rows(store: Store, scorer: Scorer) -> list[dict[str, Any]]:
    """One row for each cell of the run folder and each set metric: value (or None and the reason), and n.

    A metric compares the originals with the reconstructions of the same images: those that did not fail, and that its
    protocol covers on both sides.
    """
    if not scorer.sets:
        return []
    plan = store.plan
    rows = []
    for id, cell in sorted(plan["cells"].items()):
        measured = _measured(store, id, scorer)
        head = {"suite": plan["suite"], "method": cell["method"], "preset": cell["preset"], "dataset": cell["dataset"]}
        order = {image["name"]: image["sha256"] for image in cell["images"]}
        for name, metric in scorer.sets.items():
            known = measured.get(scorer.feature(name), {})
            images = [image for image in order if image in known]
            reason, value = _refused(metric, len(images)), None
            if not reason:
                reference = _reference(store, cell["dataset"], images, [order[image] for image in images], scorer, name)
                outputs = np.stack([known[image] for image in images])
                both = np.isfinite(reference).all(axis=1) & np.isfinite(outputs).all(axis=1)
                images = [image for image, covered in zip(images, both) if covered]
                reason = _refused(metric, len(images))
            if not reason:
                try:
                    value = float(metric.compute(reference[both], outputs[both]))
                except Exception as error:  # a number that cannot be had is a reason in the table, not the end of a run
                    reason = f"{type(error).__name__}: {error}"
            rows.append({**head, "metric": name, "value": value, "n": len(images), "reason": reason or None})
    return rows


def _refused(metric: SetMetric, count: int) -> str:
    return f"needs at least {metric.minimum} images, found {count}" if count < metric.minimum else ""


def _measured(store: Store, cell: str, scorer: Scorer) -> dict[str, dict[str, np.ndarray]]:
    """Feature name -> image -> vector, for images with a finished row and features of the present recipe."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for part in store.parts(cell):
        done = {row["image"] for row in part.rows if row["status"] == "ok" and "edit" not in row}
        features, images, recipes = store.features(cell, part.name)
        for name, values in features.items():
            if recipes.get(name) == scorer.feature_recipes.get(name):
                found.setdefault(name, {}).update({i: v for i, v in zip(images, values, strict=True) if i in done})
    return found


def _reference(
    store: Store, dataset: str, images: Sequence[str], hashes: Sequence[str], scorer: Scorer, id: str
) -> np.ndarray:
    """Features [n, F] of the originals, computed once for a list of images and kept beside those of the methods."""
    feature = scorer.feature(id)
    recipe = scorer.feature_recipes[feature]
    cell, part = f"inputs.{dataset}", f"{feature}-{digest([recipe, list(images), list(hashes)])[:12]}"
    features, _, _ = store.features(cell, part)
    if feature not in features:
        chunks = []
        for first in range(0, len(images), CHUNK):
            pictures = np.stack([read_png(store.input(dataset, image)) for image in images[first : first + CHUNK]])
            prepared = scorer.prepare(scorer.specs[id].protocol, pictures, original=True)
            chunks.append(np.asarray(scorer.sets[id].features(prepared), dtype=np.float32))
        features = {feature: np.concatenate(chunks)}
        store.write_features(cell, part, features=features, images=images, recipes={feature: recipe})
    return features[feature]
