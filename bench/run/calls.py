"""Calls to a method whose answers are checked: shape, type, finite values."""

from __future__ import annotations

from torch import Tensor

from invbench.api import Edit, Inversion, Method
from invbench.util.clock import StageClock


def invert(method: Method, images: Tensor, clock: StageClock) -> Inversion:
    """Images [N, 3, H, W] in [-1, 1] -> inversion. Raises TypeError or ValueError for an answer that cannot be used."""
    # A copy: a method that writes into its input must not change what the next one sees.
    inversion = method.invert(images.clone(), clock)
    if not isinstance(inversion, Inversion):
        raise TypeError(f"invert returned {type(inversion).__name__}, expected invbench.api.Inversion")
    _check(inversion.images, images)
    if not bool(inversion.latents.isfinite().all()):
        raise ValueError("latents are not finite")
    return inversion


def edit(method: Method, inversion: Inversion, edit: Edit, clock: StageClock) -> Tensor:
    """Edited images [N, 3, H, W]. Raises TypeError or ValueError for an answer that cannot be used."""
    output = method.edit(inversion, edit, clock)
    if not isinstance(output, Tensor):
        raise TypeError(f"edit returned {type(output).__name__}, expected a tensor")
    _check(output, inversion.images)
    return output


def _check(output: Tensor, like: Tensor) -> None:
    if output.shape != like.shape:
        raise ValueError(f"output has shape {list(output.shape)}, expected {list(like.shape)}")
    if not bool(output.isfinite().all()):
        raise ValueError("output is not finite")
