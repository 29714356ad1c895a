"""How far an edit moved its attribute, by the suite's regressor; and the error of this change where the truth is known.

The network in the role ``regressor`` maps images to factors [N, K], called ``names``, about [0, 1], where 0 stands for ``low``
and 1 for ``high`` in the factor's unit. An edit's factor is the factor with the edit's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from invbench.api import InvbenchError, MetricInput, MissingWeights
from invbench.metrics.common import network, not_covered

SPECS = [
    {
        "id": "age_change",
        "class": "AgeChange",
        "title": "Age change (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "years",
        "range": "the regressor's",
        "roles": ["regressor"],
        "edits": ["age"],
        "summary": "By the suite's regressor on both pictures; to be read against the strength that was asked for.",
        "reference": "none: HyperInverter, Table 2, has the figure for other networks without code",
    },
    {
        "id": "yaw_change",
        "class": "YawChange",
        "title": "Yaw change (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "degrees",
        "range": "the regressor's",
        "roles": ["regressor"],
        "edits": ["yaw"],
        "summary": "By the suite's regressor on both pictures; to be read against the strength that was asked for.",
        "reference": "none: HyperInverter, Table 2, has the figure for other networks without code",
    },
    {
        "id": "smile_change",
        "class": "SmileChange",
        "title": "Smile change (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "of the factor's range",
        "range": "the regressor's",
        "roles": ["regressor"],
        "edits": ["smile"],
        "summary": "By the suite's regressor on both pictures; to be read against the strength that was asked for.",
        "reference": "none: papers report age and yaw only",
    },
    {
        "id": "eye_openness_change",
        "class": "EyeOpennessChange",
        "title": "Eye openness change (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "of the factor's range",
        "range": "the regressor's",
        "roles": ["regressor"],
        "edits": ["eye_openness"],
        "summary": "By the suite's regressor on both pictures; to be read against the strength that was asked for.",
        "reference": "none: papers report age and yaw only",
    },
    {
        "id": "true_change",
        "class": "TrueChange",
        "title": "True change of the attribute",
        "kind": "edit",
        "better": "none",
        "unit": "the edit's",
        "range": "the factor's",
        "roles": ["regressor"],
        "needs": ["factors", "true_factors"],
        "summary": "The change that the edit should make on this image: strength times unit, clipped to the factor's limits.",
        "reference": "none: the true edits are known only here",
    },
    {
        "id": "change_error",
        "class": "ChangeError",
        "title": "Error of the attribute's change",
        "kind": "edit",
        "better": "lower",
        "unit": "the edit's",
        "range": "[0, inf)",
        "roles": ["regressor"],
        "needs": ["factors", "true_factors"],
        "summary": "|measured change - true change|; change_error_judge is the part that the regressor alone causes.",
        "reference": "none: the true edits are known only here",
    },
    {
        "id": "change_error_judge",
        "class": "ChangeErrorJudge",
        "title": "Error of the attribute's change, of the regressor alone",
        "kind": "edit",
        "better": "none",
        "unit": "the edit's",
        "range": "[0, inf)",
        "roles": ["regressor"],
        "needs": ["factors", "true_factors", "truth"],
        "summary": "|change that the regressor reads from original to true edit - true change|; the same for every method.",
        "reference": "none: the true edits are known only here",
    },
]


class Factors:
    """The suite's regressor for the metric ``metric``; each picture of a batch is read once.

    names [K], span [K]: high - low, in the factors' units. Raises MissingWeights if the suite has no such network.
    """

    def __init__(self, networks: Mapping[str, Any], metric: str) -> None:
        self.metric = metric
        self.network = network(networks, "regressor", metric)
        self.names = list(self.network.names)
        self.span = np.array(self.network.high, dtype=np.float64) - np.array(self.network.low, dtype=np.float64)

    def read(self, given: MetricInput, which: str) -> np.ndarray:
        """Factors float64 [N, K] of ``given.<which>``. Raises ValueError if there are no such pictures."""
        found = given.once("factors:regressor", which, self.network)
        return found.double().cpu().numpy()

    def moved(self, given: MetricInput, before: str, after: str) -> np.ndarray:
        """float64 [N, K]: change of the readings, as shares of each factor's range."""
        return self.read(given, after) - self.read(given, before)

    def own(self, given: MetricInput) -> list[int]:
        """The edit's factors, one of each part of a sum, without those that the regressor does not read.

        Raises ValueError without an edit.
        """
        if given.edit is None:
            raise ValueError("given.edit: an edit metric needs the edit, found None")
        return [self.names.index(part.name) for part in given.edit.parts if part.name in self.names]

    def true_change(self, given: MetricInput, index: int) -> np.ndarray:
        """float64 [N] in the factor's unit: how far the factor ``index`` moves from the original to the true edit."""
        factors = [sample.factors for sample in given.samples]
        before = np.stack([np.full(len(self.names), np.nan) if one is None else one for one in factors])
        after = given.true_factors
        if after is None or after.shape != before.shape:
            found = "none" if after is None else after.shape
            raise InvbenchError(
                f"metric {self.metric!r}: expected true factors {before.shape} in the order of the regressor's, found {found}"
            )
        return (after[:, index] - before[:, index]) * self.span[index]


class AttributeChange:
    """Regressor's reading of the edited picture minus that of the reconstruction -> float64 [N], in the factor's unit.

    Reading both pictures with the same network cancels its constant error. Source: HyperInverter (Dinh et al., CVPR
    2022), Table 2. Raises MissingWeights, naming the factor, if the suite's regressor does not read it.
    """

    factor = ""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        metric = f"{self.factor}_change"
        self.factors = Factors(networks, metric)
        names = self.factors.names
        if self.factor not in names:
            raise MissingWeights(
                f"metric {metric!r}: expected a regressor with the factor {self.factor!r}, found {', '.join(names)}"
            )
        self.index = names.index(self.factor)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        return self.factors.moved(given, "inverted", "output")[:, self.index] * self.factors.span[self.index]


class AgeChange(AttributeChange):
    """Change of age in years; positive: older."""

    factor = "age"


class YawChange(AttributeChange):
    """Change of yaw in degrees; positive: to the viewer's right."""

    factor = "yaw"


class SmileChange(AttributeChange):
    """Change of the smile, as a share of the range from frown to open smile."""

    factor = "smile"


class EyeOpennessChange(AttributeChange):
    """Change of eye openness, as a share of the range from nearly closed to wide open."""

    factor = "eye_openness"


class TrueChange:
    """True change of the edit's factor -> float64 [N] in its unit.

    NaN if no factor has the edit's name, and for a sum of edits, whose factors have units of their own.
    """

    metric = "true_change"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.factors = Factors(networks, self.metric)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        own = self.factors.own(given)
        single = given.edit is not None and len(given.edit.parts) == 1
        return self.value(given, own[0]) if own and single else not_covered(given)

    def value(self, given: MetricInput, index: int) -> np.ndarray:
        """float64 [N] for the factor ``index``, in the factor's unit."""
        return self.factors.true_change(given, index)


class ChangeError(TrueChange):
    """|measured change - true change| of the edit's factor -> float64 [N] in its unit.

    The change is measured as by :class:`AttributeChange`. The value includes the method's and the regressor's error.
    """

    metric = "change_error"
    before, after = "inverted", "output"

    def value(self, given: MetricInput, index: int) -> np.ndarray:
        moved = self.factors.moved(given, self.before, self.after)[:, index] * self.factors.span[index]
        return np.abs(moved - self.factors.true_change(given, index))


class ChangeErrorJudge(ChangeError):
    """The regressor's own share of :class:`ChangeError`: measured from the original to the true edited picture."""

    metric = "change_error_judge"
    before, after = "target", "truth"
