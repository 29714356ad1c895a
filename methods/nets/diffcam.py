"""The differential activation network: which attribute turned one picture into another, and where (Song et al. 2022).

HaoruiSong622/Editing-Out-of-Domain, model/DA.py: a ResNet-101 cut inside its third stage. The first part sees both pictures,
the second part the difference of the two features. Module names are those of the public file.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck

from invbench.metrics.nets.layers import Pointwise

RESNET101 = ((64, 3), (128, 4), (256, 23), (512, 3))
"""(width, number of units) of the four stages; a unit gives four times its width."""
CUT = 10  # units of the third stage that see the pictures
EXPANSION = Bottleneck.expansion


class DiffCAM(nn.Module):
    """The default arguments give the published network, for 17 attributes at 256 pixels.

    attributes  edit -> index of its output; several edits may share one, and outputs may stay without a name
    outputs     number of outputs
    size        pixels a side that pictures are seen at
    stages      (width, number of units) of each stage
    cut         units of the third stage in the first part
    reduce      whether the stem reduces pictures to a quarter, as published; otherwise it keeps their size
    """

    def __init__(
        self,
        attributes: dict[str, int],
        *,
        outputs: int = 17,
        size: int = 256,
        stages: Sequence[Sequence[int]] = RESNET101,
        cut: int = CUT,
        reduce: bool = True,
    ) -> None:
        super().__init__()
        self.attributes, self.size = dict(attributes), size
        width = stages[0][0]
        stem: list[nn.Module] = [nn.Conv2d(3, width, 7, 2 if reduce else 1, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        stem.append(nn.MaxPool2d(3, 2, 1) if reduce else nn.Identity())
        units: list[list[nn.Module]] = []
        for number, (planes, count) in enumerate(stages):
            units.append([])
            for i in range(count):
                units[-1].append(_unit(width, planes, stride=2 if number and not i else 1))
                width = EXPANSION * planes
        self.shared = nn.Sequential(*stem, nn.Sequential(*units[0]), nn.Sequential(*units[1]), *units[2][:cut])
        self.classifier = nn.Sequential(*units[2][cut:], nn.Sequential(*units[3]), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(width, outputs)

    def forward(self, inverted: Tensor, edited: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] before and after an edit -> logits [N, outputs]."""
        return self.fc(self.responses(inverted, edited).mean((2, 3)))

    def responses(self, inverted: Tensor, edited: Tensor) -> Tensor:
        """The last feature [N, C, h, w], of the difference edited - inverted (the paper's equation 1 has the other sign)."""
        both: Tensor = self.shared(torch.cat([self._seen(edited), self._seen(inverted)]))
        n = len(inverted)
        return self.classifier[:-1](both[:n] - both[n:])

    def mask(self, inverted: Tensor, edited: Tensor, outputs: Tensor, *, normalise: str = "range") -> Tensor:
        """Where the attributes ``outputs`` (indices [N]) changed, [N, 1, size, size] in [0, 1]: Grad-CAM (equations 3 and 4).

        A linear layer follows the mean over places, so the gradient of a logit is its weight at every place. ``normalise``
        "range" takes the smallest value away before it divides by the largest, as the code does, "max" only divides, as the
        paper does. Pictures that are equal, or without a positive response, have mask 0: there the code divides 0 by 0.
        """
        responses = self.responses(inverted, edited)
        weights = self.fc.weight[outputs]
        found = torch.einsum("nchw,nc->nhw", responses, weights)[:, None].clamp_min(0)
        found = F.interpolate(found, size=(self.size, self.size), mode="bilinear", align_corners=False)
        if normalise == "range":
            found = found - found.amin((1, 2, 3), keepdim=True)
        largest = found.amax((1, 2, 3), keepdim=True)
        changed = (inverted != edited).flatten(1).any(1).reshape(-1, 1, 1, 1)
        return torch.where(changed & (largest > 0), found / largest.clamp_min(torch.finfo(found.dtype).tiny), 0)

    def _seen(self, images: Tensor) -> Tensor:
        if images.shape[-2:] == (self.size, self.size):
            return images
        return F.interpolate(images, size=(self.size, self.size), mode="area")


def _unit(inputs: int, planes: int, *, stride: int) -> nn.Module:
    shortcut = None
    if stride > 1 or inputs != EXPANSION * planes:
        shortcut = nn.Sequential(
            Pointwise(inputs, EXPANSION * planes, stride=stride), nn.BatchNorm2d(EXPANSION * planes)
        )
    return Bottleneck(inputs, planes, stride, shortcut)
