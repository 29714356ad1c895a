"""SAM's segmenter of cats: Detectron2's file, its maps and regions against arithmetic of their own, and how SAM paints."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import roi_align

from invbench.api import InvbenchError
from invbench.metrics.nets.panoptic_fpn import NAMES, PanopticInstances, _Regions, from_checkpoint, pasted
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.layouts import recognise
from tests.weights import official, official_segmenters


@pytest.fixture(scope="module")
def state():
    return official.drawn(official_segmenters.panoptic_fpn_shapes(), seed=6)


@pytest.fixture(scope="module")
def network(state) -> PanopticInstances:
    return from_checkpoint({"model": state}, source="panoptic.pkl", object="cat")


def frozen(state, x, name):
    scale = state[f"{name}.weight"] / (state[f"{name}.running_var"] + 1e-5).sqrt()
    shift = state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def pyramid(state, x):
    """ResNet-101 with strides in its 1x1 convolutions and FPN, from the tensors of the file alone: p2 to p6."""
    place = "backbone.bottom_up"
    x = F.conv2d(x, state[f"{place}.stem.conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(frozen(state, x, f"{place}.stem.conv1.norm")), 3, 2, 1)
    stages = {}
    for stage, count in ((2, 3), (3, 4), (4, 23), (5, 3)):
        for unit in range(count):
            name, stride = f"{place}.res{stage}.{unit}", 2 if stage > 2 and not unit else 1
            y = F.relu(frozen(state, F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride), f"{name}.conv1.norm"))
            y = F.relu(frozen(state, F.conv2d(y, state[f"{name}.conv2.weight"], padding=1), f"{name}.conv2.norm"))
            y = frozen(state, F.conv2d(y, state[f"{name}.conv3.weight"]), f"{name}.conv3.norm")
            if not unit:
                x = frozen(state, F.conv2d(x, state[f"{name}.shortcut.weight"], stride=stride), f"{name}.shortcut.norm")
            x = F.relu(x + y)
        stages[stage] = x
    top, maps = None, {}
    for stage in (5, 4, 3, 2):
        weight, bias = (state[f"backbone.fpn_lateral{stage}.{kind}"] for kind in ("weight", "bias"))
        lateral = F.conv2d(stages[stage], weight, bias)
        top = lateral if top is None else lateral + F.interpolate(top, scale_factor=2, mode="nearest")
        weight, bias = (state[f"backbone.fpn_output{stage}.{kind}"] for kind in ("weight", "bias"))
        maps[stage] = F.conv2d(top, weight, bias, padding=1)
    return [maps[2], maps[3], maps[4], maps[5], maps[5][:, :, ::2, ::2]]


def test_maps_and_heads_are_those_of_the_file(state, network):
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 50
    expected = pyramid(state, x)
    found = list(network.detector.backbone(x).values())
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * float(theirs.std()))

    regions = torch.randn(3, 256, 7, 7, generator=torch.Generator().manual_seed(2))
    heads = network.detector.roi_heads
    y = regions.flatten(1)
    for name in ("fc1", "fc2"):
        y = F.relu(F.linear(y, state[f"roi_heads.box_head.{name}.weight"], state[f"roi_heads.box_head.{name}.bias"]))
    place = "roi_heads.box_predictor"
    scores = F.linear(y, state[f"{place}.cls_score.weight"], state[f"{place}.cls_score.bias"])
    moves = F.linear(y, state[f"{place}.bbox_pred.weight"], state[f"{place}.bbox_pred.bias"])
    own_scores, own_moves = heads.box_predictor(heads.box_head(regions))
    torch.testing.assert_close(own_scores, torch.cat([scores[:, 80:], scores[:, :80]], 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own_moves[:, 4:], moves, rtol=1e-4, atol=1e-4)  # of kind k: columns 4k of the file, 4k + 4 here

    z = torch.randn(2, 256, 14, 14, generator=torch.Generator().manual_seed(3))
    own_masks = heads.mask_predictor(heads.mask_head(z))[:, 1:]
    for name in ("mask_fcn1", "mask_fcn2", "mask_fcn3", "mask_fcn4"):
        place = f"roi_heads.mask_head.{name}"
        z = F.relu(F.conv2d(z, state[f"{place}.weight"], state[f"{place}.bias"], padding=1))
    deconv, last = (f"roi_heads.mask_head.{name}" for name in ("deconv", "predictor"))
    z = F.relu(F.conv_transpose2d(z, state[f"{deconv}.weight"], state[f"{deconv}.bias"], stride=2))
    expected = F.conv2d(z, state[f"{last}.weight"], state[f"{last}.bias"])
    torch.testing.assert_close(own_masks, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_anchors_are_exact_and_regions_come_from_the_level_of_their_size(network):
    anchors = network.detector.rpn.anchor_generator.cell_anchors[0]
    for anchor, ratio in zip(anchors, (0.5, 1.0, 2.0), strict=True):
        width = (32**2 / ratio) ** 0.5
        torch.testing.assert_close(anchor, torch.tensor([-width, -width * ratio, width, width * ratio]) / 2)
    maps = {str(i): torch.randn(1, 2, 256 >> i, 256 >> i, generator=torch.Generator().manual_seed(i)) for i in range(4)}
    boxes = torch.tensor([[8.0, 8, 60, 70], [100, 90, 300, 330], [10, 20, 500, 520], [0, 0, 1000, 1000]])
    found = _Regions(7)(maps, [boxes], [(1024, 1024)])
    for row, level in enumerate((0, 1, 3, 3)):  # sides of about 57, 219, 495 and 1000; a map more from 112, 224, 448 on
        one = torch.cat([torch.zeros(1), boxes[row]])[None]
        expected = roi_align(maps[str(level)], one, 7, 2.0 ** -(level + 2), -1, aligned=True)
        torch.testing.assert_close(found[row : row + 1], expected)


def test_masks_are_pasted_at_the_middles_of_pixels():
    mask = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    found = pasted(mask, torch.tensor([[2.0, 1.0, 6.0, 5.0]]), (6, 8))  # a box of 4 x 4 pixels: each pixel is one of the mask
    torch.testing.assert_close(found[0, 0, 1:5, 2:6], mask[0, 0])
    assert not found[0, 0, :, 7].any() and not found[0, 0, :, 0].any()


class Detections(torch.nn.Module):
    def __init__(self, found):
        super().__init__()
        self.found, self.seen = found, None

    def forward(self, images):
        self.seen = images
        return self.found


def test_weaker_instances_cover_stronger_ones_and_people_are_background():
    with torch.device("meta"):
        network = PanopticInstances(object="cat")
    masks = torch.zeros(3, 1, 4, 6)
    masks[0, :, 0:2], masks[1, :, 1:3], masks[2, :, :, 5] = 0.9, 0.6, 0.5
    network.detector = Detections([{"masks": masks, "labels": torch.tensor([16, 17, 1])}])  # cat, dog, person
    picture = torch.zeros(1, 3, 4, 6)
    picture[:, 0] = 1.0
    classes = network(picture).argmax(1)[0]
    assert [[network.classes[i] for i in row] for row in classes.tolist()] == [
        ["cat"] * 5 + ["background"], ["dog"] * 5 + ["background"], ["dog"] * 5 + ["background"], ["background"] * 6,
    ]  # fmt: skip
    assert network.detector.seen[0][:, 0, 0].tolist() == [255.0, 127.5, 127.5]  # red first, from 0 to 255, as SAM passes it
    assert NAMES.index("cat") == 15 and NAMES[0] == "person" and len(NAMES) == 80


def test_a_picture_is_segmented_from_end_to_end(network, monkeypatch):
    assert network.detector.transform.min_size == (800,)
    monkeypatch.setattr(network.detector.transform, "min_size", (96,))
    scores = network(torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    assert scores.shape == (1, 80, 48, 64) and torch.equal(scores.sum(1), torch.ones(1, 48, 64))


def test_the_pickle_of_arrays_is_read_without_running_it(state, tmp_path):
    path = tmp_path / "model_final.pkl"
    arrays = {key: np.ascontiguousarray(value[:1].numpy()) for key, value in list(state.items())[:8]}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}, protocol=4))
    read = load_checkpoint(path)["model"]
    assert {key: value.shape for key, value in read.items()} == {key: value.shape for key, value in arrays.items()}
    assert all(np.array_equal(read[key], arrays[key]) for key in arrays)
    told = recognise({"model": state})
    assert told is not None and told.layout == "panoptic_fpn"
    path.write_bytes(pickle.dumps({"model": {"a": np.array([io.StringIO], dtype=object)}}, protocol=4))
    with pytest.raises(InvbenchError, match="model_final.pkl: "):
        load_checkpoint(path)


def test_constants_may_be_there_and_nothing_else(state):
    more = {"pixel_mean": torch.zeros(3, 1, 1), "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4)}
    from_checkpoint({"model": state | more}, source="p.pkl", object="cat")
    with pytest.raises(InvbenchError, match=r"p.pkl: .*1 missing: sem_seg_head.p5.4.norm.bias \[128\]"):
        less = {key: value for key, value in state.items() if key != "sem_seg_head.p5.4.norm.bias"}
        from_checkpoint({"model": less}, source="p.pkl", object="cat")
    with pytest.raises(InvbenchError, match=r"p.pkl: .*1 missing: detector.backbone.body.bn1.bias"):
        less = {key: value for key, value in state.items() if key != "backbone.bottom_up.stem.conv1.norm.bias"}
        from_checkpoint({"model": less}, source="p.pkl", object="cat")
    with pytest.raises(ValueError, match="object: expected a kind of COCO such as cat or car, found 'person'"):
        from_checkpoint({"model": state}, source="p.pkl", object="person")
