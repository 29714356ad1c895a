"""Convolution blocks that the small networks of procfaces are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Block(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU; ``stride`` 2 halves the map."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, size: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """x + Block(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = Block(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, h, w] -> the same shape."""
        return x + self.block(x)


class Trunk(nn.Sequential):
    """Images -> one vector an image that still knows where things are.

    Every stage halves the map and has ``depth`` residual blocks; the last map is averaged to ``grid`` x ``grid`` cells,
    whatever the resolution, and mapped linearly to ``features`` values.
    """

    def __init__(self, *, widths: Sequence[int], depth: int, grid: int, features: int) -> None:
        layers: list[nn.Module] = []
        for before, width in zip([3, *widths[:-1]], widths, strict=True):
            layers.append(Block(before, width, stride=2, size=5 if before == 3 else 3))
            layers.extend(Residual(width) for _ in range(depth))
        super().__init__(
            *layers,
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
            nn.Linear(widths[-1] * grid * grid, features, bias=False),
            nn.BatchNorm1d(features),
        )


def prepared(images: Tensor, multiple: int) -> Tensor:
    """``images`` in the memory layout that convolutions are fastest in.

    Raises ValueError unless it is [N, 3, H, W] with sides that are multiples of ``multiple``.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % multiple or images.shape[3] % multiple:
        raise ValueError(f"images: expected shape [N, 3, H, W], sides multiples of {multiple}, found {tuple(images.shape)}")
    return images.contiguous(memory_format=torch.channels_last)
