"""What the metrics share: asking for a network by role, exact pixel values, and results as float64 arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import MetricInput, MissingWeights

ROUNDING = 1e-4  # of a level: ten times what float32 loses


def network(networks: Mapping[str, Any], role: str, metric: str, *, kind: str = "metric") -> Any:
    """The network that plays ``role``; raises MissingWeights, naming metric (or protocol) and role, where there is none."""
    try:
        return networks[role]
    except KeyError:
        have = ", ".join(sorted(networks)) or "none"
        raise MissingWeights(
            f"weights missing: {kind} {metric!r} needs a network in the role {role!r}, found the roles: {have}"
        ) from None


def levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] -> their values on the scale 0...255 as float64; those of uint8 pictures without rounding errors.

    float32 holds x / 127.5 - 1 only to 1e-7; going back to whole numbers makes a score the same as from the file. What
    is no whole number to begin with (a protocol that resizes without quantising) stays as it is.
    """
    values = (images.double() + 1) * 127.5
    whole = values.round()
    return torch.where((values - whole).abs() < ROUNDING, whole, values)


def float64(values: Tensor) -> np.ndarray:
    """A tensor of N values -> float64 [N] on the CPU."""
    return values.detach().reshape(-1).double().cpu().numpy()


def not_covered(given: MetricInput) -> np.ndarray:
    """NaN for each of the N images."""
    return np.full(given.output.shape[0], np.nan)


def cosine(a: Tensor, b: Tensor) -> np.ndarray:
    """Cosine of the rows of two embeddings [N, E], in float64; NaN where an embedding is zero or not finite."""
    a, b = a.double(), b.double()
    norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return float64((a * b).sum(1) / norms)
