"""Read SAM's invertibility predictors (adobe-research/sam_inversion): {"sd_base": tensors, "W+": tensors, "F4": ..., ...}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invbench.api import InvbenchError
from invbench.methods.nets.invertibility import InvertibilityPredictor
from invbench.metrics.nets.published import entry, fitted, tensors

BASE = "sd_base"


def convert_invertibility(checkpoint: Mapping[str, Any], *, source: str) -> InvertibilityPredictor:
    """Convert a file such as ``invertibility_faces_sg2.pt``: the shared network, and one head for each of its latent spaces.

    Raises InvbenchError naming ``source`` if the file does not fit.
    """
    base = tensors(entry(checkpoint, BASE, source=source), source=source)
    spaces = [space for space in checkpoint if space != BASE]
    if not spaces:
        raise InvbenchError(f"{source}: expected a head for at least one latent space beside {BASE!r}, found none")
    state = {f"base.{key}": value for key, value in base.items()}
    for space in spaces:
        head = tensors(checkpoint[space], source=f"{source}: {space}")
        state |= {f"heads.{space}.{key}": value for key, value in head.items()}
    return fitted(lambda: InvertibilityPredictor(spaces=spaces), state, source=source)
