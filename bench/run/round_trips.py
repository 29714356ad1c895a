"""Round trips: edit, invert the edited picture, edit back; metrics of the kind "round_trip" say how far that is from the start.

For an image whose inversion gave the latents w and the reconstruction y, an edit d of strength s, as metrics/LEC.py of
omertov/encoder4editing does it:

    y+ = edit(inversion, +s), quantised as every picture is     w2 = latents of invert(y+)     w' = w2 - s d
    y' = edit(invert(y+), -s), quantised

It costs a second inversion of every image, so a run does it only when it is asked to (``run --consistency``). A difference from
the script: y+ is quantised, where the script feeds back the float picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import Edit, Inversion, Method
from invbench.run import calls
from invbench.util.clock import StageClock
from invbench.util.images import dequantise, quantise

Move = Callable[[Tensor, Edit], Tensor]


@dataclass(frozen=True)
class Trip:
    """latents [N, L, D] of w', or None where nobody knows how the method moves latents; pictures uint8 [N, H, W, 3] of y'."""

    latents: Tensor | None
    pictures: np.ndarray


def mover(method: Method, directions: Any) -> Move | None:
    """How a method's edits move its latents [N, L, D]: by its own ``move_latents(latents, edit)`` where it has one, else as the
    suite's directions do; None where the method does not use these."""
    own = getattr(method, "move_latents", None)
    return own if own is not None else getattr(directions, "move", None)


def travel(method: Method, inversion: Inversion, edit: Edit, clock: StageClock, *, move: Move | None) -> Trip:
    """From N inversions to where edit, inversion and inverse edit lead. Raises ValueError for output that cannot be used."""
    edited = dequantise(quantise(calls.edit(method, inversion, edit, clock)), inversion.images.device)
    second = calls.invert(method, edited, clock)
    inverse = Edit(edit.name, -edit.strength)
    pictures = quantise(calls.edit(method, second, inverse, clock))
    with torch.no_grad():
        return Trip(None if move is None else move(second.latents, inverse), pictures)

