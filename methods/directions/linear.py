"""Edit directions in W+: what ``Edit("age", 2)`` means for latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invbench.api import Edit, InvbenchError


class Directions(nn.Module):
    """Named linear directions [L, D], scaled so that strength 1 is the suite's unit of that edit (+5 years, +5 degrees).

    Applied as w + strength * direction (InterFaceGAN, Shen et al. 2020; the convention of e4e, without PTI's factor 1/2).
    """

    def __init__(self, names: Sequence[str], layers: int, dim: int):
        super().__init__()
        self.names = tuple(names)
        self.vectors = nn.Buffer(torch.zeros(len(self.names), layers, dim))

    def __getitem__(self, name: str) -> Tensor:
        """The direction [L, D] called ``name``; InvbenchError when the suite has none."""
        if name not in self.names:
            raise InvbenchError(f"edit {name!r}: this suite has directions for {', '.join(self.names)}")
        return self.vectors[self.names.index(name)]

    def move(self, latents: Tensor, edit: Edit) -> Tensor:
        """Latents [N, L, D] -> edited latents [N, L, D]."""
        return latents + edit.strength * self[edit.name]
