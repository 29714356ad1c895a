"""Face parsing of procfaces: a small U-shaped network with additive skip connections."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.layers import Block, Residual, prepared


class Parser(nn.Module):
    """A face parser with class scores at every pixel; ``classes`` names the classes in the order of the logits.

    For speed, the finest map has half the resolution; its head gives the scores of 2x2 pixels at every position.
    """

    def __init__(self, *, classes: Sequence[str], widths: Sequence[int] = (32, 48, 64, 64)) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.multiple = 2 ** len(widths)
        self.stem = Block(3, widths[0], stride=2, size=5)
        self.down = nn.ModuleList(nn.Sequential(Block(a, b, stride=2), Residual(b)) for a, b in zip(widths, widths[1:]))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(Block(a, a) for a in widths[:-1])
        self.head = nn.Sequential(nn.Conv2d(widths[0], 4 * len(self.classes), 1), nn.PixelShuffle(2))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> logits [N, C, H, W]. Raises ValueError on another shape."""
        skips = [self.stem(prepared(images, self.multiple))]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            skip = skips.pop()
            x = up(skip + F.interpolate(narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False))
        return self.head(x)
