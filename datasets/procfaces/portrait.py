"""Draws the in-domain portrait, back to front, from physical factor values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .shapes import FULL, Canvas, Colour, Window, cover, ellipse, f32, lens

PARSING_CLASSES: tuple[str, ...] = (
    "background", "skin", "left_eye", "right_eye", "left_brow", "right_brow", "nose",
    "lips", "inner_mouth", "hair", "ears", "neck", "cloth", "occluder",
)  # fmt: skip
LABEL = {name: i for i, name in enumerate(PARSING_CLASSES)}

EYE_Y = 28.5
SKULL_Y = 8.0
HEAD_Y = 31.0
SKIN = ((0.99, 0.86, 0.77), (0.93, 0.73, 0.58), (0.74, 0.52, 0.37), (0.46, 0.30, 0.21))
IRIS = ((0.30, 0.55, 0.90), (0.30, 0.68, 0.42), (0.78, 0.58, 0.20), (0.62, 0.28, 0.14))
LIPS = ((0.93, 0.66, 0.60), (0.86, 0.42, 0.42), (0.72, 0.12, 0.22))
HAIR = ((0.72, 0.66, 0.62), (0.95, 0.78, 0.42), (0.80, 0.48, 0.24), (0.84, 0.26, 0.12))
BACKGROUND = ((0.45, 0.62, 0.86), (0.50, 0.80, 0.72), (0.90, 0.84, 0.60), (0.90, 0.60, 0.52), (0.66, 0.54, 0.82))
CLOTHES = ((0.22, 0.36, 0.80), (0.20, 0.64, 0.42), (0.86, 0.70, 0.24), (0.84, 0.28, 0.26), (0.56, 0.30, 0.72))

Values = dict[str, np.ndarray]  # factor name -> float64 [N,1,1], physical units


@dataclass(frozen=True)
class Head:
    """Where the head is and how it is turned; all [N,1,1]."""

    x: np.ndarray
    skull_x: np.ndarray
    half_width: np.ndarray
    chin: np.ndarray
    sin: np.ndarray
    cos: np.ndarray

    def project(self, lateral: np.ndarray | float, depth: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Picture column of a point at `lateral` half widths on the turned head, and the foreshortening of widths there."""
        front = _grid(np.sqrt(1.0 - np.square(lateral)))
        x = self.x + self.half_width * (lateral * self.cos + depth * front * self.sin)
        return x, _grid(np.maximum(self.cos - lateral / front * self.sin, 0.3))


def head_of(v: Values) -> Head:
    """The head of physical factor values; the drawn turn is 0.55 of the yaw, so that both eyes stay in sight."""
    angle = np.deg2rad(0.55 * v["yaw"])
    sin, cos = _grid(np.sin(angle)), _grid(np.cos(angle))
    return Head(32.0 + 4.0 * sin, 32.0 - 6.0 * sin, v["face_width"], v["face_height"], sin, cos)


def draw_portrait(v: Values) -> tuple[Canvas, np.ndarray]:
    """Draw N portraits. Returns the lit canvas (premultiplied) and the plain background, float32 [3,N,64,64] (broadcasts)."""
    canvas = Canvas(len(v["age"]))
    head = head_of(v)
    skin = _skin(v)
    hair = _hair_colour(v)
    shape = _head_distance(v, head)
    outline = _hair_outline(v, head)
    canvas.paint(cover(outline), _dim(hair, 0.8), FULL, label=LABEL["hair"], solid=True)
    _ears(canvas, v, head, skin)
    _neck_and_clothes(canvas, v, head, skin)
    canvas.paint(cover(shape), skin, FULL, label=LABEL["skin"], solid=True)
    _shade_rim(canvas, shape, skin)
    _cheeks(canvas, v, head)
    _wrinkles(canvas, v, head, skin)
    _nose(canvas, v, head, skin)
    _mouth(canvas, v, head)
    _fringe(canvas, v, head, hair, outline)
    for side in (-1, 1):
        _eye(canvas, v, head, side)
        _brow(canvas, v, head, side, hair)
    _light(canvas, v)
    return canvas, _background(v)


def mix(first: Colour, second: Colour, share: np.ndarray | float) -> Colour:
    """first where share = 0, second where share = 1; float32."""
    return tuple(f32(a + share * (np.asarray(b, np.float64) - a)) for a, b in zip(first, second))  # type: ignore[return-value]


def palette(stops: Sequence[tuple[float, float, float]], position: np.ndarray, gain: np.ndarray | float = 1.0) -> Colour:
    """Piecewise linear colour at `position` in [0, 1] of equally spaced stops, times `gain`."""
    place = position * (len(stops) - 1)
    weights = [np.clip(1.0 - np.abs(place - i), 0.0, 1.0) for i in range(len(stops))]
    return tuple(f32(gain * sum(w * stop[c] for w, stop in zip(weights, stops))) for c in range(3))  # type: ignore[return-value]


def _grid(value: np.ndarray) -> np.ndarray:
    return np.round(value * 4096.0) / 4096.0


def _plain(red: float, green: float, blue: float) -> Colour:
    return f32(red), f32(green), f32(blue)


def _dim(colour: Colour, gain: float) -> Colour:
    return tuple(np.float32(gain) * c for c in colour)  # type: ignore[return-value]


def _youth(v: Values) -> np.ndarray:
    """0 at 80 years, 1 at 15."""
    return (80.0 - v["age"]) / 65.0


def _skin(v: Values) -> Colour:
    red, green, blue = palette(SKIN, v["skin_tone"])
    warm = v["skin_warmth"]
    return f32(red * (1 - 0.03 * warm)), f32(green * (1 + 0.05 * warm)), f32(blue * (1 - 0.16 * warm))


def _hair_colour(v: Values) -> Colour:
    own = palette(HAIR, v["hair_hue"], v["hair_lightness"])
    grey = 1.0 - _youth(v)
    return mix(own, _plain(0.86, 0.86, 0.88), 0.65 * grey * grey)


def _head_distance(v: Values, head: Head) -> np.ndarray:
    x, y = FULL.axes()
    lower = f32(head.chin - HEAD_Y)
    t = np.clip((y - np.float32(HEAD_Y)) / lower, np.float32(0), np.float32(1))
    t2 = t * t
    sag = f32(0.30 * (1.0 - _youth(v)))
    # the chin's tip keeps its place: the sagging cheeks bulge where t^2 (1 - t^2) is largest
    width = f32(head.half_width) * (np.float32(1) + f32(v["jaw"]) * t2 + sag * t2 * (np.float32(1) - t2))
    height = np.where(y < np.float32(HEAD_Y), np.float32(HEAD_Y - SKULL_Y), lower)
    return ellipse(x, y, head.x, HEAD_Y, width, height)


def _hair_outline(v: Values, head: Head) -> np.ndarray:
    x, y = FULL.axes()
    up = HEAD_Y - SKULL_Y + v["hair_volume"]
    height = np.where(y < np.float32(HEAD_Y), f32(up), f32(v["hair_length"]))
    return ellipse(x, y, head.skull_x, HEAD_Y, head.half_width + v["hair_volume"], height)


def _ears(canvas: Canvas, v: Values, head: Head, skin: Colour) -> None:
    for side, window in ((-1, Window(20, 46, 0, 24)), (1, Window(20, 46, 40, 64))):
        x, y = window.axes()
        cx = head.x + side * (head.half_width + 1.6) - 8.0 * head.sin
        cy, size = 32.5, v["ear_size"]
        canvas.paint(cover(ellipse(x, y, cx, cy, 0.7 * size, size)), _dim(skin, 0.9), window, label=LABEL["ears"], solid=True)
        inner = cover(ellipse(x, y, cx + 0.3 * side, cy, 0.3 * size, 0.6 * size), 1.5)
        canvas.paint(inner, _dim(skin, 0.7), window)


def _neck_and_clothes(canvas: Canvas, v: Values, head: Head, skin: Colour) -> None:
    window = Window(44, 64)
    x, y = window.axes()
    neck = cover(np.abs(x - f32(32.0)) - f32(0.5 * head.half_width))
    canvas.paint(neck, _dim(skin, 0.74), window, label=LABEL["neck"], solid=True)
    cloth = palette(CLOTHES, v["clothes_hue"], v["clothes_lightness"])
    shoulders = ellipse(x, y, 32.0, 74.0, 36.0, 20.0)
    collar = ellipse(x, y, 32.0, 54.0, 0.5 * head.half_width + 1.5, 7.0)
    canvas.paint(cover(np.maximum(shoulders, -collar)), cloth, window, label=LABEL["cloth"], solid=True)


def _shade_rim(canvas: Canvas, shape: np.ndarray, skin: Colour) -> None:
    """A broad darker rim makes the face round."""
    rim = np.clip((shape + np.float32(6)) * np.float32(0.06), np.float32(0), np.float32(0.36)) * cover(shape)
    canvas.paint(rim, _dim(skin, 0.55), FULL)


def _cheeks(canvas: Canvas, v: Values, head: Head) -> None:
    for side, window in ((-1, Window(30, 50, 2, 42)), (1, Window(30, 50, 22, 62))):
        x, y = window.axes()
        cx, width = head.project(side * 0.55)
        alpha = cover(ellipse(x, y, cx, 39.5, 5.5 * width, 4.5), 5.0)
        canvas.paint(alpha * f32(v["blush"]), _plain(0.92, 0.36, 0.36), window)


def _wrinkles(canvas: Canvas, v: Values, head: Head, skin: Colour) -> None:
    """Soft broad strokes whose darkness grows with age: forehead, under the eyes, from the nose to the mouth's corners."""
    depth = f32(0.85 * (1.0 - _youth(v)))
    dark = _dim(skin, 0.5)
    window = Window(10, 26)
    x, y = window.axes()
    cx, _ = head.project(0.0)
    for height, length in ((15.0, 11.0), (19.0, 8.0)):
        stroke = lens(x, y, cx, length, height, 1.0, up=1.0, down=1.0)
        canvas.paint(cover(stroke, 1.6) * depth, dark, window)
    for side, window in ((-1, Window(28, 54, 2, 46)), (1, Window(28, 54, 18, 62))):
        x, y = window.axes()
        cx, width = head.project(side * v["eye_spacing"])
        bag = lens(x, y, cx, 5.5 * width, 36.2, -2.2, up=0.9, down=0.9)
        canvas.paint(cover(bag, 1.6) * depth, dark, window)
        cx, width = head.project(side * 0.46)
        fold = lens(y, x, 44.0, 6.5, cx, -1.5 * side * width, up=1.0, down=1.0, slope=2.0 * side * width)
        canvas.paint(cover(fold, 1.6) * depth, dark, window)


def _nose(canvas: Canvas, v: Values, head: Head, skin: Colour) -> None:
    window = Window(22, 46)
    x, y = window.axes()
    tip_x, _ = head.project(0.0, 1.22)
    root_x, _ = head.project(0.0, 0.95)
    tip, half = v["nose_length"], v["nose_width"]
    length = tip - EYE_Y
    bridge = ellipse(x, y, 0.5 * (tip_x + root_x), EYE_Y + 0.45 * length, 1.4 + 0.2 * half, 0.55 * length + 2.0)
    canvas.paint(np.float32(0.35) * cover(bridge, 2.0), mix(skin, _plain(1.0, 0.97, 0.9), 0.6), window)
    shadow = ellipse(x, y, tip_x, tip + 0.6, half + 0.5, 2.7)
    canvas.paint(np.float32(0.85) * cover(shadow, 1.5), _dim(skin, 0.6), window)
    ball = ellipse(x, y, tip_x, tip - 0.6, half - 0.2, 2.5)
    canvas.paint(cover(ball, 1.5), mix(skin, _plain(1.0, 0.9, 0.82), 0.25), window)
    for side in (-1, 1):
        nostril = ellipse(x, y, tip_x + side * 0.5 * half, tip + 1.9, 0.34 * half, 0.9)
        canvas.paint(np.float32(0.85) * cover(nostril), _dim(skin, 0.3), window)
    _label(canvas, np.minimum(bridge, shadow), window, "nose")


def _mouth(canvas: Canvas, v: Values, head: Head) -> None:
    """A frown at smile 0, a straight line near 0.4, a curve upwards, and from 0.3 on an opening with teeth."""
    window = Window(36, 61)
    x, y = window.axes()
    smile, lip = v["smile"], v["lip_fullness"]
    cx, width = head.project(0.0, 0.85)
    corners = -3.2 + 8.0 * smile
    opening = np.maximum(smile - 0.3, 0.0) / 0.7
    gap = 7.5 * opening * opening
    half = (v["mouth_width"] + 2.0 * smile) * width * width
    middle = 45.6 + 0.3 * (head.chin - 57.5) + 0.3 * corners
    up, down = 0.45 + 0.2 * gap, 0.55 + 0.8 * gap
    outer = lens(x, y, cx, half + 1.0, middle, -corners, up=up + 0.75 * lip, down=down + lip)
    canvas.paint(cover(outer), palette(LIPS, v["lip_colour"]), window, label=LABEL["lips"])
    inner = lens(x, y, cx, half, middle, -corners, up=up, down=down)
    canvas.paint(cover(inner), _plain(0.33, 0.07, 0.09), window, label=LABEL["inner_mouth"])
    teeth = lens(x, y, cx, half - 0.8, middle, -corners, up=up - 0.35, down=-0.4 + 0.42 * gap)
    canvas.paint(cover(teeth) * f32(np.minimum(gap, 1.0)), _plain(0.98, 0.97, 0.94), window)


def _fringe(canvas: Canvas, v: Values, head: Head, hair: Colour, outline: np.ndarray) -> None:
    window = Window(0, 60)
    x, y = window.axes()
    cx, _ = head.project(0.0, 0.6)
    t = (x - f32(cx)) / f32(head.half_width)
    curve = f32(SKULL_Y + v["hairline"]) + (f32(v["parting"]) + np.float32(14) * t) * t
    steep = (f32(v["parting"]) + np.float32(28) * t) / f32(head.half_width)
    below = (y - curve) / np.sqrt(np.float32(1) + steep * steep)
    alpha = cover(np.maximum(below, outline[:, : window.bottom]))
    canvas.paint(alpha, hair, window, label=LABEL["hair"], solid=True)
    shine = cover(lens(x, y, head.skull_x, 0.7 * head.half_width, 7.5 - 0.6 * v["hair_volume"], 5.0, up=1.2, down=1.2), 3.0)
    canvas.paint(np.float32(0.3) * shine * alpha, mix(hair, _plain(1.0, 1.0, 1.0), 0.5), window)


def _eye(canvas: Canvas, v: Values, head: Head, side: int) -> None:
    window = Window(19, 38, 2, 44) if side < 0 else Window(19, 38, 20, 62)
    x, y = window.axes()
    cx, width = head.project(side * v["eye_spacing"])
    size = v["eye_size"] * head.half_width
    rx, ry = size * width, 0.7 + (0.62 * size - 0.1) * v["eye_openness"]
    # a shear lifts the outer corner
    level = y + (x - f32(cx)) * f32(side * v["eye_tilt"] / rx)
    lash = cover(ellipse(x, level, cx, EYE_Y - 0.6, rx + 0.9, ry + 0.8))
    canvas.paint(lash, _plain(0.16, 0.10, 0.09), window, label=LABEL["left_eye" if side < 0 else "right_eye"])
    white = cover(ellipse(x, level, cx, EYE_Y, rx, ry))
    canvas.paint(white, _plain(0.97, 0.97, 0.96), window)
    iris_x, radius = cx + 0.42 * rx * v["gaze"], 0.6 * size
    iris = ellipse(x, y, iris_x, EYE_Y - 0.2, radius * width, radius)
    canvas.paint(np.minimum(cover(iris), white), palette(IRIS, v["eye_colour"], v["eye_shade"]), window)
    pupil = cover(ellipse(x, y, iris_x, EYE_Y - 0.2, 0.45 * radius * width, 0.45 * radius))
    canvas.paint(np.minimum(pupil, white), _plain(0.05, 0.04, 0.05), window)


def _brow(canvas: Canvas, v: Values, head: Head, side: int, hair: Colour) -> None:
    window = Window(12, 28, 2, 44) if side < 0 else Window(12, 28, 20, 62)
    x, y = window.axes()
    cx, width = head.project(side * (v["eye_spacing"] + 0.02))
    length = 0.34 * head.half_width * width
    thick = v["brow_thickness"]
    middle = EYE_Y - v["brow_height"]
    stroke = lens(x, y, cx, length, middle, 1.4, up=thick, down=thick, slope=-side * v["brow_tilt"])
    colour = mix(_dim(hair, 0.6), _plain(0.14, 0.09, 0.07), 0.45)
    canvas.paint(cover(stroke), colour, window, label=LABEL["left_brow" if side < 0 else "right_brow"])


def _light(canvas: Canvas, v: Values) -> None:
    """A linear gradient over the person: brighter towards the light, which comes from above and from one side."""
    x, y = FULL.axes()
    angle = np.deg2rad(v["light_direction"])
    across = f32(v["light_strength"] * _grid(np.sin(angle)))
    down = f32(0.7 * v["light_strength"] * _grid(np.cos(angle)))
    scale = np.float32(1 / 32)
    shade = (np.float32(1) + across * ((x - np.float32(32)) * scale)) - down * ((y - np.float32(32)) * scale)
    canvas.rgb *= shade


def _background(v: Values) -> np.ndarray:
    """float32 [3,N,64,1]: the gradient depends on the row only."""
    _, y = FULL.axes()
    top = palette(BACKGROUND, v["background_top"], v["background_lightness"])
    bottom = palette(BACKGROUND, v["background_bottom"], v["background_lightness"])
    share = np.clip((y - np.float32(6)) * np.float32(1 / 48), np.float32(0), np.float32(1))
    return np.stack([a + share * (b - a) for a, b in zip(top, bottom)])


def _label(canvas: Canvas, distance: np.ndarray, window: Window, name: str) -> None:
    view = canvas.labels[:, window.top : window.bottom, window.left : window.right]
    np.copyto(view, np.uint8(LABEL[name]), where=distance <= np.float32(0))
