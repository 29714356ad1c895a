"""Edit directions as they are published for official generators: in W or W+, for some layers, relative or to a position."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invbench.api import Edit, InvbenchError


class EditDirections(nn.Module):
    """Named edits of latents in W+.

    vectors   [K, L, D]: what is added for strength 1; zero in layers that the edit leaves alone
    readings  [K, D]: an edit with a non-zero reading goes *to* a position: the latent's present one is
              <w_0 - mean, reading>, and (strength - present) * vector is added. Zero: strength * vector is added
    mean      [K, D]: of W, where each edit's positions are measured from

    So an edit of strength 0 leaves the latents alone only where the reading is zero. Positions are those of GANSpace
    (Härkönen et al. 2020) as omertov/encoder4editing applies it: read from layer 0 only.
    """

    vectors: Tensor
    readings: Tensor
    mean: Tensor

    def __init__(self, *, names: Sequence[str], num_ws: int, dim: int) -> None:
        super().__init__()
        self.names, self.num_ws = tuple(names), num_ws
        self.register_buffer("vectors", torch.zeros(len(self.names), num_ws, dim))
        self.register_buffer("readings", torch.zeros(len(self.names), dim))
        self.register_buffer("mean", torch.zeros(len(self.names), dim))

    def __getitem__(self, name: str) -> Tensor:
        """What strength 1 adds to latents at position 0, [L, D]; InvbenchError when the suite has no such edit."""
        return self.vectors[self._index(name)]

    def move(self, latents: Tensor, edit: Edit) -> Tensor:
        """Latents [N, L, D] -> edited latents [N, L, D]."""
        index = self._index(edit.name)
        present = (latents[:, 0] - self.mean[index]) @ self.readings[index]
        return latents + (edit.strength - present)[:, None, None] * self.vectors[index]

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise InvbenchError(f"edit {name!r}: this suite has directions for {', '.join(self.names)}")
        return self.names.index(name)
