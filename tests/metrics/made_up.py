"""Made-up weights: the same numbers for a key and shape on every machine, neither vanishing nor exploding."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """float32 tensors by key: normal draws of NumPy's PCG64, seeded with the CRC-32 of the key, over the root of the fan-in.

    Scales and spreads of normalisations (vectors called ``weight``, ``gamma`` or ``running_var``) are about 1, counters 0.
    """
    return {key: _made(key, tuple(shape)) for key, shape in shapes.items()}


def _made(key: str, shape: tuple[int, ...]) -> Tensor:
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    drawn = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if len(shape) > 1:
        return torch.from_numpy(drawn / math.sqrt(math.prod(shape[1:]))).float()
    centre = 1.0 if last in ("weight", "gamma", "running_var") else 0.0
    return torch.from_numpy(centre + 0.1 * np.abs(drawn) if centre else 0.1 * drawn).float()
