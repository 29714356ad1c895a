"""How a method scales the edits of a suite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from invbench.api import Edit


def scaled_move(directions: Any, latents: Tensor, edit: Edit, scale: float) -> Tensor:
    """Edited latents [N, L, D]: what ``directions`` adds, times ``scale``. Edits to a position are never scaled."""
    moved: Tensor = directions.move(latents, edit)
    adds = torch.equal(directions.move(latents, Edit(edit.name, 0.0)), latents)
    return latents + scale * (moved - latents) if adds else moved
