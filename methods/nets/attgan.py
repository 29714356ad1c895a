"""AttGAN's generator and discriminator (He et al. 2019), which STGAN shares in parts.

Module names are those of elvisyjlin/AttGAN-PyTorch, attgan.py. The official network (LynnHo/AttGAN-Tensorflow) has the same
shapes with another slope of its leaky ReLU and another epsilon in its normalisations, so both are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.nets.labels import Labels

WIDTHS = (64, 128, 256, 512, 1024)
PORT = {"slope": 0.01, "epsilon": 1e-5}
TENSORFLOW = {"slope": 0.2, "epsilon": 1e-3}


class Block(nn.Module):
    """A layer, an optional normalisation, and an activation."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, feature: Tensor) -> Tensor:
        """[N, C, ...] -> [N, C', ...]."""
        return self.layers(feature)


def encoder(widths: Sequence[int], *, slope: float, epsilon: float) -> nn.ModuleList:
    """Convolutions that halve the size, each with batch normalisation and leaky ReLU."""
    found, channels = [], 3
    for width in widths:
        convolution = nn.Conv2d(channels, width, 4, 2, 1, bias=False)
        found.append(Block(convolution, nn.BatchNorm2d(width, epsilon), nn.LeakyReLU(slope)))
        channels = width
    return nn.ModuleList(found)


def up(channels: int, width: int, *, epsilon: float) -> Block:
    """A transposed convolution that doubles the size, with batch normalisation and ReLU."""
    transposed = nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False)
    return Block(transposed, nn.BatchNorm2d(width, epsilon), nn.ReLU())


def last(channels: int) -> Block:
    """The transposed convolution that gives the picture."""
    return Block(nn.ConvTranspose2d(channels, 3, 4, 2, 1), nn.Tanh())


def encoded(layers: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """The feature of every layer, from large to small."""
    found, feature = [], images
    for layer in layers:
        feature = layer(feature)
        found.append(feature)
    return found


def tiled(given: Tensor, feature: Tensor) -> Tensor:
    """Labels [N, L] at every place of a feature: [N, L, h, w]."""
    return given[:, :, None, None].expand(-1, -1, *feature.shape[2:])


class AttGANGenerator(nn.Module):
    """The default arguments give the port's network for inject 1; ``labels`` are arguments of Labels.

    inject  decoder layers, beside the first, that also see the labels
    """

    def __init__(
        self,
        labels: Mapping[str, Any],
        *,
        widths: Sequence[int] = WIDTHS,
        inject: int = 1,
        slope: float = PORT["slope"],
        epsilon: float = PORT["epsilon"],
    ) -> None:
        super().__init__()
        self.labels, self.inject = Labels(**labels), inject
        self.multiple = 2 ** len(widths)
        self.enc_layers = encoder(widths, slope=slope, epsilon=epsilon)
        n, small = len(self.labels), tuple(reversed(widths))
        channels, layers = small[0] + n, []
        for i, width in enumerate(small[:-1]):
            layers.append(up(channels, width, epsilon=epsilon))
            channels = width + (small[1] if i == 0 else 0) + (n if i < inject else 0)
        self.dec_layers = nn.ModuleList([*layers, last(channels)])

    def forward(self, images: Tensor, given: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] and their labels [N, L] -> pictures in [-1, 1]."""
        features = encoded(self.enc_layers, images)
        feature = torch.cat([features[-1], tiled(given, features[-1])], 1)
        for i, layer in enumerate(self.dec_layers):
            feature = layer(feature)
            if i == 0:
                feature = torch.cat([feature, features[-2]], 1)
            if i < min(self.inject, len(self.dec_layers) - 1):
                feature = torch.cat([feature, tiled(given, feature)], 1)
        return feature


class AttGANDiscriminator(nn.Module):
    """Two heads over convolutions with instance normalisation; STGAN has the same. Defaults: the port, 128 pixels.

    classes  attributes that it tells
    size     pixels a side
    hidden   units of the heads
    """

    def __init__(
        self,
        classes: int,
        *,
        size: int = 128,
        widths: Sequence[int] = WIDTHS,
        hidden: int = 1024,
        slope: float = PORT["slope"],
        epsilon: float = PORT["epsilon"],
    ) -> None:
        super().__init__()
        found, channels = [], 3
        for width in widths:
            convolution = nn.Conv2d(channels, width, 4, 2, 1, bias=False)
            found.append(Block(convolution, nn.InstanceNorm2d(width, epsilon, affine=True), nn.LeakyReLU(slope)))
            channels = width
        self.conv = nn.Sequential(*found)
        inputs = channels * (size // 2 ** len(widths)) ** 2

        def head(outputs: int) -> nn.Sequential:
            return nn.Sequential(Block(nn.Linear(inputs, hidden), nn.LeakyReLU(slope)), Block(nn.Linear(hidden, outputs)))

        self.fc_adv, self.fc_cls = head(1), head(classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, 3, size, size] in [-1, 1] -> how real they are [N, 1], and the attributes' logits [N, C]."""
        return self.after(images, 0)

    def until(self, images: Tensor, layer: int) -> Tensor:
        """The feature of the first ``layer`` convolutions, [N, C, h, w]."""
        return self.conv[:layer](images)

    def after(self, feature: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` gives, of a feature of :meth:`until`."""
        found = self.conv[layer:](feature).flatten(1)
        return self.fc_adv(found), self.fc_cls(found)
