"""Out-of-domain extras, absent from the generator's training: hats, a hand with a microphone, hoop earrings, patterned
backgrounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .factors import physical
from .portrait import head_of
from .shapes import FULL, Canvas, Colour, cover, ellipse, f32, lens

Rgb = tuple[float, float, float]
KINDS = ("hat", "microphone", "earrings", "pattern")


@dataclass(frozen=True)
class Hat:
    """Crown and brim; x, brim height y, half width and crown height in pixels."""

    x: float
    y: float
    half_width: float
    height: float
    tilt: float
    colour: Rgb
    band: Rgb


@dataclass(frozen=True)
class Microphone:
    """A fist around a microphone whose ball is at (x, y), in pixels."""

    x: float
    y: float
    lean: float
    radius: float
    skin: Rgb
    colour: Rgb


@dataclass(frozen=True)
class Earrings:
    """Two hoops; their columns, height and radius in pixels."""

    left: float
    right: float
    y: float
    radius: float
    colour: Rgb


@dataclass(frozen=True)
class Pattern:
    """A background of stripes along (dx, dy), or of checks; period in pixels."""

    checks: bool
    dx: float
    dy: float
    period: float
    first: Rgb
    second: Rgb


@dataclass(frozen=True)
class Extras:
    """Out-of-domain extras of one picture; absent ones are None. Positions are in picture pixels; edits do not move them."""

    hat: Hat | None = None
    microphone: Microphone | None = None
    earrings: Earrings | None = None
    pattern: Pattern | None = None

    def kinds(self) -> tuple[str, ...]:
        """The kinds of extras that the picture has, in the order of KINDS."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)


def sample_extras(rng: np.random.Generator, u: np.ndarray) -> Extras:
    """One to three different extras, placed to suit the face of the factors u [K]."""
    v = {name: value[0] for name, value in physical(np.asarray(u)[None]).items()}
    head = head_of(v)
    chosen = set(rng.choice(KINDS, size=int(rng.integers(1, 4)), replace=False))
    # every kind draws its numbers whether it is chosen or not, so that one choice never shifts another's parameters
    hat = Hat(
        _q(head.skull_x + rng.uniform(-1, 1)),
        _q(rng.uniform(12, 17)),
        _q(head.half_width + v["hair_volume"] + rng.uniform(0, 1.5)),
        _q(rng.uniform(14, 22)), _q(rng.uniform(-3, 3)), _colour(rng), _colour(rng),
    )  # fmt: skip
    tone = rng.uniform(0.45, 1.0)
    microphone = Microphone(
        _q(32 + rng.uniform(-14, 14)), _q(rng.uniform(42, 50)), _q(rng.uniform(-7, 7)), _q(rng.uniform(4.5, 6.5)),
        _rgb([c * tone for c in (0.97, 0.79, 0.66)]), _rgb(rng.uniform(0.15, 0.45, 3)),
    )  # fmt: skip
    earrings = Earrings(
        _q(head.x - head.half_width - 0.8 - 8 * head.sin), _q(head.x + head.half_width + 0.8 - 8 * head.sin),
        _q(rng.uniform(40, 45)), _q(rng.uniform(4, 6.5)), _rgb([c * rng.uniform(0.8, 1.0) for c in (1.0, 0.84, 0.3)]),
    )  # fmt: skip
    angle = rng.uniform(0, np.pi)
    pattern = Pattern(
        bool(rng.integers(2)), _q(np.cos(angle)), _q(np.sin(angle)), _q(rng.uniform(6, 14)), _colour(rng), _colour(rng)
    )  # fmt: skip
    drawn = {"hat": hat, "microphone": microphone, "earrings": earrings, "pattern": pattern}
    return Extras(**{kind: thing for kind, thing in drawn.items() if kind in chosen})  # type: ignore[arg-type]


def draw_pattern(pattern: Pattern) -> np.ndarray:
    """The patterned background, float32 [3,1,64,64] in [0, 1]."""
    x, y = FULL.axes()
    dx, dy, period = np.float32(pattern.dx), np.float32(pattern.dy), np.float32(pattern.period)
    across: np.ndarray = _wave((x * dx + y * dy) / period) * period
    if pattern.checks:
        along = _wave((y * dx - x * dy) / period) * period
        # opposite signs meet in a check; the product over the larger factor keeps the edge one pixel wide
        across = across * along / np.maximum(np.maximum(np.abs(across), np.abs(along)), np.float32(1e-3))
    share = np.clip(across + np.float32(0.5), np.float32(0), np.float32(1))
    return np.stack([np.float32(a) + share * (np.float32(b) - np.float32(a)) for a, b in zip(pattern.first, pattern.second)])


def draw_objects(canvas: Canvas, extras: Extras, label: int) -> None:
    """Paint hat, earrings and microphone of one picture over a canvas of one."""
    if extras.earrings is not None:
        _earrings(canvas, extras.earrings, label)
    if extras.hat is not None:
        _hat(canvas, extras.hat, label)
    if extras.microphone is not None:
        _microphone(canvas, extras.microphone, label)


def _hat(canvas: Canvas, hat: Hat, label: int) -> None:
    x, y = FULL.axes()
    level = y + (x - np.float32(hat.x)) * np.float32(hat.tilt / 32)
    crown = np.maximum(ellipse(x, level, hat.x, hat.y, 0.86 * hat.half_width, hat.height), level - np.float32(hat.y))
    canvas.paint(cover(crown), _planes(hat.colour), FULL, label=label)
    band = np.maximum(crown, np.float32(hat.y - 5) - level)
    canvas.paint(cover(band), _planes(hat.band), FULL, label=label)
    brim = ellipse(x, level, hat.x, hat.y, hat.half_width + 5, 2.6)
    canvas.paint(cover(brim), _planes(tuple(0.8 * c for c in hat.colour)), FULL, label=label)


def _earrings(canvas: Canvas, rings: Earrings, label: int) -> None:
    x, y = FULL.axes()
    for centre in (rings.left, rings.right):
        hoop = np.abs(ellipse(x, y, centre, rings.y, 0.8 * rings.radius, rings.radius)) - np.float32(0.9)
        canvas.paint(cover(hoop), _planes(rings.colour), FULL, label=label)


def _microphone(canvas: Canvas, mic: Microphone, label: int) -> None:
    x, y = FULL.axes()
    fist_x, fist_y = mic.x + mic.lean, mic.y + 14
    stick = lens(y, x, mic.y + 14, 26.0, fist_x, 0.0, up=2.6, down=2.6, slope=1.8 * mic.lean)
    stick = np.maximum(stick, np.float32(mic.y) - y)
    canvas.paint(cover(stick), _planes(tuple(0.55 * c for c in mic.colour)), FULL, label=label)
    ball = ellipse(x, y, mic.x, mic.y, mic.radius, mic.radius)
    canvas.paint(cover(ball), _planes(mic.colour), FULL, label=label)
    glint = ellipse(x, y, mic.x - 0.35 * mic.radius, mic.y - 0.35 * mic.radius, 0.35 * mic.radius, 0.35 * mic.radius)
    canvas.paint(cover(glint, 2.0), _planes(tuple(c + 0.3 for c in mic.colour)), FULL)
    fist = ellipse(x, y, fist_x, fist_y + 2, 9.0, 8.0)
    canvas.paint(cover(fist), _planes(mic.skin), FULL, label=label)
    for k in range(3):
        gap = lens(x, y, fist_x - 1, 6.5, fist_y - 1.5 + 3.6 * k, 0.8, up=0.9, down=0.9)
        canvas.paint(np.minimum(cover(gap), cover(fist)), _planes(tuple(0.68 * c for c in mic.skin)), FULL)


def _wave(phase: np.ndarray) -> np.ndarray:
    """Triangle wave of period 1 in [-1/4, 1/4], its slope that of the phase."""
    return np.abs(phase - np.floor(phase) - np.float32(0.5)) - np.float32(0.25)


def _planes(colour: tuple[float, ...]) -> Colour:
    return f32(colour[0]), f32(colour[1]), f32(colour[2])


def _colour(rng: np.random.Generator) -> Rgb:
    return _rgb(rng.uniform(0.05, 0.95, 3))


def _rgb(values: Iterable[float]) -> Rgb:
    red, green, blue = values
    return _q(red), _q(green), _q(blue)


def _q(value: float | np.ndarray) -> float:
    return round(float(value) * 4096) / 4096
