"""Pillow's Lanczos filter for tensors on any device and of any range."""

from __future__ import annotations

import torch
from torch import Tensor

LOBES = 3


def lanczos(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [N, C, H, W] -> [N, C, *size], as ``Image.resize(..., LANCZOS)`` of Pillow gives them in mode F.

    The filter overshoots at edges, so clamp the result. Images that already have the size are returned unchanged.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    down, across = (_weights(n, m).to(images) for n, m in zip(images.shape[-2:], size, strict=True))
    return down @ images @ across.T


def _weights(before: int, after: int) -> Tensor:
    """Weights float64 [after, before] of the pixels of one axis; each row sums to 1."""
    scale = before / after
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    distance = (torch.arange(before, dtype=torch.float64) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = torch.where(distance.abs() < LOBES, torch.sinc(distance) * torch.sinc(distance / LOBES), 0.0)
    return weights / weights.sum(1, keepdim=True)
