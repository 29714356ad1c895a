"""FaRL's face parser (Zheng et al., CVPR 2022; FacePerceiver/FaRL, MIT) as pyfacer 0.0.5 runs it: 19 classes of CelebAMask-HQ.

File: ``face_parsing.farl.celebm.main_ema_181500_jit.pt`` of FacePerceiver/facer, a TorchScript program whose tensors are read.
It derives from CelebAMask-HQ (non-commercial research data); no licence is stated for the weights.

Two things differ from pyfacer, which DHR was released with. Outside of the aligned square pyfacer returns zero logits, whose
softmax is uniform, so that a mask such as DHR's, background and neighbours < 0.5, reads it as face; here it is background. And
the five points come from MTCNN (facenet-pytorch, in its package) instead of RetinaFace, whose weights would be one more file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.metrics.nets.face_detector import FaceDetector
from invbench.metrics.nets.published import fitted, tensors, with_counters

SIDE, PATCH, TAPS = 448, 16, (3, 5, 7, 11)  # pixels of the aligned face; blocks whose maps the head takes
POOLS = (1, 2, 3, 6)
# FaRL's own order; "rr", "rb", "re" (right ear, brow, eye) are l_ear, l_brow, l_eye of CelebAMask-HQ
CLASSES = (
    "background", "neck", "skin", "clothes", "left_ear", "right_ear", "left_brow", "right_brow", "left_eye", "right_eye",
    "nose", "mouth", "lower_lip", "upper_lip", "hair", "glasses", "hat", "earring", "necklace",
)  # fmt: skip
SURE = 20.0  # logit of background where FaRL sees nothing: its softmax is 1 to 4e-8


class FaRL(nn.Module):
    """A face parser with class scores at every pixel; ``classes`` names the classes in the order of the logits."""

    classes = CLASSES

    def __init__(self, network: FaRLNetwork, detector: nn.Module) -> None:
        super().__init__()
        self.network, self.detector = network, detector

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] -> logits [N, 19, H, W].

        The most probable face is aligned by its five points, parsed at 448 x 448 and its logits laid back. All is background
        outside of that square, and where no face is found. Raises ValueError on another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        levels = ((images.detach() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        logits = images.new_zeros(len(images), len(CLASSES), *images.shape[2:])
        logits[:, 0] = SURE
        for index, found in enumerate(self.detector.landmarks(levels)):  # type: ignore[operator]
            if len(found.points):
                crop, back, inside = (one.to(images) for one in grids(found.points[0], images.shape[2:]))
                seen = F.grid_sample((images[index : index + 1] + 1) / 2, crop[None], align_corners=False)
                own = F.grid_sample(self.network(seen), back[None], align_corners=False)[0]
                logits[index] = torch.where(inside > 0, own, logits[index])
        return logits


def grids(points: np.ndarray, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Five points [5, 2] (eyes, nose, corners of the mouth; x, y) in a picture of ``size`` (height, width) -> how to align it.

    Returns where in the picture each pixel of the aligned square is, [448, 448, 2], where in the square each pixel of the
    picture is, [height, width, 2], both as grid_sample takes them, and 1 for pixels within the square, [height, width]. The
    square is FFHQ's oriented one, its centre a tenth of the way from the eyes to the mouth.
    """
    height, width = size
    places = points[:, 0] + 1j * points[:, 1]
    eyes, mouth = (places[0] + places[1]) / 2 + (0.5 + 0.5j), (places[3] + places[4]) / 2 + (0.5 + 0.5j)
    between, down = places[1] - places[0], mouth - eyes
    half = between - 1j * down  # half a side of the square, along the eyes
    half *= max(2.0 * abs(between), 1.8 * abs(down)) / abs(half)
    centre = eyes + 0.1 * down
    v, u = np.mgrid[:SIDE, :SIDE] + 0.5
    there = centre + half * ((2 * u / SIDE - 1) + 1j * (2 * v / SIDE - 1))
    y, x = np.mgrid[:height, :width] + 0.5
    here = (x + 1j * y - centre) / half
    inside = (np.abs(here.real) <= 1) & (np.abs(here.imag) <= 1)
    crop = np.stack([2 * there.real / width - 1, 2 * there.imag / height - 1], -1)
    return torch.from_numpy(crop), torch.from_numpy(np.stack([here.real, here.imag], -1)), torch.from_numpy(inside).float()


class FaRLNetwork(nn.Module):
    """CLIP's ViT-B/16 at 448 pixels, a pyramid of four of its maps, and UPerNet's head."""

    def __init__(self, *, width: int = 768, heads: int = 12, side: int = SIDE // PATCH) -> None:
        super().__init__()
        self.backbone = _Backbone(width, heads, side)
        self.head = nn.Module()
        self.head.head = _Head(width)

    def forward(self, images: Tensor) -> Tensor:
        """Aligned faces [N, 3, S, S] in [0, 1] -> logits [N, 19, S, S]."""
        out = self.head.head(self.backbone(images))  # type: ignore[operator]
        return F.interpolate(out, size=images.shape[2:], mode="bilinear", align_corners=False)


class _Backbone(nn.Module):
    image_mean: Tensor
    image_std: Tensor

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.register_buffer("image_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("image_std", torch.ones(1, 3, 1, 1))
        self.visual = _Visual(width, heads, side)
        up = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2), nn.BatchNorm2d(width), nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )  # fmt: skip
        self.fpns = nn.ModuleList([up, nn.ConvTranspose2d(width, width, 2, stride=2), nn.Identity(), nn.MaxPool2d(2)])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Four maps, from a quarter to a 32nd of the pixels a side."""
        maps = self.visual((images - self.image_mean) / self.image_std)
        return [pyramid(one) for pyramid, one in zip(self.fpns, maps, strict=True)]


class _Visual(nn.Module):
    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(side * side + 1, width))
        self.proj = nn.Parameter(torch.zeros(width, width * 2 // 3))  # of CLIP, and like ln_post not used by the parser
        self.conv1 = nn.Conv2d(3, width, PATCH, stride=PATCH, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(_Block(width, heads) for _ in range(TAPS[-1] + 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        patches = self.conv1(images)
        own = self.class_embedding.expand(len(images), 1, -1)
        x = self.ln_pre(torch.cat([own, patches.flatten(2).transpose(1, 2)], 1) + self.positional_embedding)
        maps = []
        for number, block in enumerate(self.transformer.resblocks):  # type: ignore[arg-type]
            x = block(x)
            if number in TAPS:
                maps.append(x[:, 1:].transpose(1, 2).unflatten(2, patches.shape[2:]).contiguous())
        return maps


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        y = self.mlp.c_fc(self.ln_2(x))  # type: ignore[operator]
        return x + self.mlp.c_proj(y * torch.sigmoid(1.702 * y))  # type: ignore[operator]


class _Conv(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Head(nn.Module):
    """UPerNet's head (Xiao et al., ECCV 2018; open-mmlab/mmsegmentation, UPerHead)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(width, len(CLASSES), 1)
        self.psp_modules = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(n), _Conv(width, width, 1)) for n in POOLS)
        self.bottleneck = _Conv((1 + len(POOLS)) * width, width, 3)
        self.lateral_convs = nn.ModuleList(_Conv(width, width, 1) for _ in range(3))
        self.fpn_convs = nn.ModuleList(_Conv(width, width, 3) for _ in range(3))
        self.fpn_bottleneck = _Conv(4 * width, width, 3)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Four maps, the finest first -> logits [N, 19, h, w] of the finest."""
        last = maps[-1]
        pooled = [_resized(module(last), last) for module in self.psp_modules]
        laterals = [conv(one) for conv, one in zip(self.lateral_convs, maps[:-1], strict=True)]
        laterals.append(self.bottleneck(torch.cat([last, *pooled], 1)))
        for place in range(len(laterals) - 1, 0, -1):
            laterals[place - 1] = laterals[place - 1] + _resized(laterals[place], laterals[place - 1])
        outs = [*(conv(one) for conv, one in zip(self.fpn_convs, laterals[:-1], strict=True)), laterals[-1]]
        return self.conv_seg(self.fpn_bottleneck(torch.cat([_resized(one, outs[0]) for one in outs], 1)))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> FaRL:
    """pyfacer's file -> the parser with its face detector. Raises InvbenchError naming ``source`` if it does not fit."""
    state = with_counters(tensors(checkpoint, source=source))
    return FaRL(fitted(FaRLNetwork, state, source=source), FaceDetector())
