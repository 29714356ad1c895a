"""Identity embeddings of procfaces pictures, trained to be invariant to attributes, light, background and occluders."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.layers import Trunk, prepared


class Identity(nn.Module):
    """Embedding network; ``widths``, ``depth`` and ``grid`` as in :class:`invbench.metrics.nets.layers.Trunk`."""

    def __init__(self, *, widths: Sequence[int] = (24, 48, 80, 96), depth: int = 1, grid: int = 4, embedding: int = 64) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.trunk = Trunk(widths=widths, depth=depth, grid=grid, features=embedding)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> embeddings [N, E] of length 1; their inner product is the similarity."""
        return F.normalize(self.trunk(prepared(images, self.multiple)), dim=1)
