"""The contracting path of procfaces' face parser, in place of the U-Net's whose features GANI compares."""

from __future__ import annotations

from torch import Tensor

from invbench.metrics.nets.layers import prepared
from invbench.metrics.nets.parser import Parser


class ParserPath(Parser):
    """The weights and arguments of :class:`invbench.metrics.nets.parser.Parser`."""

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> the maps of the contracting path, from half of the resolution down."""
        maps = [self.stem(prepared(images, self.multiple))]
        for down in self.down:
            maps.append(down(maps[-1]))
        return maps
