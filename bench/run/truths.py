"""The truth that a dataset knows: for metrics (:func:`of`), and copies of it for the page (:func:`write`).

The copies are edited pictures and domain masks of the first images. No key and no score depends on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from invbench.api import Dataset, Edit, KnowsFactors
from invbench.run.plan import Entry
from invbench.scoring.scorer import Scorer
from invbench.store import Store
from invbench.util.behind import Behind
from invbench.util.images import is_whole

FIRST = 16  # images of a dataset; a page shows the first few


def of(
    dataset: Dataset, entries: Sequence[Entry], edit: Edit, scorer: Scorer
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The true edited pictures uint8 [N, H, W, 3], if a metric compares with them, and their factors float64 [N, K].

    Each is None if the dataset does not know it for all the images.
    """
    pictures = _all(dataset.truth(entry.index, edit) for entry in entries) if scorer.wants_truth(edit) else None
    if not isinstance(dataset, KnowsFactors):
        return pictures, None
    return pictures, _all(dataset.true_factors(entry.index, edit) for entry in entries)


def _all(arrays: Iterable[np.ndarray | None]) -> np.ndarray | None:
    found = list(arrays)
    return None if any(array is None for array in found) else np.stack([array for array in found if array is not None])


def write(
    store: Store, id: str, dataset: Dataset, *, entries: Sequence[Entry], edits: Sequence[Edit], known: frozenset[str]
) -> None:
    """Write the truth of the first images, as far as the dataset knows it.

    ``known`` holds the sha256 of the pictures of earlier runs in the folder: whole files of them are not written again.
    """
    with Behind() as behind:
        for entry in [entry for entry in entries if entry.sha256 is not None][:FIRST]:

            def missing(path: Path, entry: Entry = entry) -> bool:
                return entry.sha256 not in known or not is_whole(path)

            pictures: dict[Path, np.ndarray] = {}
            mask_path = store.truth_mask(id, entry.name)
            if missing(mask_path):
                mask = dataset.read(entry.index).ood_mask
                if mask is not None:
                    pictures[mask_path] = np.where(mask, 0, 255).astype(np.uint8)
            for edit in edits:
                path = store.truth(id, entry.name, edit)
                picture = dataset.truth(entry.index, edit) if missing(path) else None
                if picture is not None:
                    pictures[path] = picture
            if pictures:
                behind.write(pictures)
        behind.finish()
