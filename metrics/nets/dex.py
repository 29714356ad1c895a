"""DEX age estimation (Rothe et al., IJCV 2018): VGG-16 over the ages 0...100, with the inputs of yuval-alaluf/SAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.metrics.nets.published import entry, fitted, tensors

SIZE = 224
AGES = 101
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (width, convolutions); each ends with a 2x2 maximum


class Dex(nn.Module):
    """A regressor of one factor, the age: 0 is ``low`` and 1 is ``high`` years.

    The network gets whole pictures in [-1, 1], without a crop and without subtracting a mean. The original DEX crops the face
    and subtracts the mean; the two variants give numbers that are not comparable.
    """

    names, low, high, units = ("age",), (0.0,), (100.0,), ("years",)

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for stage, (width, count) in enumerate(STAGES, start=1):
            for number in range(1, count + 1):
                self.add_module(f"conv{stage}_{number}", nn.Conv2d(before, width, 3, padding=1))
                before = width
        self.fc6 = nn.Linear(before * (SIZE // 2 ** len(STAGES)) ** 2, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8_101 = nn.Linear(4096, AGES)

    def logits(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W], RGB in [-1, 1], resized to 224 (bilinear, no antialiasing) -> scores [N, 101] of the ages.

        Raises ValueError on another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        x = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        for stage, (_, count) in enumerate(STAGES, start=1):
            for number in range(1, count + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{number}")(x))
            x = F.max_pool2d(x, 2)
        return self.fc8_101(F.relu(self.fc7(F.relu(self.fc6(x.flatten(1))))))

    def age(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] -> expected age [N] in years: sum over j of j softmax_j."""
        share = self.logits(images).softmax(1)
        return share @ torch.arange(AGES, device=share.device, dtype=share.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] -> age [N, 1] in [0, 1], as a share of ``high``."""
        return self.age(images)[:, None] / self.high[0]


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> Dex:
    """``dex_age_classifier.pth``, {"state_dict": tensors with "-" for "_"} -> the network.

    Raises InvbenchError naming ``source`` if the file does not fit.
    """
    state = tensors(entry(checkpoint, "state_dict", source=source), source=source)
    return fitted(Dex, {key.replace("-", "_"): value for key, value in state.items()}, source=source)
