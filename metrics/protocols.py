"""Protocols: how pictures become metric input, up to the last resize.

A metric's id names its protocol, ``mse@psp256``. A change of recipe gets a new id; an id never changes its meaning. Values
under two protocols must not be compared: MSE at 256 x 256 is not MSE at 1024 x 1024 (see the sources below).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from invbench.api import InvbenchError
from invbench.metrics.common import network

PROTOCOLS = [
    {
        "id": "native",
        "class": "Native",
        "title": "The saved 8-bit picture at its own size",
        "recipe": "uint8 PNG, not resized; [-1, 1]",
        "source": "this harness",
    },
    {
        "id": "psp256",
        "class": "Psp256",
        "title": "Saved files at 256 x 256, as the pSp family measures",
        "recipe": "uint8 PNG; Pillow bilinear with antialiasing to 256 x 256, cars too, which are squeezed; uint8; [-1, 1]",
        "source": "scripts/calc_losses_on_images.py of eladrich/pixel2style2pixel, omertov/encoder4editing,"
        " yuval-alaluf/restyle-encoder and VinAIResearch/HyperInverter",
    },
    {
        "id": "e4e_cars",
        "class": "E4eCars",
        "title": "Saved files at 256 wide and 192 high, as e4e measures cars",
        "recipe": "uint8 PNG; Pillow bilinear with antialiasing to 256 wide and 192 high; uint8; [-1, 1]",
        "source": "omertov/encoder4editing: scripts/calc_losses_on_images.py, the transform of its cars",
    },
    {
        "id": "hyperinverter1024",
        "class": "HyperInverter1024",
        "title": "Saved files at 1024 x 1024, for the PSNR and MS-SSIM of HyperInverter on faces",
        "recipe": "uint8 PNG; Pillow's default filter (bicubic since Pillow 7) to 1024 x 1024; uint8; [-1, 1]",
        "source": "VinAIResearch/HyperInverter: scripts/other_metrics.py with its default size",
    },
    {
        "id": "hyperinverter256",
        "class": "HyperInverter256",
        "title": "Saved files at 256 x 256, for the PSNR and MS-SSIM of HyperInverter on churches",
        "recipe": "uint8 PNG; Pillow's default filter (bicubic since Pillow 7) to 256 x 256; uint8; [-1, 1]",
        "source": "VinAIResearch/HyperInverter: scripts/other_metrics.py at 256 x 256",
    },
    {
        "id": "ganinverter256",
        "class": "GANInverter256",
        "title": "Originals and results resized in two ways to 256 x 256, as GANInverter measures",
        "recipe": "original: uint8; Pillow bilinear with antialiasing to 256 x 256; uint8; [-1, 1]. Result: uint8; [-1, 1];"
        " torchvision's antialiased bilinear resize of the float tensor to 256 x 256, not quantised again. The script cuts"
        " results to uint8 where the pictures of this harness are rounded",
        "source": "caopulan/GANInverter: scripts/test.py",
    },
    {
        "id": "inception_uint8",
        "class": "Native",
        "title": "The saved 8-bit picture, which the feature extractor resizes itself",
        "recipe": "uint8 PNG, not resized; the extractor takes the uint8 values back from [-1, 1] and applies its own resize",
        "source": "toshas/torch-fidelity on folders of PNG files, as VinAIResearch/HyperInverter calls it",
    },
    {
        "id": "mtcnn112",
        "class": "Mtcnn112",
        "title": "The face found by MTCNN, aligned to 112 x 112",
        "recipe": "uint8 PNG at its own size; MTCNN as the script runs it (thresholds 0.15, 0.25, 0.35, smallest face 20"
        " pixels); the most probable face; similarity transform of its five points to 112 x 112, bilinear without antialiasing;"
        " uint8; [-1, 1]. A picture without a face is not covered",
        "source": "eladrich/pixel2style2pixel: scripts/calc_id_loss_parallel.py, which its followers share",
        "roles": ["face_detector"],
    },
]

FACE = 112  # pixels


class Native:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W] in [-1, 1] on the networks' device: p / 127.5 - 1."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.device = getattr(networks, "device", None)

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        return as_images(pictures, self.device)


class Psp256:
    """Pillow's bilinear filter to ``height`` x ``width``, uint8 to uint8, then [-1, 1] -> float32 [N, 3, height, width]."""

    height = width = 256
    filter = Image.Resampling.BILINEAR

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.device = getattr(networks, "device", None)

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        return as_images(resize(pictures, height=self.height, width=self.width, filter=self.filter), self.device)


class E4eCars(Psp256):
    """As :class:`Psp256`, to 192 x 256 pixels (height x width)."""

    height = 192


class HyperInverter1024(Psp256):
    """As :class:`Psp256`, by Pillow's bicubic filter to 1024 x 1024 pixels."""

    height = width = 1024
    filter = Image.Resampling.BICUBIC


class HyperInverter256(Psp256):
    """As :class:`Psp256`, by Pillow's bicubic filter."""

    filter = Image.Resampling.BICUBIC


class GANInverter256:
    """Originals as :class:`Psp256`, outputs by antialiased bilinear resize of the float tensor -> float32 [N, 3, 256, 256]."""

    side = 256

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.device = getattr(networks, "device", None)

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        if original:
            resized = resize(pictures, height=self.side, width=self.side, filter=Image.Resampling.BILINEAR)
            return as_images(resized, self.device)
        images = as_images(pictures, self.device)
        if images.shape[-2:] == (self.side, self.side):
            return images
        size = (self.side, self.side)
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


class Mtcnn112:
    """Faces as the network in the role finds and aligns them -> float32 [N, 3, 112, 112] in [-1, 1]; NaN if it finds none.

    The network has ``align(pictures)`` for uint8 [N, H, W, 3]. Raises InvbenchError if its output has another shape.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.detector = network(networks, "face_detector", "mtcnn112", kind="protocol")

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        faces = self.detector.align(pictures)
        expected = (len(pictures), 3, FACE, FACE)
        if tuple(faces.shape) != expected:
            raise InvbenchError(f"protocol 'mtcnn112': expected aligned faces {expected}, found shape {tuple(faces.shape)}")
        return faces


def as_images(pictures: np.ndarray, device: torch.device | None = None) -> Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W] in [-1, 1]. Raises InvbenchError for another type or shape."""
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise InvbenchError(f"pictures: expected uint8 [N, H, W, 3], found {pictures.dtype} {pictures.shape}")
    levels = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return levels.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)


def resize(pictures: np.ndarray, *, height: int, width: int, filter: Image.Resampling) -> np.ndarray:
    """uint8 [N, H, W, 3] -> uint8 [N, height, width, 3], by Pillow; the same array if it has that size already."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    return np.stack([np.asarray(Image.fromarray(picture).resize((width, height), filter)) for picture in pictures])
