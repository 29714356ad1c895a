"""MTCNN's cascade of the identity script of the pSp family, with facenet-pytorch's networks, which have the same weights.

The published ID scores were computed with ``scripts/calc_id_loss_parallel.py`` of eladrich/pixel2style2pixel. It differs from
facenet-pytorch's cascade: Pillow resizes pictures and boxes, boxes are rounded and black beyond the border, and the softmax of
the first network's scores runs along a *row of the picture* instead of over face and no face, so its first threshold is low. On
19 aligned faces of 1024 px the five points of the two cascades differ by 1.4 px of 112 in the mean, at most by 7.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from facenet_pytorch.models.utils.detect_face import nms_numpy
from PIL import Image
from torch import Tensor, nn

MINIMUM = 20  # side of the smallest face that is found, in pixels
WINDOW, STRIDE = 12, 2  # of the first network, in pixels of its input
PYRAMID = 0.707  # ratio of successive sizes of the picture
THRESHOLDS = (0.15, 0.25, 0.35)  # minimum probability for each of the three networks
SAME_SIZE, SAME_PLACE = 0.5, 0.7  # overlaps above which the less probable box is dropped: within one size, and over all sizes


class PspCascade(nn.Module):
    """Finds faces and their points in one picture at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()
        self.pnet.softmax4_1 = nn.Softmax(dim=-1)  # along the row, see the docstring of the module

    @torch.inference_mode()
    def forward(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture uint8 [H, W, 3] -> boxes and points of its K faces, the most probable first; float64.

        Boxes [K, 5] are left, top, right, bottom in pixels and the probability; points [K, 5, 2] are (x, y) in pixels.
        """
        image = Image.fromarray(picture)
        boxes, offsets = self._windows(image)
        kept = _apart(boxes, SAME_PLACE)
        boxes = _squared(_moved(boxes[kept], offsets[kept]))

        offsets, scores = self._judged(self.rnet, image, boxes, size=24)
        boxes, (offsets,) = _passed(boxes, image, scores, THRESHOLDS[1], offsets)
        kept = _apart(boxes, SAME_PLACE)
        boxes = _squared(_moved(boxes[kept], offsets[kept]))

        offsets, points, scores = self._judged(self.onet, image, boxes, size=48)
        boxes, (offsets, points) = _passed(boxes, image, scores, THRESHOLDS[2], offsets, points)
        corners, sizes = boxes[:, :2], boxes[:, 2:4] - boxes[:, :2] + 1
        points = corners[:, None] + sizes[:, None] * points.reshape(-1, 2, 5).swapaxes(1, 2)
        boxes = _moved(boxes, offsets)
        kept = _apart(boxes, SAME_PLACE, method="Min")
        return boxes[kept], points[kept]

    def _windows(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Windows of the first network that may contain a face, at all sizes of the picture: boxes [n, 5], offsets [n, 4]."""
        found = [(np.empty((0, 5)), np.empty((0, 4)))]
        scale = WINDOW / MINIMUM
        while min(image.size) * scale > WINDOW:
            width, height = (math.ceil(side * scale) for side in image.size)
            offsets, scores = (x[0].cpu().numpy() for x in self.pnet(self._input([image], (width, height))))
            y, x = np.nonzero(scores[1] > THRESHOLDS[0])
            places = np.stack([x, y, x, y], 1) * STRIDE + 1.0 + [0, 0, WINDOW, WINDOW]
            boxes = np.column_stack([np.round(places / scale), scores[1, y, x]])
            kept = _apart(boxes, SAME_SIZE)
            found.append((boxes[kept], offsets[:, y, x].T[kept]))
            scale *= PYRAMID
        boxes, offsets = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return boxes, offsets

    def _judged(self, network: nn.Module, image: Image.Image, boxes: np.ndarray, *, size: int) -> list[np.ndarray]:
        """The outputs of a network for the boxes; the picture is black beyond its border. The last is the probability [n]."""
        if not len(boxes):
            boxes = np.zeros((1, 5))  # the networks fail on an empty batch; the outputs for this box are dropped
        patches = [image.crop((int(x1), int(y1), int(x2) + 1, int(y2) + 1)) for x1, y1, x2, y2, _ in boxes]
        *others, scores = (x.cpu().numpy() for x in network(self._input(patches, (size, size))))
        return [*others, scores[:, 1]]

    def _input(self, images: list[Image.Image], size: tuple[int, int]) -> Tensor:
        """Pillow images -> the networks' input [N, 3, height, width]; ``size`` is (width, height)."""
        pictures = np.stack([np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32) for image in images])
        device = next(self.parameters()).device
        return (torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2) - 127.5) * 0.0078125


def _passed(
    boxes: np.ndarray, image: Image.Image, scores: np.ndarray, threshold: float, *others: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Boxes above the threshold with their new probabilities, clipped to the picture as in the script, and their outputs."""
    count = len(boxes)
    good = np.nonzero(scores[:count] > threshold)[0]
    right, bottom = image.size[0] - 1, image.size[1] - 1
    left_top, right_bottom = np.maximum(boxes[good, :2], 0), np.minimum(boxes[good, 2:4], [right, bottom])
    return np.column_stack([left_top, right_bottom, scores[good]]), [other[good] for other in others]


def _moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Boxes [n, 5] moved by offsets [n, 4], which are shares of their width and height."""
    sizes = boxes[:, 2:4] - boxes[:, :2] + 1
    return np.column_stack([boxes[:, :4] + np.tile(sizes, 2) * offsets, boxes[:, 4]])


def _squared(boxes: np.ndarray) -> np.ndarray:
    """Boxes [n, 5] made square about their centre, in whole pixels."""
    sizes = boxes[:, 2:4] - boxes[:, :2] + 1
    side = sizes.max(1, keepdims=True)
    corners = boxes[:, :2] + sizes * 0.5 - side * 0.5
    return np.column_stack([np.round(corners), np.round(corners + side - 1), boxes[:, 4]])


def _apart(boxes: np.ndarray, overlap: float, *, method: str = "Union") -> np.ndarray:
    """Non-maximum suppression: indices of boxes that overlap no more probable one by more than ``overlap``, best first."""
    if not len(boxes):
        return np.empty(0, np.int64)
    return nms_numpy(boxes[:, :4], boxes[:, 4], overlap, method).astype(np.int64)
