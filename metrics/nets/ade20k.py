"""Scene parsing in the 150 classes of ADE20K: ResNet-50 with dilations and a pyramid pooling module (Zhou et al., CVPR 2017;
Zhao et al., CVPR 2017; CSAILVision/semantic-segmentation-pytorch), as SAM segments cars with it.

adobe-research/sam_inversion calls it ``hrnet_ade20k``, and loads the two files of ``ade20k-resnet50dilated-ppm_deepsup``. The
tensors are named as in the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck

from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.metrics.nets.layers import Pointwise
from invbench.metrics.nets.published import fitted, tensors, with_counters

SIZE = 256  # pixels at the longer side: SAM's pictures of cars are files of 192 x 256, which it parses as they are
NAMES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "window", "grass", "cabinet", "sidewalk", "person",
    "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa", "shelf", "house",
    "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub", "railing",
    "cushion", "base", "box", "column", "signboard", "chest_of_drawers", "counter", "sand", "sink", "skyscraper", "fireplace",
    "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool_table", "pillow", "screen_door", "stairway",
    "river", "bridge", "bookcase", "blind", "coffee_table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove",
    "palm", "kitchen_island", "computer", "swivel_chair", "boat", "bar", "arcade_machine", "hovel", "bus", "towel", "light",
    "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television", "airplane", "dirt_track", "apparel", "pole",
    "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain",
    "conveyer_belt", "canopy", "washer", "plaything", "swimming_pool", "stool", "barrel", "basket", "waterfall", "tent", "bag",
    "minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade_name", "microwave", "pot", "animal", "bicycle", "lake",
    "dishwasher", "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic_light", "tray", "ashcan", "fan", "pier",
    "crt_screen", "plate", "monitor", "bulletin_board", "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip
MERGED = {"floor": ("road", "earth"), "river": ("water",), "car": ("truck", "van"), "grass": ("field",)}  # as SAM merges them
TRAINING_BUFFERS = ("_tmp_running_mean", "_tmp_running_var", "_running_iter")  # of a normalisation over several devices
SCALES = (1, 2, 3, 6)  # cells a side of the pyramid


class SceneParser(nn.Module):
    """Class scores at every pixel; ``classes`` names the 144 classes that are left of 150 when SAM's merges are done.

    object  the class that the domain is about; it has to be among them

    Raises ValueError for another object.
    """

    def __init__(self, *, object: str) -> None:
        super().__init__()
        self.classes = tuple(name for name in NAMES if not any(name in group for group in MERGED.values()))
        if object not in self.classes:
            raise ValueError(f"object: expected a class of ADE20K such as car or animal, found {object!r}")
        self.encoder = _Encoder()
        self.decoder = _Decoder(2048, len(NAMES))

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W], RGB in [-1, 1] -> logits [N, 144, H, W]. Raises ValueError on another shape.

        Larger pictures are reduced to 256 pixels at the longer side. The logit of merged classes is their largest, so that the
        winner is the merged class of the winner of 150.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        size = images.shape[2:]
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        if max(size) > SIZE:
            smaller = tuple(round(side * SIZE / max(size)) for side in size)
            images = F.interpolate(images, size=smaller, mode="bilinear", antialias=True)
        scores = self.scores(((images + 1) / 2 - mean) / std)
        groups = [[NAMES.index(name), *map(NAMES.index, MERGED.get(name, ()))] for name in self.classes]
        merged = torch.stack([scores[:, group].amax(1) for group in groups], dim=1)
        return merged if merged.shape[2:] == size else F.interpolate(merged, size=size, mode="bilinear", antialias=True)

    def scores(self, x: Tensor) -> Tensor:
        """ImageNet-normalised pictures [N, 3, H, W] -> logits of the 150 classes [N, 150, H, W]."""
        logits: Tensor = F.interpolate(self.decoder(self.encoder(x)), size=x.shape[2:], mode="bilinear", align_corners=False)
        return logits


class _Encoder(nn.Module):
    """ResNet-50 with three convolutions at its start, and dilations for its last two strides -> [N, 2048, h, w] at 1/8."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 64, 64, 128)
        for i in range(3):
            stride = 1 if i else 2
            self.add_module(f"conv{i + 1}", nn.Conv2d(widths[i], widths[i + 1], 3, stride, 1, bias=False))
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.layer1 = _stage(128, 64, 3)
        self.layer2 = _stage(256, 128, 4, stride=2)
        self.layer3 = _stage(512, 256, 6, dilation=2)
        self.layer4 = _stage(1024, 512, 3, dilation=4)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 4):
            x = F.relu(self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x


def _stage(inputs: int, planes: int, count: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """``count`` bottlenecks; the 3x3 convolution of the first has half the dilation of the others."""
    shortcut = nn.Sequential(Pointwise(inputs, 4 * planes, stride=stride), nn.BatchNorm2d(4 * planes))
    first = Bottleneck(inputs, planes, stride, shortcut, dilation=max(1, dilation // 2))
    return nn.Sequential(first, *(Bottleneck(4 * planes, planes, dilation=dilation) for _ in range(count - 1)))


class _Decoder(nn.Module):
    """Pyramid pooling: a map and its means over grids -> class scores of the map's size. ``*_deepsup`` serve training alone."""

    def __init__(self, inputs: int, classes: int, width: int = 512) -> None:
        super().__init__()
        self.ppm = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(scale), nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            for scale in SCALES
        )
        self.cbr_deepsup = nn.Sequential(
            nn.Conv2d(inputs // 2, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.conv_last = nn.Sequential(
            nn.Conv2d(inputs + len(SCALES) * width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(width, classes, 1),
        )
        self.conv_last_deepsup = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = [F.interpolate(branch(x), size=x.shape[2:], mode="bilinear", align_corners=False) for branch in self.ppm]
        scores: Tensor = self.conv_last(torch.cat([x, *means], dim=1))
        return scores


def from_checkpoint(
    checkpoint: Mapping[str, Any], *, source: str, decoder: Mapping[str, Any], object: str, decoder_source: str = "decoder"
) -> SceneParser:
    """``encoder_epoch_20.pth`` and ``decoder_epoch_20.pth``, bare state dicts -> the network.

    The buffers that synchronised normalisation keeps for training may be there or not; nothing else may be missing or left.
    Raises InvbenchError naming ``source`` or ``decoder_source`` if a file does not fit.
    """
    with torch.device("meta"):
        network = SceneParser(object=object)
    network.encoder = fitted(_Encoder, _without_training(checkpoint, source), source=source)
    whole = _without_training(decoder, decoder_source)
    network.decoder = fitted(lambda: _Decoder(2048, len(NAMES)), whole, source=decoder_source)
    return network.eval().requires_grad_(False)


def _without_training(checkpoint: Any, source: str) -> dict[str, Tensor]:
    """The tensors without TRAINING_BUFFERS of normalisations, with a step count for each of those."""
    state = tensors(checkpoint, source=source)
    layers = {key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")}
    passing = {f"{layer}.{buffer}" for layer in layers for buffer in TRAINING_BUFFERS}
    return with_counters({key: value for key, value in state.items() if key not in passing})
