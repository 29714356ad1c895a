"""StarGAN's generator and discriminator (Choi et al. 2018; yunjey/stargan, model.py). Module names are those of the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.nets.labels import Labels

SLOPE = 0.01  # of the discriminator


class Residual(nn.Module):
    """Two convolutions with instance normalisation, added to their input; nothing follows the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*_normalised(nn.Conv2d(width, width, 3, 1, 1, bias=False)), *_convolution(width))

    def forward(self, feature: Tensor) -> Tensor:
        """Feature [N, width, h, w] -> the same shape."""
        return feature + self.main(feature)


class StarGANGenerator(nn.Module):
    """The default arguments give the published network.

    Every picture is normalised with its own statistics, as the public test script does, which never leaves the training mode;
    the running statistics of a file are not kept.

    labels  arguments of :class:`invbench.methods.nets.labels.Labels`
    width   channels at the picture's size
    blocks  residual blocks at a quarter of it
    """

    def __init__(self, labels: Mapping[str, Any], *, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.labels = Labels(**labels)
        self.multiple = 4  # sides of pictures are divisible by it
        layers = _normalised(nn.Conv2d(3 + len(self.labels), width, 7, 1, 3, bias=False))
        layers += _normalised(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False))
        layers += _normalised(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False))
        layers += [Residual(4 * width) for _ in range(blocks)]
        layers += _normalised(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False))
        layers += _normalised(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False))
        self.main = nn.Sequential(*layers, nn.Conv2d(width, 3, 7, 1, 3, bias=False), nn.Tanh())

    def forward(self, images: Tensor, given: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] and their labels [N, L] -> pictures in [-1, 1]."""
        tiled = given[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return self.main(torch.cat([images, tiled], 1))


class StarGANDiscriminator(nn.Module):
    """The default arguments give the published network for pictures of 128 pixels.

    classes  attributes that it tells
    size     pixels a side
    """

    def __init__(self, classes: int, *, size: int = 128, width: int = 64, layers: int = 6) -> None:
        super().__init__()
        found: list[nn.Module] = []
        channels = 3
        for layer in range(layers):
            found += [nn.Conv2d(channels, width * 2**layer, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            channels = width * 2**layer
        self.main = nn.Sequential(*found)
        self.conv1 = nn.Conv2d(channels, 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, classes, size // 2**layers, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, 3, size, size] in [-1, 1] -> how real each place is [N, 1, h, w], and the attributes' logits [N, C]."""
        return self.after(images, 0)

    def until(self, images: Tensor, layer: int) -> Tensor:
        """The feature of the first ``layer`` convolutions, [N, C, h, w]."""
        return self.main[: 2 * layer](images)

    def after(self, feature: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` gives, of a feature of :meth:`until`."""
        last = self.main[2 * layer :](feature)
        return self.conv1(last), self.conv2(last).flatten(1)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.ReLU()]


def _convolution(width: int) -> list[nn.Module]:
    return _normalised(nn.Conv2d(width, width, 3, 1, 1, bias=False))[:2]
