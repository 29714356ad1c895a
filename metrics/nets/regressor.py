"""The regressor of the factors of a procfaces picture; its features are also used by FID and KID."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.layers import Trunk, prepared


class Regressor(nn.Module):
    """A regressor of the factors ``names``: 0 is ``low`` and 1 is ``high``, in the factors' ``units``."""

    def __init__(
        self,
        *,
        names: Sequence[str],
        low: Sequence[float],
        high: Sequence[float],
        units: Sequence[str],
        widths: Sequence[int] = (24, 48, 80, 112),
        depth: int = 1,
        grid: int = 4,
        features: int = 64,
    ) -> None:
        super().__init__()
        if not len(names) == len(low) == len(high) == len(units):
            lengths = [len(names), len(low), len(high), len(units)]
            raise ValueError(f"names, low, high, units: expected equal lengths, found {lengths}")
        self.names, self.low, self.high, self.units = tuple(names), tuple(low), tuple(high), tuple(units)
        self.multiple = 2 ** len(widths)
        self.trunk = Trunk(widths=widths, depth=depth, grid=grid, features=features)
        self.head = nn.Linear(features, len(self.names))

    def features(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> the last hidden layer [N, F], the features of set metrics."""
        return F.relu(self.trunk(prepared(images, self.multiple)))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> factors [N, K], in order of ``names``; about [0, 1], not clamped."""
        return self.head(self.features(images))

    def physical(self, images: Tensor) -> dict[str, Tensor]:
        """As :meth:`forward`, by name and in the factors' units: {name: [N]}."""
        u = self(images)
        ranges = zip(self.names, self.low, self.high, u.unbind(1), strict=True)
        return {name: low + value * (high - low) for name, low, high, value in ranges}
