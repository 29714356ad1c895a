"""Edit consistency: the distance between the start and the end of a round trip (edit, second inversion, inverse edit).

e4e (Tov et al., SIGGRAPH 2021) calls it latent editing consistency; omertov/encoder4editing, metrics/LEC.py. The harness makes
the round trip, since a metric has no method: see :mod:`invbench.run.round_trips`. w and y are the latents and the picture of
the first inversion, w' and y' those at the end. A perfectly consistent method has w' = w and y' = y.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import MetricInput
from invbench.metrics.common import float64, levels

SPECS = [
    {
        "id": "consistency_w",
        "class": "MeanOverLayers",
        "title": "Edit consistency in W+",
        "kind": "round_trip",
        "better": "lower",
        "unit": "length in W+",
        "range": "[0, inf)",
        "needs": ["latents_back"],
        "summary": "After a round trip: mean over layers of the length of w - w'.",
        "reference": "omertov/encoder4editing: metrics/LEC.py, with another norm and without trimming",
    },
    {
        "id": "consistency_lec",
        "class": "AllLayers",
        "title": "Edit consistency in W+, norm of the script",
        "kind": "round_trip",
        "better": "lower",
        "unit": "length in W+",
        "range": "[0, inf)",
        "needs": ["latents_back"],
        "summary": "After a round trip: length of w - w' over all layers together; grows with the number of layers.",
        "reference": "omertov/encoder4editing: metrics/LEC.py",
    },
    {
        "id": "consistency_mse",
        "class": "Picture",
        "title": "Edit consistency in pictures",
        "kind": "round_trip",
        "better": "lower",
        "unit": "squared intensity, black to white = 2",
        "range": "[0, 4]",
        "summary": "After a round trip: MSE on [-1, 1] between y' and y.",
        "reference": "none: a measure of this harness",
    },
]


class MeanOverLayers:
    """Mean over the L layers of |w_l - w'_l| -> float64 [N]."""

    def __init__(self, networks: Any) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        return float64(_lengths(given).mean(dim=1))


class AllLayers:
    """|w - w'| over all layers together -> float64 [N]."""

    def __init__(self, networks: Any) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        return float64(_lengths(given).square().sum(dim=1).sqrt())


class Picture:
    """Mean of (y - y')^2 on [-1, 1] over channels and pixels -> float64 [N] in [0, 4]."""

    def __init__(self, networks: Any) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        if given.inverted is None:
            raise ValueError("given.inverted: expected pictures [N, 3, h, w], found None")
        return float64(((levels(given.inverted) - levels(given.output)) / 127.5).square().mean(dim=(1, 2, 3)))


def _lengths(given: MetricInput) -> Tensor:
    """float64 [N, L] of |w_l - w'_l|."""
    if given.latents is None or given.latents_back is None:
        raise ValueError("given.latents, given.latents_back: expected [N, L, D], found None")
    return torch.linalg.vector_norm(given.latents.double() - given.latents_back.double(), dim=2)
