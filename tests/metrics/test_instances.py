"""The instance segmenter: torchvision's file, old names included, and what it makes of detections."""

from __future__ import annotations

import pytest
import torch

from invbench.api import InvbenchError
from invbench.metrics.nets.instances import InstanceSegmenter, from_checkpoint
from tests.weights import official_segmenters


class Detections(torch.nn.Module):
    """A detector that has found what it is told."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def forward(self, images):
        return self.found


@pytest.fixture(scope="module")
def checkpoint():
    """Zeros under the names of the public file: frozen normalisation, and the names of torchvision before 0.13."""
    return {key: torch.zeros(shape) for key, shape in official_segmenters.maskrcnn_shapes().items()}


def test_the_public_layout_is_read(checkpoint):
    assert len(checkpoint) == 307 and "roi_heads.mask_head.mask_fcn4.bias" in checkpoint
    assert "backbone.fpn.inner_blocks.0.weight" in checkpoint and not any("num_batches" in key for key in checkpoint)
    parser = from_checkpoint(checkpoint, source="maskrcnn.pth", object="cat")
    assert parser.classes == ("background", "cat") and not parser.training
    with pytest.raises(InvbenchError, match=r"maskrcnn.pth.*1 missing: detector.rpn.head.cls_logits.bias"):
        less = {key: value for key, value in checkpoint.items() if "cls_logits.bias" not in key}
        from_checkpoint(less, source="maskrcnn.pth", object="cat")


def test_the_masks_of_all_objects_of_the_kind_are_joined(checkpoint):
    parser = from_checkpoint(checkpoint, source="x", object="cat")
    masks = torch.zeros(3, 1, 4, 6)
    masks[0, :, 0], masks[1, :, 1], masks[2, :, 2] = 0.9, 0.8, 0.7
    found = [
        {"masks": masks, "labels": torch.tensor([17, 17, 3])},  # two cats and a car
        {"masks": masks[:0], "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    parser.detector = Detections(found)
    logits = parser(torch.zeros(2, 3, 4, 6))
    assert logits.shape == (2, 2, 4, 6)
    assert logits.argmax(1)[0, :, 0].tolist() == [1, 1, 0, 0]
    assert not logits.argmax(1)[1].any()


def test_an_object_that_the_network_does_not_know_is_refused():
    with pytest.raises(ValueError, match="object: expected one of car, cat, horse, found 'church'"):
        InstanceSegmenter(object="church")
