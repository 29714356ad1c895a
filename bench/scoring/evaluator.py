"""The evaluator: all metrics of one batch in one pass.

Pictures are prepared once for each protocol, originals and reconstructions once for all edits, true edited pictures once for
all methods of a process, and results that several metrics share (:meth:`invbench.api.MetricInput.once`) are computed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import Edit, MetricInput, Sample
from invbench.scoring.scorer import Scorer
from invbench.scoring.truths import named

MEMO_BYTES = 2**30  # of intermediates kept for a batch; what does not fit is computed again when needed


class Evaluator:
    """The metrics of a run over one batch: its originals, their reconstructions, then edits of the reconstructions.

    samples   the N samples of the dataset
    inverted  uint8 [N, H, W, 3], the reconstructions as they are stored
    masks     grey domain masks uint8 [N, h, w] as they are stored; None if the method has none
    """

    def __init__(
        self, scorer: Scorer, samples: Sequence[Sample], inverted: np.ndarray, *, masks: np.ndarray | None
    ) -> None:
        self._scorer, self._samples, self._masks = scorer, [_sealed(sample) for sample in samples], masks
        self._inverted = inverted
        self._kept: dict[tuple[str, str], Tensor] = {}  # by protocol entry and "target" or "inverted"
        self._memo = _Memo()

    def inversion(self, *, latents: Tensor | None = None, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The metrics of reconstructions: id -> float64 [N]; ``only`` restricts them to some ids.

        latents  [N, L, D] of the inversions, or None where the method did not run
        """
        values: dict[str, np.ndarray] = {}
        for protocol, ids in self._groups("inversion", None, only):

            def given(protocol: str = protocol) -> MetricInput:
                target, output = self._prepared(protocol, "target"), self._prepared(protocol, "inverted")
                state: dict[str, Tensor] = {}
                if self._masks is not None:
                    state = {"domain_mask": torch.from_numpy(self._masks[:, None]).to(output.device).float() / 255}
                return MetricInput(
                    target=target, output=output, samples=self._samples, state=state, latents=latents, memo=self._memo
                )

            values |= self._evaluated(ids, given, self._kept)
        return values

    def edit(
        self,
        edit: Edit,
        output: np.ndarray,
        *,
        truth: np.ndarray | None,
        true_factors: np.ndarray | None,
        only: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """The metrics of an edit: id -> float64 [N]; ``only`` restricts them to some ids.

        output        uint8 [N, H, W, 3], the edited pictures as they are stored
        truth         uint8 [N, H, W, 3], the true edited pictures, or None if not known
        true_factors  float64 [N, K] in [0, 1], the factors of the true edited pictures, or None if not known
        """
        prepared: dict[tuple[str, str], Tensor] = {}
        groups = list(self._groups("edit", edit, only))
        name = None if truth is None else named(truth, self._samples)

        def complete(given: MetricInput, protocol: str) -> MetricInput:
            shown = None if truth is None else self._once(prepared, protocol, "truth", truth)
            return replace(given, truth=shown, true_factors=true_factors)

        if name is not None:
            self._take_truths(name, {self._scorer.protocols[protocol].entry for protocol, _ in groups}, prepared)
        values = self._edited(groups, edit, output, complete, prepared)
        if name is not None:
            self._hold_truths(name, prepared)
        self._memo.keep(self._kept.values())
        return values

    def round_trip(
        self, edit: Edit, output: np.ndarray, *, latents: Tensor, latents_back: Tensor | None
    ) -> dict[str, np.ndarray]:
        """The metrics of a round trip by ``edit``: id -> float64 [N].

        output        uint8 [N, H, W, 3], the pictures at its end as they are stored
        latents       [N, L, D] of the first inversion
        latents_back  [N, L, D] at its end, or None if it is not known how the method's edits move latents
        """

        def complete(given: MetricInput, protocol: str) -> MetricInput:
            return replace(given, latents=latents, latents_back=latents_back)

        values = self._edited(self._groups("round_trip", edit, None), edit, output, complete, {})
        self._memo.keep(self._kept.values())
        return values

    def _edited(
        self,
        groups: Iterable[tuple[str, list[str]]],
        edit: Edit,
        output: np.ndarray,
        complete: Callable[[MetricInput, str], MetricInput],
        prepared: dict[tuple[str, str], Tensor],
    ) -> dict[str, np.ndarray]:
        """The metrics ``groups`` of edited pictures; ``complete`` adds the inputs of that kind of metric under a protocol.

        ``prepared`` holds the pictures prepared for this edit.
        """
        values: dict[str, np.ndarray] = {}
        edit = edit.plain  # a metric measures what became of the attribute, whatever moved it
        for protocol, ids in groups:

            def given(protocol: str = protocol) -> MetricInput:
                seen = MetricInput(
                    target=self._prepared(protocol, "target"),
                    output=self._once(prepared, protocol, "output", output),
                    samples=self._samples,
                    edit=edit,
                    inverted=self._prepared(protocol, "inverted"),
                    region=self._scorer.region(edit),
                    memo=self._memo,
                )
                return complete(seen, protocol)

            values |= self._evaluated(ids, given, self._kept, prepared)
        return values

    def _take_truths(self, name: str, entries: Iterable[str], prepared: dict[tuple[str, str], Tensor]) -> None:
        for entry in entries:
            if (found := self._scorer.truths.take(entry, name)) is not None:
                prepared[entry, "truth"] = found[0]
                self._memo.update(found[1])

    def _hold_truths(self, name: str, prepared: Mapping[tuple[str, str], Tensor]) -> None:
        for (entry, which), pictures in prepared.items():
            if which == "truth":
                results = {key: value for key, value in self._memo.items() if value[0] is pictures}
                size = _size(pictures) + sum(_size(value) for _, value in results.values())
                self._scorer.truths.hold(entry, name, pictures, results, size=size)

    def features(self, *, only: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Features of the reconstructions: name -> float32 [N, F], without those that failed; ``only`` restricts the names."""
        found: dict[str, np.ndarray] = {}
        for id, metric in self._scorer.sets.items():
            name = self._scorer.feature(id)
            if name not in found and (only is None or name in only):
                try:
                    images = self._prepared(self._scorer.specs[id].protocol, "inverted")
                    found[name] = np.asarray(metric.features(images), dtype=np.float32)
                except Exception as error:
                    self._scorer.note(id, len(self._samples), error)
        return found

    def _groups(self, kind: str, edit: Edit | None, only: Sequence[str] | None) -> Iterable[tuple[str, list[str]]]:
        ids = [id for id in self._scorer.wanted(kind, edit) if only is None or id in only]
        ids.sort(key=self._protocol)
        return ((protocol, list(group)) for protocol, group in itertools.groupby(ids, key=self._protocol))

    def _protocol(self, id: str) -> str:
        return self._scorer.specs[id].protocol

    def _prepared(self, protocol: str, which: str) -> Tensor:
        return self._once(self._kept, protocol, which, None if which == "target" else self._inverted)

    def _once(
        self, known: dict[tuple[str, str], Tensor], protocol: str, which: str, pictures: np.ndarray | None
    ) -> Tensor:
        """``pictures`` [N, H, W, 3] as the protocol prepares them; None: the originals."""
        key = (self._scorer.protocols[protocol].entry, which)
        if key not in known:
            if pictures is None:
                made = self._scorer.prepare_originals(protocol, self._samples)
            else:
                made = self._scorer.prepare(protocol, pictures, original=which == "truth")
            known[key] = made.clone() if made.is_inference() else made  # inference tensors do not count writes
        return known[key]

    def _evaluated(
        self, ids: Sequence[str], make: Callable[[], MetricInput], *kept: dict[tuple[str, str], Tensor]
    ) -> dict[str, np.ndarray]:
        """Values by id. A metric that writes into its input gets no value, and the pictures in ``kept`` are prepared again."""
        values: dict[str, np.ndarray] = {}
        given: MetricInput | None = None
        for place, id in enumerate(ids):
            try:
                given = given or make()
            except Exception as error:
                return values | self._failed(ids[place:], error)
            before, uncovered = _writes(given), _uncovered(given.output)
            if given.edit is None:
                uncovered |= _uncovered(given.target)
            found = self._scorer.evaluate(id, given)
            values[id] = np.where(uncovered & (not self._scorer.sees_uncovered(id)), np.nan, found)
            if _writes(given) != before:
                values |= self._failed([id], ValueError("wrote into the pictures that it was given, expected them left alone"))
                for pictures in kept:
                    pictures.clear()
                self._memo.clear()
                self._scorer.truths.clear()
                given = None
        return values

    def _failed(self, ids: Sequence[str], error: Exception) -> dict[str, np.ndarray]:
        for id in ids:
            self._scorer.note(id, len(self._samples), error)
        return {id: np.full(len(self._samples), np.nan) for id in ids}


class _Memo(dict[tuple[str, int], tuple[Tensor, Any]]):
    """Intermediates, at most MEMO_BYTES in all; larger ones are not kept."""

    def __setitem__(self, key: tuple[str, int], value: tuple[Tensor, Any]) -> None:
        if sum(_size(kept) for _, kept in self.values()) + _size(value[1]) <= MEMO_BYTES:
            super().__setitem__(key, value)

    def keep(self, pictures: Iterable[Tensor]) -> None:
        """Drop results that were computed from any other pictures."""
        wanted = {id(one) for one in pictures}
        for key in [key for key in self if key[1] not in wanted]:
            del self[key]


def _size(value: Any) -> int:
    """Bytes of the tensors in a value, including those in lists and dicts."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list | tuple) else 0


def _writes(given: MetricInput) -> list[int]:
    """How often each tensor of a metric input was written to."""
    tensors = (given.target, given.output, given.inverted, given.truth, given.latents, *given.state.values())
    return [tensor._version for tensor in tensors if tensor is not None and not tensor.is_inference()]


def _sealed(sample: Sample) -> Sample:
    """The same sample with read-only arrays, since other metrics use them too."""

    def sealed(array: np.ndarray | None) -> np.ndarray | None:
        if array is not None:
            array = array.view()
            array.flags.writeable = False
        return array

    named: dict[str, Any] = {name: sealed(getattr(sample, name)) for name in ("picture", "parsing", "ood_mask", "factors")}
    return replace(sample, **named)


def _uncovered(images: Tensor) -> np.ndarray:
    """bool [N], True for images that the protocol does not cover (all NaN)."""
    return images[:, 0, 0, 0].isnan().cpu().numpy()
