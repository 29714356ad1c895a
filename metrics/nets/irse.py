"""The improved residual network of ArcFace (Deng et al. 2019), the backbone of face embeddings and of pSp's family of encoders.

Module names follow the public files (``input_layer``, ``body``, ``output_layer``, see TreB1eN/InsightFace_Pytorch and
eladrich/pixel2style2pixel), so that their tensors load without renaming. Any width and depth can be built; the units
have a channel gate (IR-SE) or none (IR).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from invbench.metrics.nets.layers import Pointwise

IRSE50 = ((64, 3), (128, 4), (256, 14), (512, 3))
"""(width, number of units) of the four stages of the published backbone of 50 layers."""
IR101 = ((64, 3), (128, 13), (256, 30), (512, 3))
"""(width, number of units) of the four stages of the published backbone of 100 layers."""
FACE = 112  # side of the aligned faces that embeddings are trained on, in pixels


class SqueezeExcitation(nn.Module):
    """Channel gate: global mean -> 1x1 down -> ReLU -> 1x1 up -> sigmoid (Hu et al. 2018), without biases."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(width // reduction, 1)
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(width, hidden, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, width, 1, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """x [N, width, H, W] -> the same shape, each channel multiplied by its gate in (0, 1)."""
        gate: Tensor = self.sigmoid(self.fc2(self.relu(self.fc1(self.avg_pool(x)))))
        return x * gate


class Unit(nn.Module):
    """One residual unit: [N, width_in, H, W] -> [N, width, H / stride, W / stride]; ``gated`` adds the channel gate."""

    def __init__(self, width_in: int, width: int, *, stride: int, gated: bool = True) -> None:
        super().__init__()
        # A strided unit of equal width has a shortcut without parameters, which takes every second pixel.
        self.shortcut_layer: nn.Module = (
            nn.MaxPool2d(1, stride)
            if width_in == width
            else nn.Sequential(Pointwise(width_in, width, stride=stride), nn.BatchNorm2d(width))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            *([SqueezeExcitation(width)] if gated else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x [N, width_in, H, W] -> [N, width, H / stride, W / stride]."""
        y: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return y


def stem(width: int, *, channels: int) -> nn.Sequential:
    """``input_layer``: images [N, channels, H, W] -> [N, width, H, W]."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))


def trunk(stages: Sequence[Sequence[int]], *, gated: bool = True) -> nn.Sequential:
    """``body``: all units in one sequence; the first unit of every stage halves the resolution."""
    units: list[nn.Module] = []
    width_in = stages[0][0]
    for width, count in stages:
        for i in range(count):
            units.append(Unit(width_in, width, stride=2 if i == 0 else 1, gated=gated))
            width_in = width
    return nn.Sequential(*units)


def stage_ends(stages: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Indices in ``body`` of the last unit of every stage; (2, 6, 20, 23) for IR-SE50."""
    ends, total = [], 0
    for _, count in stages:
        total += count
        ends.append(total - 1)
    return tuple(ends)


class FaceEmbedding(nn.Module):
    """Aligned faces -> embeddings of length 1; ``affine``: whether the last normalisation has weights.

    stages    (width, units) of the four stages; every stage halves the resolution, 112 -> 7
    features  length of the embedding
    """

    def __init__(self, *, stages: Sequence[Sequence[int]], gated: bool, affine: bool, features: int = 512) -> None:
        super().__init__()
        width, last = stages[-1][0], FACE // 2 ** len(stages)
        self.input_layer = stem(stages[0][0], channels=3)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Dropout(),  # keeps the numbering of the tensors' names; it has no effect in eval mode
            nn.Flatten(),
            nn.Linear(width * last * last, features),
            nn.BatchNorm1d(features, affine=affine),
        )
        self.body = trunk(stages, gated=gated)

    def embedding(self, faces: Tensor) -> Tensor:
        """Aligned faces [N, 3, 112, 112], RGB in [-1, 1] -> [N, features]; their inner product is the similarity.

        Raises ValueError on another shape.
        """
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, FACE, FACE):
            raise ValueError(f"faces: expected shape [N, 3, {FACE}, {FACE}], found {tuple(faces.shape)}")
        return F.normalize(self.output_layer(self.body(self.input_layer(faces))), dim=1)
