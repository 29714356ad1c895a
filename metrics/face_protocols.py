"""Protocols for networks that need a special crop of the face; ``mtcnn112`` is in :mod:`invbench.metrics.protocols`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import functional as transforms

from invbench.metrics.common import network
from invbench.metrics.nets.arcface import COLUMNS, ROWS, WHOLE
from invbench.metrics.nets.irse import FACE
from invbench.metrics.protocols import as_images

PROTOCOLS = [
    {
        "id": "irse_crop112",
        "class": "IrseCrop112",
        "title": "The fixed crop of the pSp family's identity loss",
        "recipe": "uint8 PNG; [-1, 1]; area-averaged to 256 x 256; rows 35 to 222, columns 32 to 219; area-averaged to"
        " 112 x 112; no detector: the pictures must be aligned as FFHQ's, and every one is covered",
        "source": "eladrich/pixel2style2pixel: criteria/id_loss.py, which its followers share",
    },
    {
        "id": "facenet160",
        "class": "Facenet160",
        "title": "The largest face found by MTCNN, its box at 160 x 160",
        "recipe": "uint8 PNG at its own size; facenet-pytorch's MTCNN (thresholds 0.6, 0.7, 0.7, smallest face 20 pixels); the"
        " largest face, its box without margin; Pillow bilinear to 160 x 160; [-1, 1]. A picture without a face is not covered",
        "source": "timesler/facenet-pytorch: MTCNN with its default arguments",
        "roles": ["face_detector"],
    },
    {
        "id": "hopenet224",
        "class": "Hopenet224",
        "title": "The whole picture at 224 x 224, for head poses",
        "recipe": "uint8 PNG; Pillow bilinear with antialiasing to a shorter side of 224; the middle 224 x 224; uint8; [-1, 1];"
        " no detector: the pictures must be aligned as FFHQ's, and every one is covered",
        "source": "natanielruiz/deep-head-pose: the transform of code/test_hopenet.py, not its crop around annotated points",
    },
]

POSE = 224  # pixels


class IrseCrop112:
    """Whole pictures uint8 [N, H, W, 3] -> the middle of the face, float32 [N, 3, 112, 112] in [-1, 1]."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.device = getattr(networks, "device", None)

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        images = F.adaptive_avg_pool2d(as_images(pictures, self.device), WHOLE)
        return F.adaptive_avg_pool2d(images[:, :, ROWS, COLUMNS], FACE)


class Facenet160:
    """Faces as the network in the role finds and crops them -> float32 [N, 3, 160, 160] in [-1, 1]; NaN if it finds none.

    The network has ``crop(pictures)`` on uint8 [N, H, W, 3].
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.detector = network(networks, "face_detector", "facenet160", kind="protocol")

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        return self.detector.crop(pictures)


class Hopenet224:
    """Pictures uint8 [N, H, W, 3] -> their middle square at 224 x 224, float32 [N, 3, 224, 224] in [-1, 1]."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.device = getattr(networks, "device", None)

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        resized = (transforms.resize(Image.fromarray(picture), [POSE]) for picture in pictures)
        return as_images(np.stack([np.asarray(transforms.center_crop(one, [POSE])) for one in resized]), self.device)
