"""Unintended changes by an edit: other factors of the face, other binary attributes.

Each is measured between the reconstruction and the edited picture, so that it measures the edit alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from invbench.api import MetricInput
from invbench.metrics.attributes import Factors
from invbench.metrics.common import network, not_covered

SPECS = [
    {
        "id": "leakage",
        "class": "Leakage",
        "title": "Leakage onto other factors",
        "kind": "edit",
        "better": "lower",
        "unit": "of the factors' ranges",
        "range": "[0, inf)",
        "roles": ["regressor"],
        "summary": "Mean over all other factors that the regressor reads of |change|, each as a share of the factor's range.",
        "reference": "none: a measure of this harness",
    },
    {
        "id": "leakage_ratio",
        "class": "LeakageRatio",
        "title": "Leakage per intended change",
        "kind": "edit",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["regressor"],
        "summary": "leakage / |change of the edit's own factor|, as shares of range; not covered where that moved under 0.02.",
        "reference": "none: a measure of this harness",
    },
    {
        "id": "leakage_judge",
        "class": "LeakageJudge",
        "title": "Leakage of the true edit, of the regressor alone",
        "kind": "edit",
        "better": "none",
        "unit": "of the factors' ranges",
        "range": "[0, inf)",
        "roles": ["regressor"],
        "needs": ["truth"],
        "summary": "As leakage, from original to true edited picture, where nothing else changes: the regressor's error.",
        "reference": "none: the true edits are known only here",
    },
    {
        "id": "attribute_flips",
        "class": "AttributeFlips",
        "title": "Share of other attributes that flip",
        "kind": "edit",
        "better": "lower",
        "unit": "",
        "range": "[0, 1]",
        "roles": ["attributes"],
        "summary": "Binary attributes that are not the edit's own, by another network: smiling, eyes open, dark hair, ...",
        "reference": "none: a measure of this harness",
    },
]

LEAST_CHANGE = 0.02  # of the factor's range: ratios to smaller changes show the regressor's noise more than the edit


class Leakage:
    """Mean over the other factors of |change| as a share of the factor's range -> float64 [N]; lower is better.

    Other factors: all that the regressor reads except the one with the edit's name (all, if none has it), of a sum except
    those of its parts. The change is u of the edited picture minus u of the reconstruction, u being the regressor's output;
    nothing is clipped, and all factors have equal weight. The regressor's noise adds to the value: see leakage_judge.
    """

    metric = "leakage"
    before, after = "inverted", "output"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.factors = Factors(networks, self.metric)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        return self._leaked(given)[0]

    def _leaked(self, given: MetricInput) -> tuple[np.ndarray, np.ndarray]:
        """Leakage [N] and |change of the edit's own factor| [N], of a sum the mean over its factors (NaN if none is read)."""
        own, moved = self.factors.own(given), np.abs(self.factors.moved(given, self.before, self.after))
        if not own:
            return moved.mean(1), not_covered(given)
        return np.delete(moved, own, axis=1).mean(1), moved[:, own].mean(1)


class LeakageRatio(Leakage):
    """:class:`Leakage` over |change of the edit's own factor|, both as shares of range -> float64 [N].

    NaN (not covered) if the own factor moved by less than 0.02 of its range.
    """

    metric = "leakage_ratio"

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        leaked, intended = self._leaked(given)
        return leaked / np.where(intended >= LEAST_CHANGE, intended, np.nan)


class LeakageJudge(Leakage):
    """:class:`Leakage` from the original to the true edited picture: the regressor's error, since nothing leaked."""

    metric = "leakage_judge"
    before, after = "target", "truth"


class AttributeFlips:
    """Share of binary attributes that differ between the edited picture and the reconstruction -> float64 [N] in [0, 1].

    The network in the role maps images to logits [N, A]; attribute ``names[i]`` depends on the factor ``factors[i]``.
    Attributes of the factor with the edit's name, or of those of a sum, are left out. NaN if none is left.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "attributes", "attribute_flips")

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        own = set() if given.edit is None else {part.name for part in given.edit.parts}
        others = [i for i, factor in enumerate(self.network.factors) if factor not in own]
        if not others:
            return not_covered(given)
        before, after = (given.once("logits:attributes", which, self.network) > 0 for which in ("inverted", "output"))
        return (before != after)[:, others].double().mean(1).cpu().numpy()
