"""Round trips: edit, invert the edited picture, edit back. Metrics of the kind "round_trip" measure the distance to the start.

For an image whose inversion gave the latents w and the reconstruction y, an edit d of strength s, as metrics/LEC.py of
omertov/encoder4editing does it:

    y+ = edit(inversion, +s), quantised as every picture is     w2 = latents of invert(y+)     w' = w2 - s d
    y' = edit(invert(y+), -s), quantised

It costs a second inversion of every image, so a run does it only for ``run --consistency``. One difference from the script:
y+ is quantised here, while the script feeds back the float picture.
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
    """``latents`` w' [N, L, D], None if the method's moves are not known; ``pictures`` y', uint8 [N, H, W, 3]."""

    latents: Tensor | None
    pictures: np.ndarray


def mover(method: Method, directions: Any) -> Move | None:
    """A function that moves latents [N, L, D] as the method's edits do: its own ``move_latents(latents, edit)`` if it has one,
    else the suite's ``directions``; None if the method does not use these."""
    own = getattr(method, "move_latents", None)
    return own if own is not None else getattr(directions, "move", None)


def travel(method: Method, inversion: Inversion, edit: Edit, clock: StageClock, *, move: Move | None) -> Trip:
    """Edit, invert and edit back N inversions. Raises ValueError for output that cannot be used."""
    edited = dequantise(quantise(calls.edit(method, inversion, edit, clock)), inversion.images.device)
    second = calls.invert(method, edited, clock)
    inverse = Edit(edit.name, -edit.strength)
    pictures = quantise(calls.edit(method, second, inverse, clock))
    with torch.no_grad():
        return Trip(None if move is None else move(second.latents, inverse), pictures)

