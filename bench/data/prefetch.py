"""A dataset with prefetch: the harness announces the pictures that it will read, and worker processes decode them meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from invbench.api import Dataset, Edit, InvbenchError, KnowsFactors, Sample
from invbench.data.sources import Opening, build
from invbench.data.workers import Calls, default_workers

AHEAD = 32  # decoded pictures that may wait: 96 MiB at 1024 x 1024
WORTH = 32  # fewer pictures than this are decoded sooner than a worker starts


class Prefetch:
    """A dataset, given by its :class:`invbench.data.sources.Opening`. ``names``, ``truth`` and ``true_factors`` are those of
    the dataset, as are ``paths`` (of its files below their folder) and ``notes`` (lines for the user), empty if it has none.

    readers  processes; 0 = none; None = :func:`invbench.data.workers.default_workers` for stored pictures when enough of them
    are expected, none otherwise
    ahead    decoded pictures that may wait in memory
    """

    def __init__(self, name: str, how: Opening, *, readers: int | None = None, ahead: int = AHEAD) -> None:
        self._how, self._readers, self._ahead = how, readers, ahead
        self._dataset: Dataset = build(name, how)
        self.names = _names(name, self._dataset.names)
        self.paths: Sequence[str] = getattr(self._dataset, "paths", ())
        self.notes: Sequence[str] = getattr(self._dataset, "notes", ())
        self._calls: Calls | None = None
        self._expected: deque[int] = deque()

    def expect(self, indices: Sequence[int], *, least: int = 0) -> None:
        """Announce the pictures that will be read, in that order, by ``least`` processes or more. Earlier announcements are
        dropped."""
        self.close()
        readers = self._readers
        if readers is None:
            readers = default_workers() if self._how.stored and len(indices) >= WORTH else 0
        readers = max(readers, least)
        if readers and indices:
            self._expected = deque(indices)
            self._calls = Calls(self._how, "read", list(indices), workers=readers, ahead=self._ahead)

    def read(self, index: int) -> Sample:
        """The picture, or its error, as ``Dataset.read``; a picture that was not announced is decoded in this process.

        Whatever else the dataset raises or gives in place of a sample is an InvbenchError.
        """
        try:
            found = self._read(index)
        except (InvbenchError, OSError, ValueError):
            raise
        except (Exception, GeneratorExit, SystemExit) as error:
            raise InvbenchError(f"{type(error).__name__}: {error}") from error
        _expect_sample(found)
        return found

    def _read(self, index: int) -> Sample:
        if self._calls is None or index not in self._expected:
            return self._dataset.read(index)
        while True:  # skip pictures that were announced but not read
            found = self._expected.popleft()
            sample, error = self._calls.take()
            if found == index:
                break
        if not self._expected:
            self.close()
        if error is not None:
            raise error
        return sample

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        """As ``Dataset.truth``; without prefetch."""
        return self._dataset.truth(index, edit.plain)

    def true_factors(self, index: int, edit: Edit) -> np.ndarray | None:
        """As ``KnowsFactors.true_factors``; None if the dataset knows no factors."""
        return self._dataset.true_factors(index, edit.plain) if isinstance(self._dataset, KnowsFactors) else None

    def close(self) -> None:
        """End the workers, if any."""
        if self._calls is not None:
            self._calls.close()
        self._calls, self._expected = None, deque()


def _names(id: str, found: object) -> Sequence[str]:
    """The names of a dataset. Raises InvbenchError if they are no sequence of texts that files can be named after."""
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise InvbenchError(f"dataset {id}: names: expected a sequence of texts, found {type(found).__name__}")
    for name in found:
        try:
            if not isinstance(name, str):
                raise TypeError
            name.encode(errors="surrogateescape")
        except (TypeError, UnicodeEncodeError):
            raise InvbenchError(f"dataset {id}: names: expected texts, found {name!r:.80}") from None
    return found


def _expect_sample(found: object) -> None:
    """Raise InvbenchError unless it is a sample with arrays as :class:`invbench.api.Sample` says."""
    if not isinstance(found, Sample):
        raise InvbenchError(f"expected an invbench.api.Sample, found {type(found).__name__}")
    if not isinstance(found.sha256, str):
        raise InvbenchError(f"sha256: expected a text, found {type(found.sha256).__name__}")
    picture = found.picture
    size = picture.shape[:2] if isinstance(picture, np.ndarray) else ()
    right = len(size) == 2 and min(size) > 0 and picture.shape[2:] == (3,) and picture.dtype == np.uint8
    for what, array, expected, holds in (
        ("picture", picture, "uint8 [H, W, 3]", right),
        ("ood_mask", found.ood_mask, "bool [H, W]", _is(found.ood_mask, "b", size)),
        ("parsing", found.parsing, "whole numbers [H, W]", _is(found.parsing, "iu", size)),
        ("factors", found.factors, "numbers [K]", _is(found.factors, "iuf", (None,))),
    ):
        if not holds:
            shown = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
            raise InvbenchError(f"{what}: expected {expected}, found {shown}")


def _is(array: object, kinds: str, shape: tuple[int | None, ...]) -> bool:
    """Whether it is None, or an array of one of the ``kinds`` of numbers and of that shape (None: any length)."""
    if not isinstance(array, np.ndarray):
        return array is None
    return array.dtype.kind in kinds and array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape))
