"""The network of bluestyle97/STGAN-pytorch (models/stgan.py), which is another than STGAN's official one.

Transfer units stand on three of the four shortcuts and have normalised gates; of the decoder, only the first layer sees the
labels; at the size of the picture one more convolution follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.nets.attgan import WIDTHS, Block, encoded, encoder, tiled, up
from invbench.methods.nets.labels import Labels
from invbench.methods.nets.stgan import SelectiveTransferUnit

PORT: Mapping[str, Any] = {"slope": 0.2, "epsilon": 1e-5}


class NormedTransferUnit(SelectiveTransferUnit):
    """A transfer unit without biases, with batch normalisation before the activation of each gate and of the candidate."""

    def __init__(self, channels: int, width: int, *, kernel: int, epsilon: float) -> None:
        super().__init__(channels, width)
        self.up = nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False)

        def normed() -> nn.Sequential:
            convolution = nn.Conv2d(2 * width, width, kernel, 1, (kernel - 1) // 2, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(width, epsilon))

        for name in ("reset", "update", "candidate"):
            setattr(self, name, normed())


class STGANPortGenerator(nn.Module):
    """The default arguments give the port's network for 128 pixels; ``labels`` are arguments of Labels.

    shortcuts  transfer units, from the deepest shortcut on
    kernel     side of the kernels of their gates, odd
    last       channels in front of the last convolution; 0: the picture comes out of the last transposed convolution
    """

    def __init__(
        self,
        labels: Mapping[str, Any],
        *,
        widths: Sequence[int] = WIDTHS,
        shortcuts: int = 3,
        kernel: int = 3,
        last: int = 16,
        slope: float = PORT["slope"],
        epsilon: float = PORT["epsilon"],
    ) -> None:
        super().__init__()
        self.labels = Labels(**labels)
        self.multiple = 2 ** len(widths)
        self.enc_layers = encoder(widths, slope=slope, epsilon=epsilon)
        n, small = len(self.labels), tuple(reversed(widths))
        pairs = list(zip(small, small[1:]))[:shortcuts]
        self.stu = nn.ModuleList(NormedTransferUnit(a + n, b, kernel=kernel, epsilon=epsilon) for a, b in pairs)
        channels, layers = small[0] + n, []
        for i, width in enumerate(small[:-1]):
            layers.append(up(channels, width, epsilon=epsilon))
            channels = width + (small[i + 1] if i < shortcuts else 0)
        transposed = nn.ConvTranspose2d(channels, last or 3, 4, 2, 1, bias=False)
        more = (nn.BatchNorm2d(last, epsilon), nn.ReLU(), nn.ConvTranspose2d(last, 3, 3, 1, 1, bias=False)) if last else ()
        self.dec_layers = nn.ModuleList([*layers, Block(transposed, *more, nn.Tanh())])

    def forward(self, images: Tensor, given: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] and the differences of their labels [N, L] -> pictures in [-1, 1]."""
        features = encoded(self.enc_layers, images)
        state = features[-1]
        feature = self.dec_layers[0](torch.cat([state, tiled(given, state)], 1))
        for unit, shortcut, layer in zip(self.stu, reversed(features[:-1]), self.dec_layers[1:]):
            mixed, state = unit(shortcut, torch.cat([state, tiled(given, state)], 1))
            feature = layer(torch.cat([feature, mixed], 1))
        for layer in self.dec_layers[len(self.stu) + 1 :]:
            feature = layer(feature)
        return feature
