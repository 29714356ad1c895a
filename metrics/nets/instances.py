"""Segmentation of objects of one kind by torchvision's Mask R-CNN, as a parser of two classes for domains without faces.

It replaces the networks with which SAM's authors segmented cats and cars (:mod:`invbench.metrics.nets.panoptic_fpn`,
:mod:`invbench.metrics.nets.ade20k`) where their files are not here (pytorch/vision, maskrcnn_resnet50_fpn, trained on COCO;
He et al., ICCV 2017).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

from invbench.metrics.nets.published import fitted, tensors

COCO = {"car": 3, "cat": 17, "horse": 19}  # indices among the network's 91 labels
LABELS = 91
SCORE = 0.1  # minimum score of an instance, as in adobe-research/sam_inversion


class InstanceSegmenter(nn.Module):
    """Class scores at every pixel; ``classes`` is ("background", ``object``).

    object  "car", "cat" or "horse"

    Raises ValueError for another object.
    """

    def __init__(self, *, object: str) -> None:
        super().__init__()
        if object not in COCO:
            raise ValueError(f"object: expected one of {', '.join(COCO)}, found {object!r}")
        self.classes = ("background", object)
        self.label = COCO[object]
        body = resnet50(weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=0.0))  # the file's variances include the 1e-5
        self.detector: Any = MaskRCNN(_resnet_fpn_extractor(body, 3), LABELS, box_score_thresh=SCORE)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] -> logits [N, 2, H, W] of background and object.

        The object's probability is the largest one of the instances' masks, 0 without any. Raises ValueError on another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        inside = []
        for found in self.detector(list((images.float() + 1) / 2)):
            masks = found["masks"][found["labels"] == self.label]
            inside.append(masks.amax(0) if len(masks) else images.new_zeros(1, *images.shape[2:]))
        probability = torch.stack(inside).clamp(1e-6, 1 - 1e-6)
        return torch.cat([-probability.logit(), probability.logit()], dim=1)


def from_checkpoint(state: Mapping[str, Any], *, source: str, object: str) -> InstanceSegmenter:
    """torchvision's ``maskrcnn_resnet50_fpn_coco`` -> network. Raises InvbenchError naming ``source`` if it does not fit."""
    found = {f"detector.{_present_name(key)}": value for key, value in tensors(state, source=source).items()}
    return fitted(lambda: InstanceSegmenter(object=object), found, source=source)


def _present_name(key: str) -> str:
    """torchvision's present name of a tensor; the file is older than some of the names."""
    key = re.sub(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", key)
    key = re.sub(r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2", key)
    return re.sub(r"mask_fcn(\d)\.", lambda match: f"{int(match[1]) - 1}.0.", key)
