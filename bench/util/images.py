"""Between float images in [-1, 1] and the uint8 pictures that are stored and scored."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from invbench.api import InvbenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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
    """The picture that :func:`encode_png` wrote, bit for bit. Raises InvbenchError when it is missing or broken."""
    try:
        with Image.open(path) as image:
            return np.array(image)
    except FileNotFoundError:
        raise InvbenchError(f"{path}: expected a picture of the run, found no file") from None
    except (OSError, SyntaxError) as error:
        raise InvbenchError(f"{path}: expected a PNG picture, found something unreadable: {error}") from error
