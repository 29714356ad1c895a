"""The networks in pickles of the TensorFlow StyleGANs (NVlabs/stylegan2, NVlabs/stylegan2-ada), from the pickles' records.

Such a file holds (G, D, Gs); Gs is the moving average of G. A network stores its variables as pairs (name, NumPy array), and
its parts (mapping, synthesis) as networks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.weights.pickle_records import Record, is_record

NETWORK = "dnnlib.tflib.network.Network"
ARRAY = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
DTYPE = "numpy.dtype"
NAMES = (NETWORK, *ARRAY, *SCALAR, DTYPE, "numpy.ndarray")
PLACES = ("G", "D", "Gs")
DTYPES = {"f4": torch.float32, "f8": torch.float64, "f2": torch.float16, "i4": torch.int32, "i8": torch.int64}
DEEPEST, MOST_AXES = 4, 8


def is_networks(content: Any) -> bool:
    """Whether ``content`` is that of a pickle of a TensorFlow StyleGAN."""
    return isinstance(content, list) and len(content) == len(PLACES) and all(is_record(one, NETWORK) for one in content)


def states(content: list[Record]) -> dict[str, Any]:
    """The variables: {"Gs": {"synthesis/4x4/Const/const": tensor, ...}, ..., "init_kwargs": {"Gs": {...}, ...}}.

    Raises InvbenchError for a variable that is not an array of numbers, and for networks nested too deeply.
    """
    networks = dict(zip(PLACES, content, strict=True))
    found: dict[str, Any] = {place: _variables(network, place) for place, network in networks.items()}
    kwargs = {place: _plain(_state(network, place).get("static_kwargs")) for place, network in networks.items()}
    return found | {"init_kwargs": kwargs}


def _variables(network: Any, place: str, depth: int = 0) -> dict[str, Tensor]:
    state = _state(network, place)
    if depth > DEEPEST:
        raise InvbenchError(f"{place}: expected networks {DEEPEST} deep at most, found deeper ones")
    found = {str(name): array(value, f"{place}/{name}") for name, value in state.get("variables") or ()}
    for part, inner in (state.get("components") or {}).items():
        found |= {f"{part}/{name}": value for name, value in _variables(inner, f"{place}/{part}", depth + 1).items()}
    return found


def _state(network: Any, place: str) -> dict[str, Any]:
    if not is_record(network, NETWORK) or not isinstance(network.state, dict):
        raise InvbenchError(f"{place}: expected a network, found another object")
    return network.state


def array(value: Any, name: str) -> Tensor:
    """A NumPy array from its record [version, shape, type, column order, bytes] (row-major, little-endian), or a scalar."""
    stored = value.state if is_record(value, *ARRAY) else None
    if is_record(value, *SCALAR) and len(value.args) == 2:
        stored = [1, [], value.args[0], False, value.args[1]]
    dtype = _dtype(stored[2]) if isinstance(stored, list) and len(stored) == 5 else None
    if dtype is None or stored is None or not isinstance(stored[4], bytes) or stored[3]:
        raise InvbenchError(f"{name}: expected an array of numbers, found another object")
    shape, data = stored[1], stored[4]
    if len(shape) > MOST_AXES or not all(type(length) is int and length >= 0 for length in shape):
        raise InvbenchError(f"{name}: expected the shape of an array, found {shape[:MOST_AXES]}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise InvbenchError(f"{name}: expected {math.prod(shape)} numbers of {dtype.itemsize} bytes, found {len(data)} bytes")
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def _dtype(kind: Any) -> torch.dtype | None:
    """The torch type of a little-endian NumPy type; None for other types."""
    little = is_record(kind, DTYPE) and kind.args and isinstance(kind.state, list) and kind.state[1:2] in (["<"], ["="])
    return DTYPES.get(str(kind.args[0])) if little else None


def _plain(kwargs: Any) -> dict[str, Any]:
    """The arguments that are plain values; others are left out."""
    plain = (bool, int, float, str, type(None))
    return {str(k): v for k, v in kwargs.items() if isinstance(v, plain)} if isinstance(kwargs, dict) else {}
