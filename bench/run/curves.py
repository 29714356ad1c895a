"""The curves of ``--curves``: how near a method is after how many steps and seconds.

A method shows pictures on its way (:func:`invbench.methods.common.curves.show`); some of them are quantised and measured as
results are. The result of the call is the last point. A method that shows nothing has no curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from invbench.api import InvbenchError, Sample
from invbench.scoring.evaluator import Evaluator
from invbench.scoring.scorer import Scorer
from invbench.util.clock import Ledger
from invbench.util.images import quantise

NAMES = ("psnr", "lpips")  # what the names of the metrics of a curve begin with
SPACING = 1.15  # the next step to be measured is so many times the last one: about 40 of 1,000


def metrics(scorer: Scorer) -> tuple[str, ...]:
    """The metrics of a curve: the first one of PSNR and of LPIPS among a run's. Raises InvbenchError if there is neither."""
    known = scorer.wanted("inversion", None)
    found = [next((id for id in known if id.startswith(name)), None) for name in NAMES]
    chosen = tuple(id for id in found if id is not None)
    if not chosen:
        listed = ", ".join(known) or "none"
        raise InvbenchError(f"--curves: expected a metric {' or '.join(NAMES)} among the run's, found {listed}")
    return chosen


class Recorder:
    """Measures the pictures that one call of a method shows.

    samples  of the N images of the call
    chosen   ids of the metrics, as :func:`metrics` gives them
    ledger   where the time goes, which is not the method's
    """

    def __init__(self, samples: Sequence[Sample], chosen: Sequence[str], *, scorer: Scorer, ledger: Ledger) -> None:
        self._samples, self._chosen, self._scorer, self._ledger = samples, tuple(chosen), scorer, ledger
        self._points: list[list[dict[str, Any]]] = [[] for _ in samples]
        self._before = 0  # steps of the stages before
        self._last, self._next = -1, 0  # of the present stage: the step that was shown last, and the next to be measured

    def __call__(self, step: int, images: Tensor, rows: Tensor | None, seconds: float) -> None:
        """The pictures [n, 3, H, W] of the images ``rows`` (None: all) after ``step`` steps and ``seconds`` of the call."""
        indices = list(range(len(self._samples))) if rows is None else [int(row) for row in rows]
        if step <= self._last:
            self._before, self._next = self._before + self._last + 1, step
        self._last = step
        if step < self._next or not indices:
            return
        self._next = max(step + 1, math.ceil(step * SPACING))
        height, width = self._samples[0].picture.shape[:2]
        expected = (len(indices), 3, height, width)
        if tuple(images.shape) != expected:
            raise ValueError(f"curves: step {step}: expected pictures {expected}, found {tuple(images.shape)}")
        with self._ledger.spent("metrics"):
            pictures = quantise(images.detach())
            evaluator = Evaluator(self._scorer, [self._samples[index] for index in indices], pictures, masks=None)
            values = evaluator.inversion(only=self._chosen)
        self._add(indices, self._before + step, seconds, values)

    def finish(self, values: Mapping[str, np.ndarray], seconds: float) -> None:
        """Add the results of the call, which took ``seconds``, if it showed any picture; ``values`` are their metrics."""
        if self._last >= 0:
            self._add(range(len(self._samples)), self._before + self._last + 1, seconds, values)

    def points(self, index: int) -> Iterator[dict[str, Any]]:
        """``step``, ``seconds`` an image and the metrics of the points of an image, from the first to the last."""
        yield from self._points[index]

    def _add(self, indices: Sequence[int], step: int, seconds: float, values: Mapping[str, np.ndarray]) -> None:
        each = seconds / len(self._samples)
        for place, index in enumerate(indices):
            found = {id: float(values[id][place]) for id in self._chosen if id in values}
            self._points[index].append({"step": step, "seconds": each, **found})
