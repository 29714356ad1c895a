"""STGAN's generator (Liu et al. 2019; csmliu/STGAN, models.py): AttGAN's, with selective transfer units on every shortcut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.nets.attgan import TENSORFLOW, WIDTHS, encoded, encoder, last, tiled, up
from invbench.methods.nets.labels import Labels


class SelectiveTransferUnit(nn.Module):
    """Mixes a feature of the encoder with a state from the level below; ``channels`` of that state, ``width`` of its own."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, width, 4, 2, 1)
        self.reset, self.update, self.candidate = (nn.Conv2d(2 * width, width, 3, 1, 1) for _ in range(3))

    def forward(self, feature: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Feature [N, width, h, w], state [N, channels, h/2, w/2] -> the mixed feature and the state of this level."""
        raised = self.up(state)
        both = torch.cat([feature, raised], 1)
        kept = torch.sigmoid(self.reset(both)) * raised
        update = torch.sigmoid(self.update(both))
        candidate = torch.tanh(self.candidate(torch.cat([feature, kept], 1)))
        return (1 - update) * raised + update * candidate, kept


class STGANGenerator(nn.Module):
    """The default arguments give the official network for 128 pixels; ``labels`` are arguments of Labels."""

    def __init__(
        self,
        labels: Mapping[str, Any],
        *,
        widths: Sequence[int] = WIDTHS,
        slope: float = TENSORFLOW["slope"],
        epsilon: float = TENSORFLOW["epsilon"],
    ) -> None:
        super().__init__()
        self.labels = Labels(**labels)
        self.multiple = 2 ** len(widths)
        self.enc_layers = encoder(widths, slope=slope, epsilon=epsilon)
        n, small = len(self.labels), tuple(reversed(widths))
        self.stu = nn.ModuleList(SelectiveTransferUnit(a + n, b) for a, b in zip(small, small[1:]))
        channels, layers = small[0] + n, []
        for width, shallower in zip(small, small[1:]):
            layers.append(up(channels, width, epsilon=epsilon))
            channels = width + shallower + n
        self.dec_layers = nn.ModuleList([*layers, last(channels)])

    def forward(self, images: Tensor, given: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] and the differences of their labels [N, L] -> pictures in [-1, 1]."""
        features = encoded(self.enc_layers, images)
        state = features[-1]
        feature = torch.cat([state, tiled(given, state)], 1)
        for layer, unit, shortcut in zip(self.dec_layers, self.stu, reversed(features[:-1])):
            mixed, state = unit(shortcut, torch.cat([state, tiled(given, state)], 1))
            feature = layer(feature)
            feature = torch.cat([feature, mixed, tiled(given, mixed)], 1)
        return self.dec_layers[-1](feature)
