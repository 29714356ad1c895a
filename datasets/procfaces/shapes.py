"""Antialiased shapes and the canvas on which they are painted.

Per-pixel work is float32 and uses only + - * / sqrt abs minimum maximum, whose rounding IEEE 754 defines exactly, so every
machine makes the same bytes. Shape parameters are [N,1,1] (or anything that broadcasts to [N,h,w]).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SIZE = 64
Colour = tuple[np.ndarray, np.ndarray, np.ndarray]  # red, green, blue in [0, 1], each [N,1,1]


class Window(NamedTuple):
    """A part of the picture, in pixels: rows top..bottom and columns left..right, ends excluded."""

    top: int
    bottom: int
    left: int = 0
    right: int = SIZE

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixel centres: x float32 [1,1,w] and y float32 [1,h,1]."""
        x = np.arange(self.left, self.right, dtype=np.float32) + np.float32(0.5)
        y = np.arange(self.top, self.bottom, dtype=np.float32) + np.float32(0.5)
        return x[None, None, :], y[None, :, None]


FULL = Window(0, SIZE)


class Canvas:
    """Premultiplied colour [3,N,H,W], coverage [N,H,W] and labels [N,H,W] of a batch of pictures."""

    def __init__(self, n: int) -> None:
        self.rgb = np.zeros((3, n, SIZE, SIZE), np.float32)
        self.coverage = np.zeros((n, SIZE, SIZE), np.float32)
        self.labels = np.zeros((n, SIZE, SIZE), np.uint8)

    def paint(
        self, alpha: np.ndarray, colour: Colour, window: Window, *, label: int | None = None, solid: bool = False
    ) -> None:
        """Lay `colour` over the window with opacity alpha [N,h,w]. `solid` shapes hide the background; others lie on the
        solid ones only and never reach beyond them. Pixels that are at least half covered take the label.
        """
        part = (slice(None), slice(window.top, window.bottom), slice(window.left, window.right))
        covered = self.coverage[part]
        for plane, value in zip(self.rgb, colour):
            view = plane[part]
            view += alpha * ((value if solid else value * covered) - view)
        if solid:
            covered += alpha * (np.float32(1) - covered)
        if label is not None:
            np.copyto(self.labels[part], np.uint8(label), where=alpha >= np.float32(0.5))


def f32(value: np.ndarray | float) -> np.ndarray:
    """``value`` as a float32 array."""
    return np.asarray(value, np.float32)


def cover(distance: np.ndarray, soft: float = 1.0) -> np.ndarray:
    """Coverage in [0, 1] of a signed distance in pixels; the edge is `soft` pixels wide."""
    if soft != 1.0:
        distance = distance * np.float32(1.0 / soft)
    return np.clip(np.float32(0.5) - distance, np.float32(0), np.float32(1))


def ellipse(x, y, cx, cy, rx, ry) -> np.ndarray:
    """Signed distance to an ellipse, first order (implicit function over its gradient): exact at the edge, negative inside.

    rx and ry may vary by row, which makes eggs and jaws of it.
    """
    dx, dy, ix, iy = x - f32(cx), y - f32(cy), np.float32(1) / f32(rx), np.float32(1) / f32(ry)
    ax, ay = dx * ix, dy * iy
    gx, gy = ax * ix, ay * iy
    value = ax * ax + ay * ay
    slope = np.sqrt(gx * gx + gy * gy)
    return (value - np.float32(1)) / (slope + slope + np.float32(1e-3))


def lens(along, across, centre, length, middle, bend, *, up, down, slope=0.0) -> np.ndarray:
    """Signed distance to a bent lens: the strip around a parabola that is thick in the middle and pointed at both ends.

    The parabola is across = middle + slope * t + bend * t^2 with t = (along - centre) / length, and the strip reaches
    `up` before and `down` behind it at t = 0. Lips, brows, wrinkles and lashes are lenses.
    """
    reach = along - f32(centre)
    t = np.clip(reach / f32(length), np.float32(-1), np.float32(1))
    fall = np.float32(1) - t * t
    half = f32((np.asarray(up) + down) * 0.5)
    curve = f32(middle) + (f32(slope) + f32(bend) * t) * t + f32((np.asarray(down) - up) * 0.5) * fall
    steep = (f32(slope) + (f32(bend) + f32(bend)) * t) / f32(length)
    scale = np.float32(1) / np.sqrt(np.float32(1) + steep * steep)
    return np.maximum((np.abs(across - curve) - half * fall) * scale, np.abs(reach) - f32(length))
