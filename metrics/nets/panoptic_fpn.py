"""Instances of 80 kinds by Detectron2's panoptic FPN, as SAM segments cats with it (Kirillov et al., CVPR 2019;
facebookresearch/detectron2, ``COCO-PanopticSegmentation/panoptic_fpn_R_101_3x``).

SAM uses the instances alone, so what is built is the Mask R-CNN in it: torchvision's, changed where Detectron2 differs (anchors
are not rounded, regions are aligned by half a pixel, strides lie in 1x1 convolutions, masks are pasted by interpolation).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet101
from torchvision.models._meta import _COCO_CATEGORIES
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, roi_align

from invbench.metrics.nets.published import check, entry, fitted, tensors

NAMES = tuple(name.replace(" ", "_") for name in _COCO_CATEGORIES[1:] if name != "N/A")  # of the 80 kinds, in their order
SCORE = 0.1  # minimum score of an instance, as in adobe-research/sam_inversion
INSIDE = 0.5  # probability from which a pixel is part of an instance
SHORTER, LONGER = 800, 1333  # sides of what the network sees, in pixels
MEAN = (103.53, 116.28, 123.675)  # of blue, green and red in [0, 255]
STRIDES = (4, 8, 16, 32)  # of the maps from which regions are cut
LEVELS = (1, 1, 2, 3)  # convolutions of the unused head of backgrounds on each of these maps
PASSING = re.compile(r"pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d")  # constants in some files
RENAMED: dict[str, str | Callable[[re.Match[str]], str]] = {
    r"backbone\.bottom_up\.stem\.conv1\.norm\.": "backbone.body.bn1.",
    r"backbone\.bottom_up\.stem\.": "backbone.body.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.norm\.": lambda m: f"{_unit(m)}.downsample.1.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.": lambda m: f"{_unit(m)}.downsample.0.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.norm\.": lambda m: f"{_unit(m)}.bn{m[3]}.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.": lambda m: f"{_unit(m)}.",
    r"backbone\.fpn_lateral(\d)\.": lambda m: f"backbone.fpn.inner_blocks.{int(m[1]) - 2}.0.",
    r"backbone\.fpn_output(\d)\.": lambda m: f"backbone.fpn.layer_blocks.{int(m[1]) - 2}.0.",
    r"proposal_generator\.rpn_head\.conv\.": "rpn.head.conv.0.0.",
    r"proposal_generator\.rpn_head\.objectness_logits\.": "rpn.head.cls_logits.",
    r"proposal_generator\.rpn_head\.anchor_deltas\.": "rpn.head.bbox_pred.",
    r"roi_heads\.box_head\.fc1\.": "roi_heads.box_head.fc6.",
    r"roi_heads\.box_head\.fc2\.": "roi_heads.box_head.fc7.",
    r"roi_heads\.mask_head\.mask_fcn(\d)\.": lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0.",
    r"roi_heads\.mask_head\.deconv\.": "roi_heads.mask_predictor.conv5_mask.",
    r"roi_heads\.mask_head\.predictor\.": "roi_heads.mask_predictor.mask_fcn_logits.",
}  # the first rule that fits the start of a name


class PanopticInstances(nn.Module):
    """Class scores at every pixel, 1 for the class and 0 for the others; ``classes``: "background", then all kinds but people.

    Instances are painted in the order of falling scores, so that weaker ones cover stronger ones, with the index of their kind.
    That of people is 0, as is the background. Both, and that the network gets red where it was trained on blue, are as in
    adobe-research/sam_inversion.

    object  the kind that the domain is about; it has to be among the classes

    Raises ValueError for another object.
    """

    def __init__(self, *, object: str) -> None:
        super().__init__()
        self.classes = ("background", *NAMES[1:])
        if object not in self.classes[1:]:
            raise ValueError(f"object: expected a kind of COCO such as cat or car, found {object!r}")
        body = resnet101(weights=None, norm_layer=FrozenBatchNorm2d)
        for stage in (body.layer2, body.layer3, body.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        self.detector: Any = MaskRCNN(
            _resnet_fpn_extractor(body, 3),
            len(NAMES) + 1,
            rpn_anchor_generator=_Anchors(tuple((size,) for size in (32, 64, 128, 256, 512)), ((0.5, 1.0, 2.0),) * 5),
            box_roi_pool=_Regions(7),
            mask_roi_pool=_Regions(14),
            box_score_thresh=SCORE,
        )
        self.detector.transform = _Transform(SHORTER, LONGER, list(MEAN), [1.0, 1.0, 1.0])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W], RGB in [-1, 1] -> scores [N, 80, H, W] in {0, 1}. Raises ValueError on another shape."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        painted = images.new_zeros(len(images), *images.shape[2:], dtype=torch.int64)
        for canvas, found in zip(painted, self.detector(list((images.float() + 1) * 127.5)), strict=True):
            for mask, label in zip(found["masks"][:, 0], found["labels"], strict=True):
                canvas[mask >= INSIDE] = label - 1
        return F.one_hot(painted, len(self.classes)).movedim(3, 1).to(images.dtype)


class _Anchors(AnchorGenerator):
    """Anchors of exact sizes."""

    def generate_anchors(
        self,
        scales: Any,
        aspect_ratios: Any,
        dtype: torch.dtype = torch.float32,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - as the base class has it
    ) -> Tensor:
        ratios = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        sides = torch.as_tensor(scales, dtype=dtype, device=device)
        width, height = (sides / ratios[:, None]).flatten(), (sides * ratios[:, None]).flatten()
        return torch.stack([-width, -height, width, height], dim=1) / 2


class _Regions(MultiScaleRoIAlign):
    """Regions from the map that suits their size, aligned by half a pixel, with as many samples as they have pixels."""

    def __init__(self, side: int) -> None:
        super().__init__(["0", "1", "2", "3"], side, -1)

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        rows = torch.cat([torch.full_like(one[:, :1], i) for i, one in enumerate(boxes)])
        regions = torch.cat(boxes)
        size = ((regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])).sqrt()
        levels = (4 + torch.log2(size / 224 + 1e-8)).floor().clamp(2, 5) - 2  # where 224 pixels lie on the third map
        rois = torch.cat([rows, regions], dim=1)
        first = x["0"]
        found = first.new_zeros(len(rois), first.shape[1], *self.output_size)
        for level, stride in enumerate(STRIDES):
            own = torch.where(levels == level)[0]
            found[own] = roi_align(x[str(level)], rois[own], self.output_size, 1 / stride, -1, aligned=True)
        return found


class _Transform(GeneralizedRCNNTransform):
    """Masks [n, 1, m, m] of boxes are interpolated at the middles of the picture's pixels."""

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        for found, seen, size in zip(result, image_shapes, original_image_sizes, strict=True):
            found["boxes"] = resize_boxes(found["boxes"], list(seen), list(size))
            found["masks"] = pasted(found["masks"], found["boxes"], size)
        return result


def pasted(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks [n, 1, m, m] in their boxes [n, 4] (left, top, right, bottom) -> [n, 1, H, W] for ``size`` (H, W); 0 outside."""
    left, top, right, bottom = boxes.view(-1, 4, 1).unbind(1)
    y, x = (torch.arange(side, device=masks.device, dtype=masks.dtype) + 0.5 for side in size)
    y, x = (y - top) / (bottom - top) * 2 - 1, (x - left) / (right - left) * 2 - 1
    grid = torch.stack([x[:, None].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])], dim=3)
    return F.grid_sample(masks, grid, align_corners=False)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str, object: str) -> PanopticInstances:
    """``model_final_cafdb1.pkl``, {"model": {name: tensor}, ...} -> the network.

    The head of backgrounds has to be there, and is not used; constants (means of pixels, anchors) may be there. Raises
    InvbenchError naming ``source`` if the file does not fit.
    """
    state = tensors(entry(checkpoint, "model", source=source), source=source)
    unused = {key: value for key, value in state.items() if key.startswith("sem_seg_head.")}
    check(unused, backgrounds(), source=source)
    own = {key: value for key, value in state.items() if key not in unused and not PASSING.fullmatch(key)}
    found = {f"detector.{_renamed(key)}": value for key, value in own.items()}
    for key, each in (("box_predictor.cls_score", 1), ("box_predictor.bbox_pred", 4), ("mask_predictor.mask_fcn_logits", 1)):
        for kind in ("weight", "bias"):
            name = f"detector.roi_heads.{key}.{kind}"
            if name in found:
                found[name] = _background_first(found[name], each, stored="cls_score" in key)
    return fitted(lambda: PanopticInstances(object=object), found, source=source)


def backgrounds() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of the head of backgrounds."""
    found: dict[str, tuple[int, ...]] = {}
    for level, count in enumerate(LEVELS, start=2):
        for number in range(count):
            name = f"sem_seg_head.p{level}.{2 * number}"
            found[f"{name}.weight"] = (128, 128 if number else 256, 3, 3)
            found |= {f"{name}.norm.weight": (128,), f"{name}.norm.bias": (128,)}
    return found | {"sem_seg_head.predictor.weight": (54, 128, 1, 1), "sem_seg_head.predictor.bias": (54,)}


def _background_first(value: Tensor, each: int, *, stored: bool) -> Tensor:
    """Rows of the kinds, ``each`` for one, behind those of the background: the last ones if ``stored``, else zeros."""
    if stored:
        return torch.cat([value[-each:], value[:-each]])
    return torch.cat([value.new_zeros(each, *value.shape[1:]), value])


def _renamed(key: str) -> str:
    """torchvision's name of a tensor."""
    for rule, name in RENAMED.items():
        new, count = re.subn(f"^{rule}", name, key)
        if count:
            return new
    return key


def _unit(name: re.Match[str]) -> str:
    """torchvision's name of a unit of the ResNet, from the stage and the number in Detectron2's."""
    return f"backbone.body.layer{int(name[1]) - 1}.{name[2]}"
