"""Overlap of two feature sets. Each set is modelled as a union of balls that reach to each point's k-th nearest neighbour.

Reconstructions are paired with their originals, and an output close to its own original lies inside that original's ball, so
precision, recall and coverage are near 1 for any good inversion and only show bad ones. Density has no better side: it is 1
for equal sets and larger if outputs are more typical than originals. All four depend on n, so compare them at equal n only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 3  # of precision and recall: Kynkaanniemi et al., NeurIPS 2019
DENSITY_NEIGHBOURS = 5  # of density and coverage: Naeem et al., ICML 2020
BLOCK = 1024  # rows of distances held at a time


def precision(reference: np.ndarray, measured: np.ndarray) -> float:
    """Share of the outputs [m, F] that lie in the ball of an original [n, F]; float64, in [0, 1]."""
    return _inside(measured, reference)


def recall(reference: np.ndarray, measured: np.ndarray) -> float:
    """Share of the originals [n, F] that lie in the ball of an output [m, F]; float64, in [0, 1]."""
    return _inside(reference, measured)


def density(reference: np.ndarray, measured: np.ndarray) -> float:
    """Mean number of originals' [n, F] balls that hold an output [m, F], divided by k; about 1 for equal distributions."""
    radii = _radii(reference, DENSITY_NEIGHBOURS)
    hits = sum(int((block < radii[rows, None]).sum()) for rows, block in _distances(reference, measured))
    return hits / (DENSITY_NEIGHBOURS * len(measured))


def coverage(reference: np.ndarray, measured: np.ndarray) -> float:
    """Share of the originals [n, F] that have an output [m, F] in their ball; float64, in [0, 1]."""
    radii = _radii(reference, DENSITY_NEIGHBOURS)
    covered = sum(int((block.amin(1) < radii[rows]).sum()) for rows, block in _distances(reference, measured))
    return covered / len(reference)


def _inside(points: np.ndarray, centres: np.ndarray) -> float:
    """Share of ``points`` inside a ball around one of ``centres``; a point on the surface is inside."""
    radii, inside = _radii(centres, NEIGHBOURS), torch.zeros(len(points), dtype=torch.bool)
    for rows, block in _distances(centres, points):
        inside |= (block <= radii[rows, None]).any(0)
    return int(inside.sum()) / len(points)


def _radii(points: np.ndarray, neighbours: int) -> Tensor:
    """Distance of each point [n, F] to its k-th nearest other point -> [n]."""
    return torch.cat([block.kthvalue(neighbours + 1).values for _, block in _distances(points, points)])


def _distances(centres: np.ndarray, points: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances float64 [<= BLOCK, m] of centres to all points, block by block, with the rows of each block.

    Radii and distances to other points come from the same matrix products, so that equal distances stay equal.
    """
    others = torch.from_numpy(points)
    for first in range(0, len(centres), BLOCK):
        rows = slice(first, first + BLOCK)
        yield rows, torch.cdist(torch.from_numpy(centres[rows]), others)
