"""MTCNN face detection (Zhang et al., 2016; timesler/facenet-pytorch), and the face crops that identity networks need.

The weights are part of the facenet-pytorch package, so the network needs no file. It supports two recipes:

    align  as in ``calc_id_loss_parallel.py`` of eladrich/pixel2style2pixel, see invbench.metrics.nets.mtcnn_psp: the most
    probable face, its five points aligned with the template of 112 px
    crop   as in facenet-pytorch: the largest face, its box cropped and resized to 160 px
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch import extract_face
from facenet_pytorch.models.mtcnn import PNet
from facenet_pytorch.models.utils.detect_face import detect_face
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.metrics.nets.mtcnn_psp import MINIMUM, PspCascade

THRESHOLDS, PYRAMID = (0.6, 0.7, 0.7), 0.709  # the defaults of facenet-pytorch
CROP = 160
FACE = 112
TEMPLATE = (
    (38.29459953, 51.69630051),
    (73.53179932, 51.50139999),
    (56.02519989, 71.73660278),
    (41.54930115, 92.3655014),
    (70.72990036, 92.20410156),
)
"""(x, y) of eyes, nose and corners of the mouth in aligned faces of 112 px; left means left in the picture."""


@dataclass(frozen=True)
class Faces:
    """The K faces found in one picture, the most probable first. Coordinates are (x, y) in pixels, float64.

    boxes          [K, 4]: left, top, right, bottom; they may extend beyond the picture
    probabilities  [K]
    points         [K, 5, 2] in the order of TEMPLATE
    """

    boxes: np.ndarray
    probabilities: np.ndarray
    points: np.ndarray


class FaceDetector(nn.Module):
    """Finds faces in uint8 pictures [N, H, W, 3]. The faces of a picture do not depend on the other pictures of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cascade = PspCascade()
        self.pnet = PNet()

    def align(self, pictures: np.ndarray) -> Tensor:
        """Pictures uint8 [N, H, W, 3] -> the most probable face of each, float32 [N, 3, 112, 112] in [-1, 1].

        A similarity transform aligns its five points with the template; sampled bilinearly without antialiasing, black beyond
        the border, rounded to 8 bits. All NaN for a picture without a face. Raises ValueError on another shape or type.
        """
        faces = torch.full((len(_checked(pictures)), 3, FACE, FACE), torch.nan)
        for number, picture in enumerate(pictures):
            _, points = self.cascade(picture)
            if len(points):
                faces[number] = aligned(picture, points[0])
        return faces.to(self._device())

    def crop(self, pictures: np.ndarray) -> Tensor:
        """Pictures uint8 [N, H, W, 3] -> the largest face of each, float32 [N, 3, 160, 160] in [-1, 1].

        The box is cropped without margin and resized by Pillow (bilinear). All NaN for a picture without a face.
        Raises ValueError on another shape or type.
        """
        faces = torch.full((len(_checked(pictures)), 3, CROP, CROP), torch.nan)
        for number, (picture, found) in enumerate(zip(pictures, self.landmarks(pictures), strict=True)):
            if len(found.boxes):
                left, top, right, bottom = found.boxes.T
                largest = found.boxes[((right - left) * (bottom - top)).argmax()]
                faces[number] = extract_face(Image.fromarray(picture), largest, image_size=CROP) / 127.5 - 1
        return faces.to(self._device())

    def landmarks(self, pictures: np.ndarray) -> list[Faces]:
        """All faces of at least 20 px in each picture uint8 [N, H, W, 3], found by facenet-pytorch with its default thresholds.

        Raises ValueError on another shape or type.
        """
        return [self._find(picture) for picture in _checked(pictures)]

    @torch.inference_mode()
    def _find(self, picture: np.ndarray) -> Faces:
        if min(picture.shape[:2]) < MINIMUM:  # the library fails if the pyramid has no size
            return Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
        networks = (self.pnet, self.cascade.rnet, self.cascade.onet)
        boxes, points = detect_face(picture[None], MINIMUM, *networks, THRESHOLDS, PYRAMID, self._device())
        found = np.asarray(boxes[0], np.float64).reshape(-1, 5)
        order = np.argsort(-found[:, 4], kind="stable")
        return Faces(found[order, :4], found[order, 4], np.asarray(points[0], np.float64).reshape(-1, 5, 2)[order])

    def _device(self) -> torch.device:
        return next(self.parameters()).device


def similarity(source: np.ndarray, destination: np.ndarray) -> tuple[complex, complex]:
    """Rotation and scale ``a`` and shift ``b`` that bring a z + b nearest to the destination, z = x + iy of the source.

    Least squares over points [K, 2], without reflection.
    """
    z, w = (points[:, 0] + 1j * points[:, 1] for points in (source, destination))
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    return complex(a), complex(w.mean() - a * z.mean())


def aligned(picture: np.ndarray, points: np.ndarray) -> Tensor:
    """The face with these five points [5, 2] in a picture uint8 [H, W, 3] -> float32 [3, 112, 112] in [-1, 1].

    The transform is fitted in the picture's pixels, from the template to the points, as in the Matlab routine that the public
    code follows; the opposite direction gives a slightly smaller face if the points do not fit exactly.
    """
    a, b = similarity(np.array(TEMPLATE), points)
    y, x = np.mgrid[:FACE, :FACE]
    places = a * (x + 1j * y) + b
    height, width = picture.shape[:2]
    # The centres of a picture's first and last pixel are at -1 and 1.
    grid = torch.from_numpy(np.stack([places.real / (width - 1), places.imag / (height - 1)], -1) * 2 - 1)
    levels = torch.from_numpy(np.array(picture, order="C")).permute(2, 0, 1).double()
    face = F.grid_sample(levels[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=True)[0]
    return (face.round() / 127.5 - 1).float()


def _checked(pictures: np.ndarray) -> np.ndarray:
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8:
        raise ValueError(f"pictures: expected uint8 [N, H, W, 3], found {pictures.dtype} {list(pictures.shape)}")
    return pictures
