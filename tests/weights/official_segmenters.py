"""Files of the official segmenters, made of stand-ins (:mod:`tests.weights.official`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from invbench.metrics.nets.instances import InstanceSegmenter
from tests import golden_vectors
from tests.weights.official import drawn


def ade20k(part: str, *, seed: int = 0) -> dict[str, Tensor]:
    """``encoder_epoch_20.pth`` or ``decoder_epoch_20.pth``: with the buffers of synchronised normalisation."""
    return drawn(golden_vectors.load("semseg_ade20k_layout")[part], seed=seed)


def panoptic_fpn_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of ``model_final_cafdb1.pkl`` by the names and shapes of Detectron2's code, written out."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, out: int, into: int, side: int = 1) -> None:
        shapes[f"{name}.weight"] = (out, into, side, side)
        shapes.update({f"{name}.norm.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")})

    def biased(name: str, *shape: int) -> None:
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    conv("backbone.bottom_up.stem.conv1", 64, 3, 7)
    into = 64
    for stage, count, width in ((2, 3, 64), (3, 4, 128), (4, 23, 256), (5, 3, 512)):
        for unit in range(count):
            name = f"backbone.bottom_up.res{stage}.{unit}"
            if not unit:
                conv(f"{name}.shortcut", 4 * width, into)
            conv(f"{name}.conv1", width, into)
            conv(f"{name}.conv2", width, width, 3)
            conv(f"{name}.conv3", 4 * width, width)
            into = 4 * width
        biased(f"backbone.fpn_lateral{stage}", 256, into, 1, 1)
        biased(f"backbone.fpn_output{stage}", 256, 256, 3, 3)
    for level, widths in ((2, (256,)), (3, (256,)), (4, (256, 128)), (5, (256, 128, 128))):
        for number, before in enumerate(widths):
            name = f"sem_seg_head.p{level}.{2 * number}"
            shapes |= {f"{name}.weight": (128, before, 3, 3), f"{name}.norm.weight": (128,), f"{name}.norm.bias": (128,)}
    biased("sem_seg_head.predictor", 54, 128, 1, 1)
    biased("proposal_generator.rpn_head.conv", 256, 256, 3, 3)
    biased("proposal_generator.rpn_head.objectness_logits", 3, 256, 1, 1)
    biased("proposal_generator.rpn_head.anchor_deltas", 12, 256, 1, 1)
    biased("roi_heads.box_head.fc1", 1024, 256 * 7 * 7)
    biased("roi_heads.box_head.fc2", 1024, 1024)
    biased("roi_heads.box_predictor.cls_score", 81, 1024)
    biased("roi_heads.box_predictor.bbox_pred", 320, 1024)
    for number in range(1, 5):
        biased(f"roi_heads.mask_head.mask_fcn{number}", 256, 256, 3, 3)
    biased("roi_heads.mask_head.deconv", 256, 256, 2, 2)
    biased("roi_heads.mask_head.predictor", 80, 256, 1, 1)
    return shapes


def maskrcnn_shapes() -> dict[str, Sequence[int]]:
    """The public file of Mask R-CNN: frozen normalisation, and the names of torchvision before 0.13."""
    with torch.device("meta"):
        state = InstanceSegmenter(object="car").detector.state_dict()
    names = {}
    for key, value in state.items():
        key = re.sub(r"(_blocks\.\d+)\.0\.", r"\1.", key)
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda match: f"mask_head.mask_fcn{int(match[1]) + 1}.", key)
        names[key] = tuple(value.shape)
    return names
