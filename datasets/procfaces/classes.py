"""Classes of faces, cut from the factors: young or old, and the quarter of the hair's palette."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

from .factors import INDEX, K, check_factors

CUTS: Mapping[str, tuple[str, ...]] = {"age": ("young", "old"), "hair_hue": ("ash", "blond", "auburn", "red")}
"""Factor -> names of the equal parts of its range."""
CLASSES: tuple[str, ...] = tuple(" ".join(names) for names in itertools.product(*CUTS.values()))
"""Names of the classes in their order: "young ash", ..., "old red"."""


def class_of(u: np.ndarray) -> np.ndarray:
    """The class of each face, int64 [N], for factors u [N, K] in [0, 1]."""
    u, number = check_factors(u), np.zeros(len(u), np.int64)
    for factor, names in CUTS.items():
        part = np.minimum((u[:, INDEX[factor]] * len(names)).astype(np.int64), len(names) - 1)
        number = number * len(names) + part
    return number


def factors_in_class(z: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Factors of latents z [N, K] in classes [N]: u = Phi(z), within the class's part for the factors that are cut.

    z is not normalised, unlike in :func:`factors_from_z`. Returns float64 [N, K] in [0, 1], rounded to 1/4096. Raises
    ValueError on another shape, a value that is not finite, and a class that does not exist.
    """
    z, classes = np.asarray(z, np.float64), np.asarray(classes)
    if z.ndim != 2 or z.shape[1] != K or classes.shape != (len(z),):
        raise ValueError(f"z, classes: expected shapes [N, {K}] and [N], found {list(z.shape)} and {list(classes.shape)}")
    if not np.isfinite(z).all():
        raise ValueError("z: expected finite values, found NaN or infinity")
    if len(classes) and not (classes.min() >= 0 and classes.max() < len(CLASSES)):
        raise ValueError(f"classes: expected numbers from 0 to {len(CLASSES) - 1}, found {classes.min()} to {classes.max()}")
    u, rest = ndtr(z), classes
    for factor, names in reversed(list(CUTS.items())):
        rest, part = np.divmod(rest, len(names))
        # a face at the upper end would belong to the next class after rounding
        within = np.clip(u[:, INDEX[factor]], 0, 1 - len(names) / 4096)
        u[:, INDEX[factor]] = (part + within) / len(names)
    return check_factors(u)
