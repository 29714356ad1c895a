"""Results that metrics computed from true edited pictures, held for the next methods of a process.

All methods of a run are compared with the same true pictures, so a network reads them once. Nothing depends on whether a result
was held: it is the result for the same pictures in the same batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from invbench.api import Sample

LIMIT = 2**28  # bytes that a process holds; what does not fit is computed for each method

Results = Mapping[tuple[str, int], tuple[Tensor, Any]]  # as in MetricInput.memo


class Truths:
    """True pictures as a protocol prepares them, with what was computed from them and the originals alone."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], tuple[Tensor, Results]] = {}
        self._bytes = 0

    def take(self, entry: str, name: str) -> tuple[Tensor, Results] | None:
        """What is held of the batch ``name`` (:func:`named`) under the protocol's ``entry``; None if nothing is."""
        return self._held.get((entry, name))

    def hold(self, entry: str, name: str, pictures: Tensor, results: Results, *, size: int) -> None:
        """Hold ``size`` bytes of pictures and results, if they fit beside the others."""
        if (entry, name) not in self._held and self._bytes + size <= LIMIT:
            self._held[entry, name] = (pictures, results)
            self._bytes += size

    def clear(self) -> None:
        """Forget everything, because a metric wrote into pictures."""
        self._held.clear()
        self._bytes = 0


def named(truth: np.ndarray, samples: Sequence[Sample]) -> str:
    """A name of the true pictures uint8 [N, H, W, 3] of some samples: a hash of them and of the originals."""
    found = hashlib.sha256(truth.tobytes())
    for sample in samples:
        found.update(sample.sha256.encode())
    return found.hexdigest()
