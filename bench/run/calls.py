"""Checked calls to a method: shape, type and finiteness of its output, and that an edit does not change its inversion."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class Call:
    """One call of a method: what is asked of it, for which images."""

    cell: str
    kind: str  # "inversion", "edit", "round trip", "latency", "guard" or "warm-up"
    edit: Edit | None
    images: tuple[str, ...]

    @property
    def group(self) -> tuple[str, str]:
        """The calls that this one is counted with: the cell's id and the kind."""
        return self.cell, self.kind


class Ended(RuntimeError):
    """The call ended its process, or took too long, at an earlier try; it is not tried again."""


class Outgrown(MemoryError):
    """The process of the call was killed from outside at an earlier try, as a system does that runs out of memory."""


@dataclass(frozen=True)
class Watch:
    """Announces every call, and refuses those that may not be made.

    began    called with a call as it begins
    ended    called as it ends, with whether it succeeded
    refused  why calls may not be made: by call, by :attr:`Call.group`, or for all under None
    """

    began: Callable[[Call], None] = lambda call: None
    ended: Callable[[bool], None] = lambda succeeded: None
    refused: Mapping[Hashable, Ended | Outgrown] = field(default_factory=dict)

    def also(self, began: Callable[[Call], None]) -> Watch:
        """The same, with one more that is called with a call as it begins."""
        before = self.began

        def both(call: Call) -> None:
            before(call)
            began(call)

        return replace(self, began=both)

    @contextmanager
    def over(self, call: Call) -> Iterator[None]:
        """Around one call. Raises Ended or Outgrown in its place if it is refused."""
        for key in (call, call.group, None):
            if key in self.refused:
                raise self.refused[key]
        self.began(call)
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            self.ended(succeeded)


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
