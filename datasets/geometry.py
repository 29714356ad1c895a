"""From a stored picture to the picture of a sample: resize or crop by Pillow, on uint8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from invbench.api import InvbenchError

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}
FITS = ("exact", "squeeze", "crop", "lsun_wide")


@dataclass(frozen=True)
class Geometry:
    """The size, and the resize or crop, of every picture of a dataset.

    height, width  pixels
    fit            "exact"      the stored picture has this size already; any other is an error
                   "squeeze"    resized without keeping the aspect (eladrich/pixel2style2pixel, omertov/encoder4editing)
                   "crop"       the largest centred part of this aspect, resized (projector of NVlabs/stylegan2-ada-pytorch,
                                ``create_lsun`` of NVlabs/stylegan2; both for squares)
                   "lsun_wide"  the middle rows, resized (``create_lsun_wide`` of NVlabs/stylegan2): of a picture of H x W
                                stay ``round(width * H / W)`` rows and all columns; a picture narrower than ``width``, or
                                with fewer such rows than ``height``, is an error, as that tool leaves it out
    filter         "bilinear" or "lanczos", both antialiased as Pillow does
    """

    height: int
    width: int
    fit: str = "exact"
    filter: str = "lanczos"

    def __post_init__(self) -> None:
        if self.fit not in FITS or self.filter not in FILTERS:
            raise InvbenchError(f"geometry: expected a fit of {FITS} and a filter of {tuple(FILTERS)}, found {self}")
        if min(self.height, self.width) < 1:
            raise InvbenchError(f"geometry: expected positive sizes, found {self}")

    def apply(self, picture: np.ndarray, where: object) -> np.ndarray:
        """uint8 [H, W, 3] -> uint8 [height, width, 3].

        Raises InvbenchError naming ``where`` for a picture that the fit does not accept.
        """
        height, width = picture.shape[:2]
        if self.fit == "exact" and (height, width) != (self.height, self.width):
            raise InvbenchError(f"{where}: expected a picture of {self.width}x{self.height}, found {width}x{height}")
        if self.fit == "crop":
            picture = self._middle(picture)
        if self.fit == "lsun_wide":
            picture = self._rows(picture, where)
        if picture.shape[:2] != (self.height, self.width):
            image = Image.fromarray(np.ascontiguousarray(picture))
            picture = np.array(image.resize((self.width, self.height), FILTERS[self.filter]))
        return picture

    def takes(self, height: int, width: int) -> bool:
        """Whether the fit accepts a stored picture of this size."""
        if self.fit == "lsun_wide":
            return width >= self.width and round(self.width * height / width) >= self.height
        return self.fit != "exact" or (height, width) == (self.height, self.width)

    def _middle(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        rows = min(height, round(width * self.height / self.width))
        columns = min(width, round(height * self.width / self.height))
        top, left = (height - rows) // 2, (width - columns) // 2
        return picture[top : top + max(rows, 1), left : left + max(columns, 1)]

    def _rows(self, picture: np.ndarray, where: object) -> np.ndarray:
        height, width = picture.shape[:2]
        if not self.takes(height, width):
            least = f"at least {self.width} columns and, scaled to that width, {self.height} rows"
            raise InvbenchError(f"{where}: expected {least}, found {width}x{height}")
        rows = round(self.width * height / width)
        return picture[(height - rows) // 2 : (height + rows) // 2]


def reduced(stored: int, size: int) -> Geometry:
    """Of square pictures that are stored with ``stored`` pixels a side: as they are, or reduced to ``size``, bilinear."""
    return Geometry(size, size, "exact" if size == stored else "squeeze", "bilinear")
