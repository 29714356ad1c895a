"""The encoders of SAM's feature spaces: Parmar et al., "Spatially-Adaptive Multilayer Selection for GAN Inversion and
Editing", CVPR 2022, section 3.3 ("we train a separate encoder for each latent space").

Neither code nor text says how they are built. The reading here: one network of residual units for each space, which share
nothing; the encoder of W+ is one of the usual ones and no part of this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.nets.encoders import resized
from invbench.metrics.nets.irse import Unit, stem


class ChangeEncoder(nn.Module):
    """A picture and its drawing -> the change of one feature.

    channels  of the feature
    stages    (width, units) of the stages; the first unit of each but the first one halves the resolution

    The last convolution begins at zero, so that the first pictures are those of the latents alone.
    Raises ValueError without stages.
    """

    def __init__(self, channels: int, *, stages: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not stages:
            raise ValueError("stages: expected at least one pair (width, units), found none")
        width_in = stages[0][0]
        self.halvings = len(stages) - 1
        self.input_layer = stem(width_in, channels=6)
        units: list[nn.Module] = []
        for number, (width, count) in enumerate(stages):
            for i in range(count):
                units.append(Unit(width_in, width, stride=2 if number and not i else 1, gated=False))
                width_in = width
        self.body = nn.Sequential(*units)
        self.change = nn.Conv2d(width_in, channels, 3, 1, 1)
        nn.init.zeros_(self.change.weight)
        assert self.change.bias is not None
        nn.init.zeros_(self.change.bias)

    def forward(self, seen: Tensor) -> Tensor:
        """Picture and what it lacks [N, 6, s, s] -> change [N, channels, s / 2 ** halvings, s / 2 ** halvings]."""
        change: Tensor = self.change(self.body(self.input_layer(seen)))
        return change


class SAMEncoders(nn.Module):
    """One :class:`ChangeEncoder` for each feature space.

    size      pixels a side of what the encoders see
    encoders  space -> arguments of its encoder

    Raises ValueError for a size that is no power of two.
    """

    def __init__(self, *, size: int, encoders: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        if size <= 0 or size & (size - 1):
            raise ValueError(f"size: expected a power of two, found {size}")
        self.size = size
        self.spaces = nn.ModuleDict({space: ChangeEncoder(**arguments) for space, arguments in encoders.items()})

    def shape(self, space: str) -> tuple[int, int, int]:
        """(channels, r, r) of the change of this space's feature."""
        encoder = self.spaces[space]
        assert isinstance(encoder, ChangeEncoder)
        side = self.size >> encoder.halvings
        return encoder.change.out_channels, side, side

    def seen(self, images: Tensor, drawings: Tensor) -> Tensor:
        """Square pictures and drawings [N, 3, H, H] in [-1, 1] -> [N, 6, size, size]: the pictures, and minus the drawings."""
        pictures = resized(images, self.size)
        return torch.cat([pictures, pictures - resized(drawings.clamp(-1, 1), self.size)], dim=1)

    def forward(self, seen: Tensor, spaces: Sequence[str]) -> dict[str, Tensor]:
        """What :meth:`seen` gives -> for each of ``spaces`` the change of its feature [N, C, r, r]."""
        return {space: self.spaces[space](seen) for space in spaces}
