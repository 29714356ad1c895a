"""Convolution blocks of the small networks of procfaces."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Pointwise(nn.Conv2d):
    """1x1 convolution of every ``stride``-th pixel: [N, inputs, h, w] -> [N, outputs, ceil(h / stride), ceil(w / stride)].

    Results and tensor names are those of ``nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)``. The pixels are selected
    before the convolution, because in the backward pass of a strided 1x1 convolution of fewer than 8 channels in channels_last
    oneDNN 3.13 (``jit_avx2_1x1_convolution_bwd_weights``) writes out of bounds on processors with AVX2 but without AVX-512.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inputs, h, w] -> [N, outputs, ceil(h / stride), ceil(w / stride)]."""
        return super().forward(x[:, :, :: self.step, :: self.step])


class Block(nn.Sequential):
    """Convolution of ``size`` 3 or 5, batch normalisation, ReLU; ``stride`` 2 halves the map."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, size: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """A residual block: x + Block(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = Block(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, width, h, w] -> the same shape."""
        return x + self.block(x)


class Trunk(nn.Sequential):
    """Images [N, 3, H, W] -> one vector [N, features] per image, which keeps spatial information.

    Every stage halves the map and has ``depth`` residual blocks; the last map is averaged to ``grid`` x ``grid`` cells, for
    any resolution, and mapped linearly to ``features`` values.
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
    """``images`` in the memory layout in which convolutions are fastest.

    Raises ValueError unless it is [N, 3, H, W] with sides that are multiples of ``multiple``.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % multiple or images.shape[3] % multiple:
        raise ValueError(f"images: expected shape [N, 3, H, W], sides multiples of {multiple}, found {tuple(images.shape)}")
    return images.contiguous(memory_format=torch.channels_last)
