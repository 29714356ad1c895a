"""The truth that a dataset knows: for metrics (:func:`of`), and copies of it for the page (:func:`write`).

The copies are edited pictures and domain masks of the first images. No key and no score depends on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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

    Each is None if the dataset does not know it for all the images, or raises: then the scorer records a failure of the
    metrics that need it.
    """

    def all_of(need: str, asked: Callable[[int, Edit], np.ndarray | None]) -> np.ndarray | None:
        metrics = [id for id in scorer.wanted("edit", edit) if need in scorer.specs[id].needs]
        try:
            found = [asked(entry.index, edit) for entry in entries] if metrics else [None]
            return None if any(array is None for array in found) else np.stack([one for one in found if one is not None])
        except Exception as error:
            for id in metrics:
                scorer.note(id, len(entries), error)
            return None

    factors = all_of("true_factors", dataset.true_factors) if isinstance(dataset, KnowsFactors) else None
    return all_of("truth", dataset.truth), factors


def write(
    store: Store, id: str, dataset: Dataset, *, entries: Sequence[Entry], edits: Sequence[Edit], behind: Behind
) -> None:
    """Let ``behind`` write the truth of the first images, as far as the dataset knows it; files that hold it are left alone.

    Which truth that is, is on the disk when this returns. Raises InvbenchError naming the image if the folder was made with
    another truth of it: rows of two truths must not meet.
    """
    earlier, digests, batches = store.truths(id), dict[str, str](), list[dict[Path, np.ndarray]]()
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
        batches.append(pictures)
    if digests.items() - earlier.items():
        store.write_truths(id, earlier | digests)
    for pictures in filter(None, batches):
        behind.write(pictures)


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
    sample = dataset.read(entry.index)
    _expect(f"dataset {id}: {entry.name}: domain mask", sample.ood_mask, sample.picture.shape[:2], bool)
    known = None if sample.ood_mask is None else np.where(sample.ood_mask, 0, 255).astype(np.uint8)
    yield store.truth_mask(id, entry.name), "true domain mask", known
    for edit in edits:
        truth = dataset.truth(entry.index, edit)
        _expect(f"dataset {id}: truth of {entry.name}", truth, sample.picture.shape, np.uint8)
        yield store.truth(id, entry.name, edit), f"true picture of {edit.name}{signed(edit.strength)}", truth


def _expect(what: str, found: object, shape: tuple[int, ...], dtype: type) -> None:
    """Raise InvbenchError unless ``found`` is None or such an array."""
    shown = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__
    if found is not None and shown != (right := f"{np.dtype(dtype)} {list(shape)}"):
        raise InvbenchError(f"{what}: expected {right} or None, found {shown}")
