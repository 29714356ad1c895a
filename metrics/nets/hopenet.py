"""Hopenet (Ruiz et al., CVPR workshops 2018; natanielruiz/deep-head-pose): yaw, pitch and roll of a head in degrees.

HyperInverter (Dinh et al., CVPR 2022) measures yaw with FacePoseNet and has not released code for it. Another network has other
errors in angles and their changes, so its numbers are not comparable in value.

Signs are those of 300W-LP, the training data: positive yaw turns the face to the left of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.metrics.nets.published import fitted, tensors, with_counters

SIZE = 224
BINS, WIDTH, FIRST = 66, 3.0, -99.0  # bins of 3 degrees; the expected bin number k stands for the angle -99 + 3 k
HEADS = ("yaw", "pitch", "roll")


class Hopenet(ResNet):
    """torchvision's ResNet-50 with one classifier of 66 bins for each angle.

    A regressor of three factors, ``names``: 0 is ``low`` and 1 is ``high``, in ``units``.
    """

    names, low, high, units = HEADS, (FIRST,) * 3, (-FIRST,) * 3, ("degrees",) * 3

    def __init__(self) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3])
        features = 512 * Bottleneck.expansion
        self.fc: nn.Module = nn.Identity()
        self.fc_yaw, self.fc_pitch, self.fc_roll = (nn.Linear(features, BINS) for _ in HEADS)
        self.fc_finetune = nn.Linear(features + 3, 3)  # in the files, but the authors evaluate without it

    def angles(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, 224, 224], RGB in [-1, 1] -> yaw, pitch and roll in degrees, [N, 3] in [-99, 96].

        Each angle is the expectation under its softmax. Raises ValueError on another shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, SIZE, SIZE):
            raise ValueError(f"images: expected shape [N, 3, {SIZE}, {SIZE}], found {tuple(images.shape)}")
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        features = super().forward(((images + 1) / 2 - mean) / std)
        scores = torch.stack([getattr(self, f"fc_{head}")(features) for head in HEADS], 1)
        numbers = torch.arange(BINS, device=scores.device, dtype=scores.dtype)
        return FIRST + WIDTH * (scores.softmax(2) @ numbers)

    def yaw(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, 224, 224] in [-1, 1] -> yaw in degrees [N]; positive = the face looks to the left of the picture."""
        return self.angles(images)[:, HEADS.index("yaw")]

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, 224, 224] in [-1, 1] -> the three angles [N, 3] in [0, 1], 0 at ``low`` and 1 at ``high``."""
        return (self.angles(images) - FIRST) / (-2 * FIRST)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> Hopenet:
    """``hopenet_alpha1.pkl``, ``hopenet_alpha2.pkl`` or ``hopenet_robust_alpha1.pkl``, bare state dicts -> the network.

    Raises InvbenchError naming ``source`` if the file does not fit.
    """
    return fitted(Hopenet, with_counters(tensors(checkpoint, source=source)), source=source)
