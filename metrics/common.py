"""Functions that metrics share: networks by role, exact pixel values, results as float64 arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import MetricInput, MissingWeights

ROUNDING = 1e-4  # of a level: ten times the rounding error of float32


def network(networks: Mapping[str, Any], role: str, metric: str, *, kind: str = "metric") -> Any:
    """The network that plays ``role``. Raises MissingWeights, naming metric (or protocol) and role, if there is none."""
    try:
        return networks[role]
    except KeyError:
        have = ", ".join(sorted(networks)) or "none"
        raise MissingWeights(
            f"weights missing: {kind} {metric!r} needs a network in the role {role!r}, found the roles: {have}"
        ) from None


def levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] -> float64 values in [0, 255]; exact for images that come from uint8 pictures.

    float32 holds x / 127.5 - 1 only to 1e-7; rounding back to whole numbers gives the same score as from the file. Values
    that were not whole numbers (a protocol that resizes without quantising) are not rounded.
    """
    values = (images + 1).mul_(127.5)
    whole = values.round()
    least, most = values.sub_(whole).aminmax()
    if float(least) > -ROUNDING / 2 and float(most) < ROUNDING / 2:  # all are whole, by more than the error of float32
        return whole.double()
    values = (images.double() + 1) * 127.5
    whole = values.round()
    return torch.where((values - whole).abs() < ROUNDING, whole, values)


def float64(values: Tensor) -> np.ndarray:
    """A tensor of N values -> float64 [N] on the CPU."""
    return values.detach().reshape(-1).double().cpu().numpy()


def not_covered(given: MetricInput) -> np.ndarray:
    """float64 [N] of NaN, for the N images."""
    return np.full(given.output.shape[0], np.nan)


def cosine(a: Tensor, b: Tensor) -> np.ndarray:
    """Cosine of the rows of two embeddings [N, E] -> float64 [N] in [-1, 1]; NaN if an embedding is zero or not finite."""
    a, b = a.double(), b.double()
    norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return float64((a * b).sum(1) / norms)
