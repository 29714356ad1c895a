"""The scorer: which metrics can be computed, under which protocol, on which images, with which recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import Edit, InvbenchError, Metric, MetricInput, MissingWeights, Preparation, Sample, SetMetric
from invbench.plugins.registry import find, load
from invbench.scoring.originals import Kept, OfMetric, large
from invbench.scoring.truths import Truths
from invbench.specs import MetricSpec, ProtocolSpec
from invbench.util.provenance import digest, source_digest
from invbench.weights.networks import Networks

SAMPLE_NEEDS = ("factors", "ood_mask", "parsing")


class Scorer:
    """The metrics of a run.

    specs            specs of the metrics that can be computed, by id
    protocols        protocols of these metrics, by id
    regions          the parser's classes that an edit may change, by the edit's name
    recipes          by id: digest of the metric's sources and weights, protocol included; a new recipe outdates old values
    feature_recipes  by feature name: the same without the metric's declaration, so that metrics share features
    unavailable      by id: why a metric cannot be computed (its weights are missing)
    failures         by id: how many values are missing because the metric raised, and the last reason
    owed             by id: why a metric raised since the last call of :meth:`take_owed`
    truths           what was computed from true edited pictures
    kept             where results of originals are kept; None: nowhere, which changes no number
    """

    def __init__(
        self,
        specs: Sequence[MetricSpec],
        networks: Networks,
        *,
        protocols: Mapping[str, ProtocolSpec],
        regions: Mapping[str, tuple[str, ...]],
        required: bool,
        kept: Kept | None = None,
    ) -> None:
        self._kept = kept or Kept(Path(), limit=0, device=networks.device)
        self._contents: dict[str, str] = {}  # by id: digest of its code, networks and protocol
        self._preparing: dict[str, str] = {}  # by a protocol's entry: digest of its code and networks; of those with networks
        self.specs: dict[str, MetricSpec] = {}
        self.protocols: dict[str, ProtocolSpec] = {}
        self.recipes: dict[str, str] = {}
        self.feature_recipes: dict[str, str] = {}
        self.unavailable: dict[str, str] = {}
        self.failures: dict[str, dict[str, Any]] = {}
        self.owed: dict[str, str] = {}
        self.sets: dict[str, SetMetric] = {}
        self.truths = Truths()
        self._metrics: dict[str, Metric] = {}
        self._preparations: dict[str, Preparation] = {}  # by the protocol's entry: two ids may share one
        self._networks = networks
        self.regions = dict(regions)
        for spec in specs:
            try:
                self._add(spec, find("protocol", spec.protocol, protocols))
            except MissingWeights as error:
                if required:
                    raise InvbenchError(f"metric {spec.id}: {error}") from error
                self.unavailable[spec.id] = str(error)

    def _add(self, spec: MetricSpec, protocol: ProtocolSpec) -> None:
        preparing, cls = load(protocol), load(spec)
        if protocol.entry not in self._preparations:
            self._preparations[protocol.entry] = preparing(self._networks)
        metric = cls(self._networks)
        roles = dict.fromkeys([*protocol.roles, *spec.roles])
        sources = source_digest([cls, preparing, *(code for role in roles for code in self._networks.code(role))])
        weights = {role: self._networks.provenance(role) for role in roles}
        content = {"protocol": asdict(protocol), "source": sources, "networks": weights}
        if "region" in spec.needs:
            content["regions"] = self.regions
        self.recipes[spec.id] = digest(content | {"spec": asdict(spec)})
        self._contents[spec.id] = digest(content)
        if protocol.roles:
            own = source_digest([preparing, *(code for role in protocol.roles for code in self._networks.code(role))])
            used = {role: weights[role] for role in protocol.roles}
            self._preparing[protocol.entry] = digest({"entry": protocol.entry, "source": own, "networks": used})
        self.specs[spec.id], self.protocols[protocol.id] = spec, protocol
        if spec.kind == "set":
            self.sets[spec.id] = metric
            self.feature_recipes.setdefault(self.feature(spec.id), self._contents[spec.id])
        else:
            self._metrics[spec.id] = metric

    @property
    def roles(self) -> set[str]:
        """Roles of the networks that metrics and protocols use."""
        used = [spec.roles for spec in self.specs.values()] + [spec.roles for spec in self.protocols.values()]
        return {role for roles in used for role in roles}

    @property
    def left_out(self) -> list[str]:
        """A line for the user on the metrics that cannot be computed, if there are any."""
        names = ", ".join(self.unavailable)
        return [f"without {names}: their weights are missing; the manifest and `invbench doctor` say which"] if names else []

    def wanted(self, kind: str, edit: Edit | None) -> list[str]:
        """Ids of the metrics of a kind ("inversion", "edit", "round_trip") that are defined for ``edit`` (None: inversions)."""
        own = [spec for spec in self.specs.values() if spec.kind == kind]
        names = set() if edit is None else {part.name for part in edit.plain.parts}
        return [spec.id for spec in own if edit is None or not spec.edits or names & set(spec.edits)]

    def region(self, edit: Edit) -> tuple[str, ...]:
        """The parser's classes that an edit may change; of a sum, those of all its parts. Empty if the suite names none."""
        found = [self.regions.get(part.name, ()) for part in edit.parts]
        return tuple(dict.fromkeys(chain(*found))) if all(found) else ()

    @property
    def round_trips(self) -> dict[str, str]:
        """Recipes by id of the round-trip metrics, which only a run of the method itself can update."""
        return {id: recipe for id, recipe in self.recipes.items() if self.specs[id].kind == "round_trip"}

    @property
    def of_latents(self) -> set[str]:
        """The metrics computed from latents, which are not stored: only a run of the method itself can compute them."""
        return {id for id, spec in self.specs.items() if spec.kind == "round_trip" or "latents" in spec.needs}

    def prepare(self, protocol: str, pictures: np.ndarray, *, original: bool) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, h, w] in [-1, 1]; ``original`` as in :class:`invbench.api.Preparation`."""
        return self._preparations[self.protocols[protocol].entry](pictures, original=original)

    def prepare_originals(self, protocol: str, samples: Sequence[Sample]) -> Tensor:
        """As :meth:`prepare`, for the originals of a batch, from what was kept of them if the protocol uses networks."""
        recipe = self._preparing.get(self.protocols[protocol].entry)
        if recipe is None or not large(samples[0]):
            return self.prepare(protocol, np.stack([sample.picture for sample in samples]), original=True)
        kept = OfMetric(self._kept, recipe)

        def alone(sample: Sample) -> Tensor:
            picture = sample.picture[None]
            return kept.of("prepared", sample, torch.empty(0), lambda _: self.prepare(protocol, picture, original=True))

        return torch.cat([alone(sample) for sample in samples])

    def evaluate(self, id: str, given: MetricInput) -> np.ndarray:
        """float64 [N] of one metric; NaN for images that it does not cover and for images on which it failed."""
        count = len(given.samples)
        values = np.full(count, np.nan)
        covered = [index for index in range(count) if _covers(self.specs[id], given, index)]
        if not covered:
            return values
        part = given if len(covered) == count else _subset(given, covered)
        if large(part.samples[0]):
            part = replace(part, originals=OfMetric(self._kept, self._contents[id]))
        try:
            found = np.asarray(self._metrics[id](part), dtype=np.float64)
            if found.shape != (len(covered),):
                raise ValueError(f"expected {len(covered)} values, found shape {found.shape}")
            values[covered] = found
        except Exception as error:
            self.note(id, len(covered), error)
        return values

    def sees_uncovered(self, id: str) -> bool:
        """Whether a metric's values count for images that its protocol does not cover (:class:`invbench.api.Metric`)."""
        return bool(getattr(self._metrics[id], "sees_uncovered", False))

    def feature(self, id: str) -> str:
        """The name under which the features of a set metric are stored. Protocols never share features."""
        return f"{self.sets[id].feature}@{self.specs[id].protocol}"

    def note(self, id: str, count: int, error: Exception) -> None:
        """Record that a metric could not be computed on ``count`` images."""
        self.owed[id] = f"{type(error).__name__}: {error}"
        self.add_failures({id: {"count": count, "reason": self.owed[id]}})

    def take_failures(self) -> dict[str, dict[str, Any]]:
        """``failures`` since the last call of this; they are counted no more."""
        failures = dict(self.failures)
        self.failures.clear()
        return failures

    def add_failures(self, failures: Mapping[str, Mapping[str, Any]]) -> None:
        """Count what another scorer's :meth:`take_failures` gave."""
        for id, note in failures.items():
            known = self.failures.get(id, {"count": 0})
            self.failures[id] = {"count": known["count"] + note["count"], "reason": note["reason"]}

    def take_owed(self) -> dict[str, str]:
        """The metrics that raised since the last call, with reasons; their values must be computed again."""
        owed = dict(self.owed)
        self.owed.clear()
        return owed


def _covers(spec: MetricSpec, given: MetricInput, index: int) -> bool:
    sample = given.samples[index]
    if any(need in spec.needs and getattr(sample, need) is None for need in SAMPLE_NEEDS):
        return False
    known = {"truth": given.truth, "true_factors": given.true_factors}
    known |= {"latents": given.latents, "latents_back": given.latents_back}
    if any(need in spec.needs and value is None for need, value in known.items()):
        return False
    if "region" in spec.needs and not given.region:
        return False
    return "domain_mask" not in spec.needs or "domain_mask" in given.state


def _subset(given: MetricInput, indices: Sequence[int]) -> MetricInput:
    index = torch.as_tensor(list(indices), device=given.target.device)

    def pick(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[index]

    return replace(
        given,
        target=given.target[index],
        output=given.output[index],
        samples=[given.samples[i] for i in indices],
        inverted=pick(given.inverted),
        truth=pick(given.truth),
        latents=pick(given.latents),
        latents_back=pick(given.latents_back),
        true_factors=None if given.true_factors is None else given.true_factors[list(indices)],
        state={key: value[index] for key, value in given.state.items()},
        memo={},
    )
