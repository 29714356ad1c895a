"""Binary attributes of procfaces pictures, for labels of edit directions and for the leakage of edits."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.layers import Trunk, prepared


class Attributes(nn.Module):
    """One logit per attribute; attribute ``names[i]`` means that the factor ``factors[i]`` exceeds ``thresholds[i]``.

    Thresholds and factors are in [0, 1]. If ``above[i]`` is False, the attribute means that the factor is below the threshold.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        factors: Sequence[str],
        thresholds: Sequence[float],
        above: Sequence[bool],
        widths: Sequence[int] = (20, 40, 64, 96),
        depth: int = 1,
        grid: int = 4,
        features: int = 48,
    ) -> None:
        super().__init__()
        if not len(names) == len(factors) == len(thresholds) == len(above):
            lengths = [len(names), len(factors), len(thresholds), len(above)]
            raise ValueError(f"names, factors, thresholds, above: expected equal lengths, found {lengths}")
        self.names, self.factors = tuple(names), tuple(factors)
        self.thresholds, self.above = tuple(thresholds), tuple(above)
        self.multiple = 2 ** len(widths)
        self.trunk = Trunk(widths=widths, depth=depth, grid=grid, features=features)
        self.head = nn.Linear(features, len(self.names))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> logits [N, A], in order of ``names``; positive: the picture has the attribute."""
        return self.head(F.relu(self.trunk(prepared(images, self.multiple))))
