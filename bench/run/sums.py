"""Sums of edits, ``smile+eye_openness``: the directions of a suite move latents by one part after the other.

Networks of directions know single edits only, those of plug-ins too, so the session gives methods :class:`Sums` in their place.
A method that does more with an edit than to move latents goes through :attr:`invbench.api.Edit.parts` itself.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from invbench.api import Edit


class Sums:
    """A network of directions that also moves latents by sums; everything else of it is as it was."""

    def __init__(self, directions: Any) -> None:
        self._directions = directions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._directions, name)

    def __getitem__(self, name: str) -> Any:
        return self._directions[name]

    def move(self, latents: Tensor, edit: Edit) -> Tensor:
        """Latents [N, L, D] -> edited latents [N, L, D]."""
        for part in edit.parts:
            latents = self._directions.move(latents, part)
        return latents
