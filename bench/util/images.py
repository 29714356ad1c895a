"""Conversion between float images in [-1, 1] and the uint8 pictures that are stored and scored, and their PNG files."""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from invbench.api import InvbenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_PIXELS = 100_000_000  # of a picture of a run; the limit for pictures of datasets is the same (datasets/decode.py)
SLACK = 2**16  # bytes of a PNG file beside four a pixel


def quantise(images: Tensor) -> np.ndarray:
    """Float images [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C]: round((x + 1) * 127.5), clamped to 0..255.

    Halves are rounded to even, as in IEEE 754. Raises ValueError if a value is not finite.
    """
    if not bool(images.isfinite().all()):
        raise ValueError("output is not finite")
    levels = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255)
    return levels.byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def dequantise(pictures: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 pictures [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1]: p / 127.5 - 1. Raises ValueError for other input."""
    import torch

    if pictures.dtype != np.uint8 or pictures.ndim != 4:
        raise ValueError(f"pictures: expected uint8 [N, H, W, C], found {pictures.dtype} {pictures.shape}")
    levels = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return levels.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def encode_png(picture: np.ndarray) -> bytes:
    """The PNG bytes of a uint8 picture, [H, W, 3] as RGB or [H, W] as grey."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def read_png(path: Path, *, most: int = MOST_PIXELS) -> np.ndarray:
    """Read a picture that :func:`encode_png` wrote, without loss: uint8 [H, W, 3] or [H, W].

    Raises InvbenchError if the file is missing, damaged, not a PNG in RGB or grey, or has more than ``most`` pixels.
    """
    try:
        with warnings.catch_warnings():  # Pillow warns about very large files; the check of the size below replaces it
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            data = png_bytes(path, most=most)
            opened = Image.open(io.BytesIO(data), formats=["PNG"])
        with opened as image:
            if image.width * image.height > most or image.mode not in ("RGB", "L"):
                found = f"{image.mode} of {image.width}x{image.height}"
                raise InvbenchError(f"{path}: expected a PNG picture (RGB or L) of at most {most} pixels, found {found}")
            picture = np.array(image)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.verify()  # the checksums of the chunks that decoding leaves alone
        return picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvbenchError(f"{path}: expected a PNG picture, found something unreadable: {error}") from error


def png_bytes(path: Path, *, most: int = MOST_PIXELS) -> bytes:
    """The bytes of a PNG file of a run. Raises InvbenchError if it is no file, no PNG, or too long for ``most`` pixels."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a FIFO would block
            raise InvbenchError(f"{path}: expected a PNG picture, found no regular file")
        if found.st_size > (longest := 4 * most + SLACK):
            raise InvbenchError(f"{path}: expected a PNG picture of at most {longest} bytes, found {found.st_size}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvbenchError(f"{path}: expected a picture of the run, found no file") from None
    except OSError as error:
        raise InvbenchError(f"{path}: expected a PNG picture, found something unreadable: {error}") from error
    if not data.startswith(SIGNATURE):
        raise InvbenchError(f"{path}: expected a PNG picture, found something unreadable: no PNG signature")
    return data
