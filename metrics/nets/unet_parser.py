"""The face parser of CelebAMask-HQ (Lee et al., CVPR 2020; switchablenorms/CelebAMask-HQ, face_parsing/unet.py).

GANI's face-parsing loss compares the five feature maps of its contracting path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.metrics.nets.published import fitted

SIZE = 512  # pixels a side that it was trained on
WIDTHS = (16, 32, 64, 128, 256)
CLASSES = 19


class Convolutions(nn.Module):
    """Two convolutions of 3 x 3, each with normalisation and ReLU: [N, a, h, w] -> [N, b, h, w]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """[N, a, h, w] -> [N, b, h, w]."""
        return self.conv2(self.conv1(x))


class Expansion(nn.Module):
    """One step up: the coarser map, enlarged, joins the map of the contracting path."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Convolutions(inputs, outputs)
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """skip [N, b, h, w] and coarse [N, 2b, h/2, w/2] -> [N, b, h, w]."""
        return self.conv(torch.cat([skip, self.up(coarse)], 1))


class UNetParser(nn.Module):
    """Pictures are seen at 512 x 512 pixels, bilinearly resized, in [-1, 1] as in the public test script."""

    def __init__(self) -> None:
        super().__init__()
        for number, (inputs, outputs) in enumerate(zip((3, *WIDTHS[:-2]), WIDTHS[:-1]), start=1):
            self.add_module(f"conv{number}", Convolutions(inputs, outputs))
            self.add_module(f"up_concat{number}", Expansion(WIDTHS[number], outputs))
        self.center = Convolutions(*WIDTHS[-2:])
        self.final = nn.Conv2d(WIDTHS[0], CLASSES, 1)

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> the maps of the contracting path, 512 to 32 pixels a side.

        Raises ValueError on another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        x = images
        if images.shape[2:] != (SIZE, SIZE):
            x = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        maps = [self.get_submodule("conv1")(x)]
        for name in ("conv2", "conv3", "conv4", "center"):
            maps.append(self.get_submodule(name)(F.max_pool2d(maps[-1], 2)))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> logits [N, 19, 512, 512]."""
        *skips, x = self.features(images)
        for number in range(len(skips), 0, -1):
            x = self.get_submodule(f"up_concat{number}")(skips[number - 1], x)
        return self.final(x)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> UNetParser:
    """``model.pth``, a bare state dict -> the network. Raises InvbenchError naming ``source`` if it does not fit."""
    return fitted(UNetParser, checkpoint, source=source)
