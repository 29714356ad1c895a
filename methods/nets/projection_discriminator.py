"""A small discriminator of BigGAN-deep's kind: residual bottlenecks, and the class by projection (Miyato & Koyama 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REDUCTION = 2  # of the channels within a block; 4 as published leaves too few of these widths


class Halving(nn.Module):
    """x [N, I, R, R] -> [N, O, R/2, R/2]; the skip gets its further channels, if any, from a convolution."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        middle = n_out // REDUCTION
        self.conv_0 = nn.Conv2d(n_in, middle, 1)
        self.conv_1 = nn.Conv2d(middle, middle, 3, padding=1)
        self.conv_2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.conv_3 = nn.Conv2d(middle, n_out, 1)
        self.more = nn.Conv2d(n_in, n_out - n_in, 1, bias=False) if n_out > n_in else None

    def forward(self, x: Tensor) -> Tensor:
        """x [N, I, R, R] -> [N, O, R/2, R/2]."""
        y = x
        for convolution in (self.conv_0, self.conv_1, self.conv_2):
            y = convolution(y.relu())
        y = self.conv_3(F.avg_pool2d(y.relu(), 2))
        skip = F.avg_pool2d(x, 2)
        return y + (skip if self.more is None else torch.cat([skip, self.more(skip)], 1))


class ProjectionDiscriminator(nn.Module):
    """Images [N, 3, R, R] in [-1, 1] and classes [N] -> logits [N], high for real.

    widths  channels at R, R/2, R/4, ..., not falling
    """

    def __init__(self, *, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Halving(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        self.linear = nn.Linear(widths[-1], 1)
        self.embeddings = nn.Linear(classes, widths[-1], bias=False)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """Images [N, 3, R, R], classes int64 [N] -> logits [N]."""
        summed = self.blocks(self.first(images)).relu().sum((2, 3))
        return self.linear(summed)[:, 0] + (summed * self.embeddings.weight.T[classes]).sum(1)
