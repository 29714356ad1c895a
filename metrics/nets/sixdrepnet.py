"""6DRepNet (Hempel et al., ICIP 2022; thohemp/6DRepNet, MIT): pitch, yaw and roll of a head in degrees.

File: ``6DRepNet_300W_LP_AFLW2000.pth``, a bare state dict of RepVGG-B1g2 with its branches merged, one convolution a block.
Signs are those of 300W-LP, the training data, as Hopenet's: positive yaw turns the face to the left of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.metrics.nets.published import fitted

SIZE = 224
STAGES = ((128, 4), (256, 6), (512, 16), (2048, 1))  # channels and blocks of RepVGG-B1g2 after its first block of 64
LOW, HIGH = -180.0, 180.0
ANGLES = ("pitch", "yaw", "roll")
STRAIGHT_UP = 1e-6  # cosine of the yaw below which roll and pitch cannot be told apart


class Block(nn.Module):
    """A convolution of 3 x 3 and ReLU; every second block has two groups."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, groups: int) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h / stride, w / stride]."""
        return F.relu(self.rbr_reparam(x))


class SixDRepNet(nn.Module):
    """A regressor of three factors, ``names``: 0 is ``low`` and 1 is ``high``, in ``units``."""

    names, low, high, units = ANGLES, (LOW,) * 3, (HIGH,) * 3, ("degrees",) * 3

    def __init__(self) -> None:
        super().__init__()
        self.layer0 = Block(3, 64, stride=2, groups=1)
        before, number = 64, 1
        for stage, (width, count) in enumerate(STAGES, start=1):
            blocks = []
            for place in range(count):
                groups = 2 - number % 2
                blocks.append(Block(before, width, stride=1 if place else 2, groups=groups))
                before, number = width, number + 1
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear_reg = nn.Linear(before, 6)

    def rotation(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, 224, 224], RGB in [-1, 1] -> rotation matrices [N, 3, 3].

        Their columns are the network's six numbers made orthonormal (Zhou et al., CVPR 2019). Raises ValueError on another
        shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, SIZE, SIZE):
            raise ValueError(f"images: expected shape [N, 3, {SIZE}, {SIZE}], found {tuple(images.shape)}")
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        x = ((images + 1) / 2 - mean) / std
        for number in range(len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        first, second = self.linear_reg(x.mean((2, 3))).split(3, dim=1)
        first = F.normalize(first, dim=1, eps=1e-8)
        third = F.normalize(torch.linalg.cross(first, second), dim=1, eps=1e-8)
        return torch.stack([first, torch.linalg.cross(third, first), third], 2)

    def angles(self, images: Tensor) -> Tensor:
        """Pictures as for :meth:`rotation` -> pitch, yaw and roll in degrees, [N, 3]; yaw in [-90, 90]."""
        matrix = self.rotation(images)
        level = torch.hypot(matrix[:, 0, 0], matrix[:, 1, 0])
        pitch, yaw = torch.atan2(matrix[:, 2, 1], matrix[:, 2, 2]), torch.atan2(-matrix[:, 2, 0], level)
        roll, upright = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]), level < STRAIGHT_UP
        pitch = torch.where(upright, torch.atan2(-matrix[:, 1, 2], matrix[:, 1, 1]), pitch)
        roll = torch.where(upright, torch.zeros_like(roll), roll)
        return torch.rad2deg(torch.stack([pitch, yaw, roll], 1))

    def yaw(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, 224, 224] in [-1, 1] -> yaw in degrees [N]; positive = the face looks to the left of the picture."""
        return self.angles(images)[:, ANGLES.index("yaw")]

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, 224, 224] in [-1, 1] -> the three angles [N, 3] in [0, 1], 0 at ``low`` and 1 at ``high``."""
        return (self.angles(images) - LOW) / (HIGH - LOW)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> SixDRepNet:
    """The released file -> the network. Raises InvbenchError naming ``source`` if it does not fit."""
    return fitted(SixDRepNet, checkpoint, source=source)
