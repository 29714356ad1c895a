"""Metrics over batches: which can be computed, on which images, with which recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.api import Edit, InvbenchError, Metric, MetricSpec, MissingWeights, Sample, Scored, SetMetric
from bench.assets import Networks
from bench.images import dequantise
from bench.provenance import digest, source_digest
from bench.registry import load

SAMPLE_NEEDS = ("factors", "ood_mask", "parsing")
NEEDS = (*SAMPLE_NEEDS, "truth", "domain_mask")


class Scorer:
    """The metrics of a run.

    specs        of the metrics that can be computed, by id
    recipes      digest of each metric's sources and weights, by id: a value is only as old as its recipe
    unavailable  reason by id, for metrics that lack their weights
    failures     by id: how many values could not be computed since the metric raised, and the last reason
    """

    def __init__(self, specs: Sequence[MetricSpec], networks: Networks, *, required: bool = False) -> None:
        self.specs: dict[str, MetricSpec] = {}
        self.recipes: dict[str, str] = {}
        self.unavailable: dict[str, str] = {}
        self.failures: dict[str, dict[str, Any]] = {}
        self.sets: dict[str, SetMetric] = {}
        self._metrics: dict[str, Metric] = {}
        self._networks = networks
        for spec in specs:
            for need in spec.needs:
                if need not in NEEDS:
                    raise InvbenchError(f"metric {spec.id}: needs: expected some of {', '.join(NEEDS)}, found {need!r}")
            try:
                self._add(spec)
            except MissingWeights as error:
                if required:
                    raise InvbenchError(f"metric {spec.id}: {error}") from error
                self.unavailable[spec.id] = str(error)

    def _add(self, spec: MetricSpec) -> None:
        cls = load(spec)
        metric = cls(self._networks)
        classes: list[Any] = [cls, *(code for role in spec.roles for code in self._networks.code(role))]
        weights = {role: self._networks.provenance(role) for role in spec.roles}
        self.recipes[spec.id] = digest({"spec": asdict(spec), "source": source_digest(classes), "networks": weights})
        self.specs[spec.id] = spec
        if spec.kind == "set":
            self.sets[spec.id] = metric
        else:
            self._metrics[spec.id] = metric

    def wanted(self, edit: Edit | None) -> list[str]:
        """Ids of the per-image metrics of a reconstruction (``None``) or of an edit."""
        kind = "inversion" if edit is None else "edit"
        return [
            id for id in self._metrics
            if self.specs[id].kind == kind and (edit is None or not self.specs[id].edits or edit.name in self.specs[id].edits)
        ]  # fmt: skip

    def wants_truth(self, edit: Edit) -> bool:
        """Whether some metric compares this edit with the true edited picture."""
        return any("truth" in self.specs[id].needs for id in self.wanted(edit))

    def score(self, scored: Scored, *, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """float64 [N] by metric id; NaN where a metric does not cover an image, or failed on it."""
        count = len(scored.samples)
        values = {}
        for id in self.wanted(scored.edit):
            if only is not None and id not in only:
                continue
            values[id] = np.full(count, np.nan)
            covered = [index for index in range(count) if _covers(self.specs[id], scored, index)]
            if not covered:
                continue
            part = scored if len(covered) == count else _subset(scored, covered)
            try:
                found = np.asarray(self._metrics[id](part), dtype=np.float64)
                if found.shape != (len(covered),):
                    raise ValueError(f"expected {len(covered)} values, found shape {found.shape}")
                values[id][covered] = found
            except Exception as error:
                self._note(id, len(covered), error)
        return values

    @property
    def feature_recipes(self) -> dict[str, str]:
        """Feature name -> recipe digest of the metric that makes it (the first that names it)."""
        found: dict[str, str] = {}
        for id, metric in self.sets.items():
            found.setdefault(metric.feature, self.recipes[id])
        return found

    def features(self, images: Tensor, *, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """float32 [N, F] by feature name."""
        found: dict[str, np.ndarray] = {}
        for metric in self.sets.values():
            if metric.feature not in found and (only is None or metric.feature in only):
                found[metric.feature] = np.asarray(metric.features(images), dtype=np.float32)
        return found

    def _note(self, id: str, count: int, error: Exception) -> None:
        known = self.failures.get(id, {"count": 0})
        self.failures[id] = {"count": known["count"] + count, "reason": f"{type(error).__name__}: {error}"}


def scored_from_pictures(
    samples: Sequence[Sample],
    output: np.ndarray,
    *,
    device: torch.device,
    edit: Edit | None = None,
    inverted: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> Scored:
    """What metrics see, from uint8 pictures [N, H, W, 3] and grey domain masks [N, h, w] exactly as they are stored."""

    def images(pictures: np.ndarray | None) -> Tensor | None:
        return None if pictures is None else dequantise(pictures, device)

    state: Mapping[str, Tensor] = {}
    if masks is not None:
        state = {"domain_mask": torch.from_numpy(masks[:, None]).to(device).float() / 255}
    return Scored(
        target=dequantise(np.stack([sample.picture for sample in samples]), device),
        output=dequantise(output, device),
        samples=samples,
        edit=edit,
        inverted=images(inverted),
        truth=images(truth),
        state=state,
    )


def _covers(spec: MetricSpec, scored: Scored, index: int) -> bool:
    sample = scored.samples[index]
    if any(need in spec.needs and getattr(sample, need) is None for need in SAMPLE_NEEDS):
        return False
    if "truth" in spec.needs and scored.truth is None:
        return False
    return "domain_mask" not in spec.needs or "domain_mask" in scored.state


def _subset(scored: Scored, indices: Sequence[int]) -> Scored:
    index = torch.as_tensor(list(indices), device=scored.target.device)

    def pick(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[index]

    return replace(
        scored,
        target=scored.target[index],
        output=scored.output[index],
        samples=[scored.samples[i] for i in indices],
        inverted=pick(scored.inverted),
        truth=pick(scored.truth),
        state={key: value[index] for key, value in scored.state.items()},
    )
