"""The truth that a dataset knows: for metrics (:func:`of`), and copies of it for the page (:func:`write`).

The copies are edited pictures and domain masks of the first images. No key and no score depends on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from invbench.api import Dataset, Edit, InvbenchError, KnowsFactors
from invbench.run.plan import Entry
from invbench.schema import signed
from invbench.scoring.scorer import Scorer
from invbench.store import Store
from invbench.util.behind import Behind

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


def write(store: Store, id: str, dataset: Dataset, *, entries: Sequence[Entry], edits: Sequence[Edit]) -> None:
    """Write the truth of the first images, as far as the dataset knows it; files that hold it already are left alone.

    Raises InvbenchError naming the image if the folder was made with another truth of it: rows of two truths must not meet.
    """
    earlier, digests = store.truths(id), dict[str, str]()
    with Behind() as behind:
        for entry in [entry for entry in entries if entry.sha256 is not None][:FIRST]:
            pictures: dict[Path, np.ndarray] = {}
            for path, kind, picture in _known(store, id, dataset, entry, edits):
                place = path.relative_to(store.path).as_posix()
                had = earlier.get(place)
                digest = None if picture is None else hashlib.sha256(picture.tobytes()).hexdigest()
                if had is not None and had != digest:
                    raise InvbenchError(
                        f"{id}: {entry.name}: expected the {kind} that this run folder has (sha256 {had}), "
                        f"found {'none' if digest is None else f'sha256 {digest}'}; choose another --out, or --fresh"
                    )
                if picture is not None and digest is not None:
                    digests[place] = digest
                    if store.pixel_digest(path) != digest:
                        pictures[path] = picture
            if pictures:
                behind.write(pictures)
        behind.finish()
    if digests.items() - earlier.items():
        store.write_truths(id, earlier | digests)


@contextmanager
def drawn_meanwhile(asked: Iterable[tuple[Dataset, int | None]], edits: Sequence[Edit]) -> Iterator[None]:
    """Ask datasets, of which so many images are wanted (None: all), for the truth that :func:`write` will ask for.

    A second thread asks during the ``with`` block, which must leave the datasets alone and wait for something else. A dataset
    that keeps what it has drawn has it ready then. What it raises is left to :func:`write`.
    """

    def ask() -> None:
        for dataset, count in asked:
            for index in range(len(dataset.names))[: FIRST if count is None else min(count, FIRST)]:
                known = [dataset.truth(index, edit) is not None for edit in edits]
                if not any(known):
                    break

    with ThreadPoolExecutor(1, thread_name_prefix="truth") as beside:
        beside.submit(ask)
        yield


def _known(
    store: Store, id: str, dataset: Dataset, entry: Entry, edits: Sequence[Edit]
) -> Iterator[tuple[Path, str, np.ndarray | None]]:
    """The path, the kind and the picture uint8 [H, W, 3] or [H, W] of each truth of an image; None if unknown."""
    mask = dataset.read(entry.index).ood_mask
    known = None if mask is None else np.where(mask, 0, 255).astype(np.uint8)
    yield store.truth_mask(id, entry.name), "true domain mask", known
    for edit in edits:
        truth = dataset.truth(entry.index, edit)
        yield store.truth(id, entry.name, edit), f"true picture of {edit.name}{signed(edit.strength)}", truth
