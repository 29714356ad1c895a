"""The crop of FFHQ (``recreate_aligned_images`` of NVlabs/ffhq-dataset), from five points of a face.

That tool takes the eyes' centres and the corners of the mouth from dlib's 68 points; here they are the points of a five-point
detector, so the crop differs by the detectors' disagreement, a few per cent of the distance between the eyes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from invbench.api import InvbenchError

SUPERSAMPLING = 4  # the crop is drawn this many times larger, then reduced


class FaceCrop:
    """Crops faces from photographs as squares of ``size`` pixels.

    The square is turned with the eyes, centred a tenth of the way from eyes to mouth, and its half side is the larger of twice
    the distance between the eyes and 1.8 times that from eyes to mouth. What lies beyond the photograph is its reflection,
    blurred and faded to the median colour with the distance.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def corners(self, points: np.ndarray) -> np.ndarray:
        """Points [5, 2] as (x, y) in pixels: left eye, right eye, nose, left and right corner of the mouth, as they are seen.

        Returns the square's corners [4, 2], float64: upper left, lower left, lower right, upper right.
        Raises InvbenchError for points that define no square.
        """
        points = np.asarray(points, np.float64)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise InvbenchError(f"points: expected five finite (x, y), found {points.tolist()}")
        eyes, mouth = points[0:2].mean(axis=0), points[3:5].mean(axis=0)
        across, down = points[1] - points[0], mouth - eyes
        x = across - _turned(down)
        if not np.hypot(*x) > 0:
            raise InvbenchError(f"points: expected the eyes above the mouth, found {points.tolist()}")
        x *= max(2 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
        y, centre = _turned(x), eyes + 0.1 * down
        return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])

    def cut(self, picture: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """A photograph uint8 [H, W, 3] and the corners of a square in it -> uint8 [size, size, 3]."""
        image, corners = Image.fromarray(picture), corners.copy()
        side = float(np.hypot(*(corners[3] - corners[0])))
        shrink = int(side / self.size * 0.5)
        if shrink > 1:
            image = image.resize((round(image.width / shrink), round(image.height / shrink)), Image.Resampling.LANCZOS)
            corners, side = corners / shrink, side / shrink  # as in that tool; half a pixel less would be exact
        border = max(round(side * 0.1), 3)
        image, corners = _trimmed(image, corners, border)
        image, corners = _padded(image, corners, border, side)
        large = self.size * SUPERSAMPLING
        data = tuple(float(value) for value in (corners + 0.5).ravel())  # Pillow counts from a pixel's corner
        turned = image.transform((large, large), Image.Transform.QUAD, data, Image.Resampling.BILINEAR)
        return np.array(turned.resize((self.size, self.size), Image.Resampling.LANCZOS))


def _turned(vector: np.ndarray) -> np.ndarray:
    """The vector turned by a right angle, clockwise on screen (y points down)."""
    return np.array([-vector[1], vector[0]])


def _bounds(corners: np.ndarray) -> tuple[int, int, int, int]:
    left, top = np.floor(corners.min(axis=0)).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _trimmed(image: Image.Image, corners: np.ndarray, border: int) -> tuple[Image.Image, np.ndarray]:
    """The part of the photograph around the square."""
    left, top, right, bottom = _bounds(corners)
    box = (
        max(left - border, 0),
        max(top - border, 0),
        min(right + border, image.width),
        min(bottom + border, image.height),
    )
    if box[0] >= box[2] or box[1] >= box[3]:
        raise InvbenchError(f"the face lies outside of the picture: {corners.round().tolist()}")
    return image.crop(box), corners - np.array(box[:2])


def _padded(image: Image.Image, corners: np.ndarray, border: int, side: float) -> tuple[Image.Image, np.ndarray]:
    """The photograph extended beyond its edges if the square reaches over them."""
    from scipy.ndimage import gaussian_filter  # takes a while to import

    left, top, right, bottom = _bounds(corners)
    needed = (-left, -top, right - image.width, bottom - image.height)
    pad = [max(amount + border, 0) for amount in needed]
    if max(pad) <= border - 4:
        return image, corners
    pad = [max(amount, round(side * 0.3)) for amount in pad]
    levels = np.pad(np.asarray(image, np.float32), ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect")
    height, width = levels.shape[:2]
    y, x = np.ogrid[:height, :width]
    # 1 at the outer edge, 0 where the photograph begins, negative within it
    beside = 1 - np.minimum(x / np.float32(pad[0]), (width - 1 - x) / np.float32(pad[2]))
    above = 1 - np.minimum(y / np.float32(pad[1]), (height - 1 - y) / np.float32(pad[3]))
    outside = np.maximum(beside, above)[..., None].astype(np.float32)
    blurred = gaussian_filter(levels, (side * 0.02, side * 0.02, 0))
    levels += (blurred - levels) * np.clip(outside * 3 + 1, 0, 1)
    levels += (np.median(levels, axis=(0, 1)) - levels) * np.clip(outside, 0, 1)
    return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8)), corners + np.array(pad[:2])
