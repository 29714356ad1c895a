"""SAM's invertibility predictor: the reconstruction error of each latent space at each pixel of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from invbench.methods.nets.deeplab import DeepLab
from invbench.metrics.nets.layers import prepared

SHARED = 8  # channels of the base's output, which all heads share


class InvertibilityPredictor(nn.Module):
    """One shared DeepLabV3+ and one small head for each latent space (Parmar et al. 2022, section 3.2).

    ``spaces`` names the latent spaces; ``base`` holds arguments of :class:`invbench.methods.nets.deeplab.DeepLab`, by default
    those of adobe-research/sam_inversion. The tensors of ``base`` and of each head are named as in its files.
    """

    def __init__(self, *, spaces: Sequence[str], base: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.spaces = tuple(spaces)
        self.base = DeepLab(SHARED, **(base or {}))
        self.heads = nn.ModuleDict({space: InvertibilityHead() for space in spaces})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> for each space the predicted LPIPS error at every pixel, [N, 1, H, W], >= 0.

        Raises ValueError on another shape.
        """
        shared = self.base(prepared(images, 1))
        return {space: head(shared) for space, head in self.heads.items()}


class InvertibilityHead(nn.Module):
    """Shared maps [N, 8, H, W] -> predicted error [N, 1, H, W]; adobe-research/sam_inversion, ``layer_head``."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Sequential(
            nn.ConvTranspose2d(SHARED, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(4, 1, 1),
            nn.ReLU(),
        )

    def forward(self, shared: Tensor) -> Tensor:
        """Shared maps [N, 8, H, W] -> predicted error [N, 1, H, W], >= 0."""
        return self.m(shared)

    @property
    def last(self) -> nn.ConvTranspose2d:
        """The layer that gives the error, before the ReLU."""
        layer = self.m[3]
        assert isinstance(layer, nn.ConvTranspose2d)
        return layer
