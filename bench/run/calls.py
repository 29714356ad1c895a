"""Checked calls to a method: shape, type and finiteness of its output, and that an edit does not change its inversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

import torch
from torch import Tensor

from invbench.api import Clock, Edit, Inversion, Method
from invbench.util.clock import StageClock


def invert(method: Method, images: Tensor, clock: StageClock) -> Inversion:
    """Images [N, 3, H, W] in [-1, 1] -> inversion. Raises TypeError or ValueError for unusable output."""
    # A copy: a method that writes into its input must not change what the next one sees.
    inversion = method.invert(images.clone(), clock)
    if not isinstance(inversion, Inversion):
        raise TypeError(f"invert returned {type(inversion).__name__}, expected invbench.api.Inversion")
    _check(inversion.images, images)
    _check_numbers("latents", inversion.latents)
    mask = inversion.state.get("domain_mask")
    if mask is not None:
        if mask.ndim != 4 or mask.shape[1] != 1:
            raise ValueError(f"state['domain_mask'] has shape {list(mask.shape)}, expected [{len(images)}, 1, H, W]")
        _check_numbers("state['domain_mask']", mask.float() if mask.dtype == torch.bool else mask)
    return inversion


@dataclass(frozen=True)
class Failing:
    """Replaces a method that could not be built: every call raises, so that its rows fail with the reason."""

    reason: str

    def invert(self, images: Tensor, clock: Clock) -> NoReturn:
        raise RuntimeError(self.reason)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> NoReturn:
        raise RuntimeError(self.reason)

    def max_batch(self, memory: int) -> int:
        return 1


def does_not_fit(error: BaseException) -> bool:
    """Whether an error is about memory, so that fewer images at a time may do."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error).lower()  # allocators of the CPU and of libraries raise a plain RuntimeError
    return isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)


def watched(inversion: Inversion) -> Inversion:
    """The same inversion with tensors that count writes to them (tensors made in inference mode do not)."""

    def counting(tensor: Tensor) -> Tensor:
        return tensor.clone() if tensor.is_inference() else tensor

    state = {name: counting(tensor) for name, tensor in inversion.state.items()}
    return Inversion(counting(inversion.latents), counting(inversion.images), MappingProxyType(state))


def writes(inversion: Inversion) -> Sequence[int]:
    """How often each tensor of a watched inversion was written to."""
    tensors = (inversion.latents, inversion.images, *inversion.state.values())
    return [-1 if tensor.is_inference() else tensor._version for tensor in tensors]


def edit(method: Method, inversion: Inversion, edit: Edit, clock: StageClock) -> Tensor:
    """Edited images [N, 3, H, W]. Raises TypeError or ValueError for unusable output."""
    before = writes(inversion)
    output = method.edit(inversion, edit, clock)
    if writes(inversion) != before:
        raise ValueError(f"{type(method).__name__}.edit wrote into its inversion, expected it to be left as it is")
    if not isinstance(output, Tensor):
        raise TypeError(f"edit returned {type(output).__name__}, expected a tensor")
    _check(output, inversion.images)
    return output


def _check(output: Tensor, like: Tensor) -> None:
    if output.shape != like.shape:
        raise ValueError(f"output has shape {list(output.shape)}, expected {list(like.shape)}")
    _check_numbers("output", output)


def _check_numbers(name: str, values: Tensor) -> None:
    if not values.is_floating_point():
        raise TypeError(f"{name}: expected floating-point numbers, found {values.dtype}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} is not finite" if name == "output" else f"{name} are not finite")
