"""Weights in eight bits: integers with one scale an output channel, as the zoo stores the large tensors of some networks.

A weight is off by at most half a scale, 1/254 of the greatest of its channel. A file holds a packed tensor under its own name,
int8, and its scales beside it under the name with :data:`SCALE`, float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale8"
GREATEST = 127
DIGITS = 2048  # scales have eleven binary digits, so that integer times scale is exact, and packing again changes nothing


def pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [O, ...], finite -> integers, int8 [O, ...], and scales, float32 [O, 1, ...]."""
    size = weight.detach().double().flatten(1).abs().amax(1)
    mantissa, exponent = torch.frexp(torch.where(size > 0, size, 1.0) / GREATEST)
    scale = torch.ldexp(torch.ceil(mantissa * DIGITS) / DIGITS, exponent).reshape(-1, *[1] * (weight.ndim - 1))
    return torch.round(weight.double() / scale).to(torch.int8), scale.float()


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, with the packed ones in float32 and without their scales.

    Raises ValueError for scales that do not belong to a tensor of integers.
    """
    found = {key: value for key, value in tensors.items() if not key.endswith(SCALE)}
    for name in tensors.keys() - found.keys():
        key, scale = name.removesuffix(SCALE), tensors[name]
        whole = found.get(key)
        if whole is None or whole.dtype != torch.int8 or scale.shape != (len(whole), *[1] * (whole.ndim - 1)):
            raise ValueError(f"{name}: expected the scales of a tensor {key!r} of int8, found {list(scale.shape)}")
        found[key] = whole.float() * scale.float()
    return found
