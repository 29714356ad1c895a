"""Any image file -> uint8 RGB picture, or one clear error."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from invbench.api import InvbenchError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")  # no format whose decoder starts another program
MAX_PIXELS = 100_000_000
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def decode(path: Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the first frame of an image file to uint8 [H, W, 3], RGB.

    The EXIF orientation is applied. Grey is repeated to three channels; palettes are looked up; CMYK is converted by the
    plain formula (colour profiles are ignored, as in the published protocols); of 16 bits the upper 8 are kept; transparent
    pixels are blended with white. Raises InvbenchError naming the file if it is missing, corrupt, truncated, of another
    format or mode (32-bit integers, floats), or has more than ``max_pixels``.
    """
    return decode_bytes(read_bytes(path), path, max_pixels=max_pixels)


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file. Raises InvbenchError naming it if it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InvbenchError(f"{path}: expected an image, found no file") from None
    except OSError as error:
        raise InvbenchError(f"{path}: cannot be read: {error.strerror or error}") from error


def decode_bytes(data: bytes, where: object, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """As :func:`decode`, from bytes in memory; ``where`` names them in errors."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of giant files; the size check below decides instead.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(where, image, max_pixels)
                image.load()
                return np.ascontiguousarray(_to_rgb(where, ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise InvbenchError(f"{where}: expected an image ({', '.join(FORMATS)}), found something else") from None
    except Image.DecompressionBombError as error:
        raise InvbenchError(f"{where}: expected at most {max_pixels} pixels: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        # Pillow's decoders raise all of these for bytes that are not what their header says
        raise InvbenchError(f"{where}: the image is corrupt or truncated: {error}") from error


def stored_size(data: bytes, where: object) -> tuple[int, int, str]:
    """(height, width, format) from an image's header, before any EXIF rotation. Raises InvbenchError if there is none."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.height, image.width, image.format or ""
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, Image.DecompressionBombError) as error:
        raise InvbenchError(f"{where}: expected an image ({', '.join(FORMATS)}): {error}") from error


def _check_size(where: object, image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise InvbenchError(f"{where}: expected at most {max_pixels} pixels, found {width}x{height}")


def _to_rgb(where: object, image: Image.Image) -> np.ndarray:
    if image.mode in SIXTEEN_BIT:
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise InvbenchError(f"{where}: expected 8 or 16 bits a channel, found mode {image.mode} (32 bits)")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)
    return np.asarray(image.convert("RGB"))
