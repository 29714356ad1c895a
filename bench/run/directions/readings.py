"""What a suite's metrics read of edited pictures: labels of fits, lengths of directions, effects and leakage.

The attribute of an edit is read by the metric of its change, ``<edit>_change`` or the first of its family, as reports do. A
change is a difference of two readings by one network, so that against one fixed picture it is the reading itself but for a
constant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import Edit, InvbenchError, Sample
from invbench.plugins.registry import Registry
from invbench.run.session import Session
from invbench.scoring.evaluator import Evaluator
from invbench.specs import MetricSpec
from invbench.util.images import quantise

BATCH = 16  # pictures that are drawn and measured together


class Readings:
    """The metrics of the changes of a suite's edits, and others; everything is measured on 8-bit pictures.

    edits  attribute -> the metric that measures its change; those of the suite that some metric measures
    """

    def __init__(self, session: Session, registry: Registry, *, others: Sequence[str] = ()) -> None:
        self.suite, self.session = session.suite, session
        generator: Any = session.networks["generator"]
        self.generator = generator
        families = {name: _family(name, registry.metrics.values()) for name in self.suite.edits}
        wanted = [*(spec for family in families.values() for spec in family)]
        wanted += [spec for spec in registry.metrics.values() if spec.name in others]
        supported = [spec for spec in wanted if self._has(spec, registry)]
        unique = list({spec.id: spec for spec in supported}.values())
        self.scorer = session.scorer(unique, protocols=registry.protocols, required=False)
        here = {name: [spec for spec in family if spec.id in self.scorer.specs] for name, family in families.items()}
        self.edits: dict[str, MetricSpec] = {name: family[0] for name, family in here.items() if family}
        self.others = [id for id, spec in self.scorer.specs.items() if spec.name in others]
        self._mean = self.pictures(generator.repeat(generator.mean_latent[None]))

    def _has(self, spec: MetricSpec, registry: Registry) -> bool:
        return {*spec.roles, *registry.protocols[spec.protocol].roles} <= set(self.suite.networks)

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> np.ndarray:
        """The generator's pictures of latents [N, L, D], uint8 [N, H, W, 3]."""
        return quantise(self.generator.synthesis(latents))

    def read(self, latents: Tensor) -> np.ndarray:
        """Readings of the pictures of latents [N, L, D], float64 [N, K] in the order of ``edits``; each up to a constant."""
        rows = []
        for part in latents.split(BATCH):
            pictures = self.pictures(part)
            found = self.measured(pictures, np.repeat(self._mean, len(pictures), axis=0), self.edits)
            rows.append(np.stack([found[spec.id] for spec in self.edits.values()], axis=1))
        return np.concatenate(rows)

    def measured(
        self, pictures: np.ndarray, before: np.ndarray, edits: Iterable[str], *, only: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Metric id -> float64 [N]: the change of each attribute from ``before`` to ``pictures``, uint8 [N, H, W, 3], and the
        metrics ``only`` for the first of ``edits``.

        Raises InvbenchError where a metric fails.
        """
        evaluator = Evaluator(self.scorer, [_sample(picture) for picture in before], before, masks=None)
        found: dict[str, np.ndarray] = {}
        for number, name in enumerate(edits):
            ids = [self.edits[name].id, *(only if number == 0 else ())]
            found |= evaluator.edit(Edit(name, 1.0), pictures, truth=None, true_factors=None, only=ids)
        for id, failure in self.scorer.failures.items():
            raise InvbenchError(f"metric {id}: {failure['reason']}")
        return found


def _family(edit: str, metrics: Iterable[MetricSpec]) -> list[MetricSpec]:
    """The metrics of an edit's change, the plain one first."""
    family = [spec for spec in metrics if spec.name == f"{edit}_change" or spec.name.startswith(f"{edit}_change_")]
    return sorted(family, key=lambda spec: spec.name)


def _sample(picture: np.ndarray) -> Sample:
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    return Sample(picture=picture, name=digest[:16], sha256=digest)
