"""Validation figures that several recipes share."""

from __future__ import annotations

import numpy as np


def r_squared(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Coefficient of determination of each column: truth and predicted [N, K] -> float64 [K]; 1 is perfect."""
    residual = np.square(truth - predicted).sum(0)
    return 1 - residual / np.square(truth - truth.mean(0)).sum(0)
