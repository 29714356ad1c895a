"""Between float images in [-1, 1] and the uint8 pictures that are stored and scored."""

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
MOST_PIXELS = 100_000_000  # of a picture that a run has written: as many as it reads (datasets/decode.py)
MOST_BYTES = 4 * MOST_PIXELS


def quantise(images: Tensor) -> np.ndarray:
    """Float images [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C]: round((x + 1) * 127.5), clamped to 0..255.

    Halves go to the even number, as IEEE rounding does. Raises ValueError when a value is not finite.
    """
    if not bool(images.isfinite().all()):
        raise ValueError("output is not finite")
    levels = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255)
    return levels.byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def dequantise(pictures: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 pictures [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1]: p / 127.5 - 1."""
    import torch

    if pictures.dtype != np.uint8 or pictures.ndim != 4:
        raise ValueError(f"pictures: expected uint8 [N, H, W, C], found {pictures.dtype} {pictures.shape}")
    levels = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return levels.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def encode_png(picture: np.ndarray) -> bytes:
    """PNG bytes of a uint8 picture, [H, W, 3] as RGB or [H, W] as grey."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def read_png(path: Path) -> np.ndarray:
    """The picture that :func:`encode_png` wrote, bit for bit: uint8 [H, W, 3] or [H, W].

    Raises InvbenchError when it is missing, broken, no PNG of RGB or grey, or larger than any that a run writes.
    """
    try:
        with warnings.catch_warnings():  # Pillow warns of giant files; the size below decides instead
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(png_bytes(path)), formats=["PNG"])
        with opened as image:
            if image.width * image.height > MOST_PIXELS or image.mode not in ("RGB", "L"):
                found = f"{image.mode} of {image.width}x{image.height}"
                raise InvbenchError(f"{path}: expected a PNG picture (RGB or L) of at most {MOST_PIXELS} pixels, found {found}")
            return np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvbenchError(f"{path}: expected a PNG picture, found something unreadable: {error}") from error


def png_bytes(path: Path) -> bytes:
    """The bytes of a PNG file of a run; InvbenchError for what is no file, no PNG, or longer than any that a run writes."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a FIFO would wait for ever
            raise InvbenchError(f"{path}: expected a PNG picture, found something that is no file")
        if found.st_size > MOST_BYTES:
            raise InvbenchError(f"{path}: expected a PNG picture of at most {MOST_BYTES} bytes, found {found.st_size}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvbenchError(f"{path}: expected a picture of the run, found no file") from None
    except OSError as error:
        raise InvbenchError(f"{path}: expected a PNG picture, found something unreadable: {error}") from error
    if not data.startswith(SIGNATURE):
        raise InvbenchError(f"{path}: expected a PNG picture, found something unreadable: no PNG signature")
    return data


def is_whole(path: Path) -> bool:
    """Whether a file is a PNG picture as a run writes it, with the checksums of all its chunks right."""
    try:
        read_png(path)
        with Image.open(io.BytesIO(png_bytes(path)), formats=["PNG"]) as image:
            image.verify()
    except (InvbenchError, OSError, SyntaxError, ValueError):
        return False
    return True
