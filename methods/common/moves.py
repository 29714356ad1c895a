"""How a method scales the edits of a suite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from invbench.api import Edit


def scaled_move(directions: Any, latents: Tensor, edit: Edit, scale: float) -> Tensor:
    """Edited latents [N, L, D]: what ``directions`` adds for an edit, or each part of a sum, times ``scale``.

    Edits to a position are never scaled.
    """
    for part in edit.parts:
        moved: Tensor = directions.move(latents, part)
        adds = torch.equal(directions.move(latents, Edit(part.name, 0.0)), latents)
        latents = latents + scale * (moved - latents) if adds else moved
    return latents
