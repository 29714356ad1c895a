"""The domain-guided encoder of In-Domain GAN inversion (Zhu et al., ECCV 2020; genforce/idinvert_pytorch).

The default arguments give the published network for 256 px pictures, with the module names of the public files. Smaller
networks differ in arguments only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2


class Normalisation(nn.Module):
    """Batch normalisation whose scale is not trained: 1 in the published network, except where a recipe sets it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width)
        self.bn.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, width, H, W] -> the same shape."""
        found: Tensor = self.bn(x)
        return found


class Bias(nn.Module):
    """A bias for every channel. The public module also multiplies by a number by which its input was divided before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, width, H, W] -> the same shape."""
        return x + self.bias[:, None, None]


class First(nn.Module):
    """Pictures [N, 3, H, H] -> features [N, width, H, H]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = Normalisation(width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, H] -> [N, width, H, H]."""
        return F.leaky_relu(self.bn(self.conv(x)), LEAKY_SLOPE)


class Residual(nn.Module):
    """x [N, n_in, H, H] -> [N, n_out, H/2, H/2]: pooled, then the sum of two activated branches.

    The shortcut is a convolution of its own where the widths differ.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.widens = n_in != n_out
        if self.widens:
            self.conv = nn.Conv2d(n_in, n_out, 1, bias=False)
            self.bn = Normalisation(n_out)
        hidden = min(n_in, n_out)
        self.conv1 = nn.Conv2d(n_in, hidden, 3, padding=1, bias=False)
        self.wscale1, self.bn1 = Bias(hidden), Normalisation(hidden)
        self.conv2 = nn.Conv2d(hidden, n_out, 3, padding=1, bias=False)
        self.wscale2, self.bn2 = Bias(n_out), Normalisation(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_in, H, H] -> [N, n_out, H/2, H/2]."""
        x = F.avg_pool2d(x, 2)
        shortcut = F.leaky_relu(self.bn(self.conv(x)), LEAKY_SLOPE) if self.widens else x
        y = F.leaky_relu(self.bn1(self.wscale1(self.conv1(x))), LEAKY_SLOPE)
        return F.leaky_relu(self.bn2(self.wscale2(self.conv2(y))), LEAKY_SLOPE) + shortcut


class Last(nn.Module):
    """Features [N, n_in, 4, 4] -> codes [N, n_out], normalised over the batch and not activated."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.fc = nn.Linear(16 * n_in, n_out, bias=False)
        self.bn = Normalisation(n_out)
        self.gain = (16 * n_in) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_in, 4, 4] -> [N, n_out]."""
        found: Tensor = self.bn((self.fc(x.flatten(1)) * self.gain)[:, :, None, None])
        return found.flatten(1)


class DomainEncoder(nn.Module):
    """Pictures [N, 3, H, H] in [-1, 1] -> codes [N, num_ws, w_dim], not offsets from a mean latent.

    resolution  H, a power of two of at least 16; it fixes num_ws = 2 log2(H) - 2
    base        width of the first block; every further one has twice as many channels, up to ``maximum``

    Raises ValueError for a resolution that the architecture cannot have, and in ``forward`` for other pictures.
    """

    def __init__(self, resolution: int = 256, w_dim: int = 512, *, base: int = 64, maximum: int = 1024) -> None:
        super().__init__()
        if resolution < 16 or resolution & (resolution - 1):
            raise ValueError(f"resolution: expected a power of two of at least 16, found {resolution}")
        self.resolution, self.w_dim = resolution, w_dim
        self.blocks = resolution.bit_length() - 1
        self.num_ws = 2 * (self.blocks - 1)
        self.block0 = First(base)
        width = base
        for number in range(1, self.blocks - 1):
            wider = min(2 * width, maximum)
            self.add_module(f"block{number}", Residual(width, wider))
            width = wider
        self.add_module(f"block{self.blocks - 1}", Last(width, self.num_ws * w_dim))

    @property
    def last(self) -> nn.Module:
        """The block that makes codes of features."""
        return self.get_submodule(f"block{self.blocks - 1}")

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, H] in [-1, 1] -> latents [N, num_ws, w_dim]."""
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, self.resolution, self.resolution):
            size = self.resolution
            raise ValueError(f"images: expected shape [N, 3, {size}, {size}], found {list(images.shape)}")
        x = images
        for number in range(self.blocks):
            x = self.get_submodule(f"block{number}")(x)
        return x.reshape(-1, self.num_ws, self.w_dim)
