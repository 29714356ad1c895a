"""VGG-16 up to relu4_3, with the weights of its authors, as genforce/idinvert_pytorch compares pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN = (103.939, 116.779, 123.68)  # of blue, green, red in [0, 255]
LAYERS: Sequence[int] = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512)  # widths of convolutions; 0: pooling


class VGGFeatures(nn.Module):
    """Mean squared differences of one feature: see :class:`invbench.methods.common.losses.PerceptualNetwork`.

    Modules have the numbers of the public file, which counts convolutions, ReLUs and poolings from 0 on.
    """

    mean: Tensor

    def __init__(self, layers: Sequence[int] = LAYERS) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.plan: list[str] = []  # name of a convolution, "": pooling
        number, before = 0, 3
        for width in layers:
            self.plan.append(f"layer{number}" if width else "")
            if width:
                self.add_module(f"layer{number}", nn.Conv2d(before, width, 3, padding=1))
                before = width
            number += 2 if width else 1

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, H, W] in [-1, 1], RGB -> [relu4_3], [N, 512, H/8, W/8]."""
        x = (images.flip(1) + 1) * 127.5 - self.mean
        for name in self.plan:
            x = F.relu(self.get_submodule(name)(x)) if name else F.max_pool2d(x, 2)
        return [x]

    def maps_between(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        """The squared difference, mean over channels: [N, 1, h, w] for the one feature."""
        return [(x - y).square().mean(1, keepdim=True) for x, y in zip(a, b, strict=True)]

    def maps(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """As :meth:`maps_between`, of images [N, 3, H, W] in [-1, 1]."""
        return self.maps_between(self.features(a), self.features(b))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean squared difference of the features of images [N, 3, H, W] in [-1, 1] -> [N]."""
        return self.maps(a, b)[0].mean((1, 2, 3))
