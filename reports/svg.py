"""Plots that do not move, as SVG within a page: colours and fonts come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from invbench.reports import svg_labels

WIDTH, HEIGHT = 540, 336
LEFT, RIGHT, TOP, BOTTOM = 52, 116, 14, 46  # margins; labels of points stand in the right one
GAP = 12.5  # between two names of lines


@dataclass(frozen=True)
class Point:
    """A method in a plot of one figure ``value`` against another, ``x``; ``low`` and ``high`` are NaN without an interval."""

    label: str
    x: float
    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Line:
    """A method in a plot against strength or change: ``x`` and ``y`` from left to right; NaN is left out.

    ``low`` and ``high`` are the ends of intervals of ``y``, if there are any.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def front(points: Sequence[Point], *, better: str, better_x: str = "lower") -> list[Point]:
    """The points that no other one beats in both ``value`` and ``x``, the best in ``x`` first."""
    sign, turn = (1 if better == "higher" else -1), (1 if better_x == "lower" else -1)
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (turn * one.x, -sign * one.value)):
        if not kept or sign * point.value > sign * kept[-1].value:
            kept.append(point)
    return kept


def pareto(points: Sequence[Point], *, better: str, title: str) -> Markup:
    """Quality against seconds on a logarithmic axis, with intervals and the front; empty without two points."""
    points = [one for one in points if one.x > 0 and math.isfinite(one.value)]
    if len(points) < 2:
        return Markup("")
    logs = [math.log10(one.x) for one in points]
    x = _scale(math.floor(min(logs) * 2) / 2, math.ceil(max(logs) * 2) / 2, LEFT, WIDTH - RIGHT)
    wide = x(math.log10(3)) - x(0) > 6 * svg_labels.LETTER  # "0.003" and a gap
    powers = range(math.floor(min(logs)), math.ceil(max(logs)) + 1)
    steps = [(power, step) for power in powers for step in ((1, 3) if wide else (1,))]
    below = [(x(power + math.log10(step)), f"{step * 10.0**power:g}") for power, step in steps]
    parts = [_below(at, label) for at, label in below if LEFT - 1 <= at <= WIDTH - RIGHT + 1]
    placed = [(one, x(math.log10(one.x))) for one in points]
    parts += _points(placed, front(points, better=better), end=WIDTH - RIGHT)
    parts.append(_axis((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "seconds an image (log)"))
    return _picture(parts, f"{title} against seconds", head=title, aside=_unnamed(parts))


def scatter(points: Sequence[Point], *, better: str, better_x: str, title: str, x_title: str) -> Markup:
    """One figure against another on linear axes, with the front; empty without two points."""
    points = [one for one in points if math.isfinite(one.x) and math.isfinite(one.value)]
    if len(points) < 2:
        return Markup("")
    xs = [one.x for one in points]
    ticks = _ticks(min(xs), max(xs))
    x = _scale(min([*ticks, *xs]), max([*ticks, *xs]), LEFT, WIDTH - RIGHT)
    parts = [_below(x(tick), f"{tick:g}") for tick in ticks]
    best = front(points, better=better, better_x=better_x)
    parts += _points([(one, x(one.x)) for one in points], best, end=WIDTH - RIGHT if better_x == "lower" else LEFT)
    parts.append(_axis((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_title))
    return _picture(parts, f"{title} against {x_title}", head=title, aside=_unnamed(parts))


def _points(placed: Sequence[tuple[Point, float]], best: Sequence[Point], *, end: float) -> list[Markup]:
    """The grid, the front up to ``end``, the points, and those of their names that have room, the front's first."""
    points = [one for one, _ in placed]
    ends = [value for one in points for value in (one.value, one.low, one.high) if math.isfinite(value)]
    ticks = _ticks(min(ends), max(ends))
    y = _scale(min([*ticks, *ends]), max([*ticks, *ends]), HEIGHT - BOTTOM, TOP)
    parts = [_grid(y(tick), f"{tick:g}") for tick in ticks]
    at_of = {id(one): at for one, at in placed}
    steps = [(at_of[id(one)], y(one.value)) for one in best]
    path = f"M{steps[0][0]:.1f} {steps[0][1]:.1f}" + "".join(f"H{a:.1f}V{b:.1f}" for a, b in steps[1:]) + f"H{end}"
    parts.append(Markup('<path class="front" d="{}"/>').format(path))
    spots = [(at, y(one.value), one.label) for one, at in placed]
    first = [index for index, one in enumerate(points) if one in best]
    names = svg_labels.place(spots, first, svg_labels.Box(LEFT, 0, WIDTH, HEIGHT - BOTTOM))
    for (one, at), (_, up, _) in zip(placed, spots):
        if math.isfinite(one.low):
            parts.append(Markup('<path class="whisker" d="M{0:.1f} {1:.1f}V{2:.1f}"/>').format(at, y(one.low), y(one.high)))
        circle = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4.5"><title>{}: {:.4g} at {:.3g}</title></circle>')
        parts.append(circle.format("on" if one in best else "off", at, up, one.label, one.value, one.x))
    for name, one in zip(names, points):  # after the points, so that no point lies on a name
        if name is not None:
            kind = f"name{' best' * (one in best)}{' end' * name.ends}"
            parts.append(Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, name.x, name.y, one.label))
    return parts


def _unnamed(parts: Sequence[Markup]) -> str:
    """What a reader is told if points have no name in the plot."""
    points, names = (sum(part.startswith(tag) for part in parts) for tag in ("<circle", '<text class="name'))
    return "" if names == points else f"{names} of {points} named; point at the others"


def lines(
    series: Sequence[Line],
    *,
    title: str,
    x_title: str,
    ideal: Sequence[tuple[float, float]] = (),
    marks: Sequence[tuple[float, str]] = (),
    rings: Sequence[tuple[float, float, str]] = (),
    span: Sequence[float] = (),
    joined: bool = True,
) -> Markup:
    """Lines of methods, with their names at the right in the order of their ends; empty without a line.

    ``ideal`` is a dashed line without a name; ``marks`` are places and labels on the axis of x, if they are not to be round
    numbers with a sign. ``rings`` are points (x, y, class in the style sheet) to ring. ``span``: places that the axis of x
    reaches at least. Not ``joined``: only the points are drawn.
    """
    kept = [(index, Line(one.label, *zip(*found))) for index, one in enumerate(series) if (found := _finite(one))]
    if not kept:
        return Markup("")
    xs = [value for _, one in kept for value in one.x] + [a for a, _ in ideal] + [*span]
    ends = [value for _, one in kept for value in (*one.low, *one.high) if math.isfinite(value)]
    ys = [value for _, one in kept for value in one.y] + [b for _, b in ideal] + ends
    ticks, below = _ticks(min(ys), max(ys)), _ticks(min(xs), max(xs))
    x, y = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT), _scale(min([*ticks, *ys]), max([*ticks, *ys]), HEIGHT - BOTTOM, TOP)
    parts = [_grid(y(tick), f"{tick:g}") for tick in ticks]
    shown = marks or [(tick, f"{tick:+g}" if tick else "0") for tick in below]
    parts += [_below(x(at), label) for at, label in shown if min(xs) <= at <= max(xs)]
    if ideal:
        parts.append(Markup('<path class="ideal" d="{}"/>').format(_path([(x(a), y(b)) for a, b in ideal])))
    for index, one in kept:
        hue, spots = index % 8, [(x(a), y(b)) for a, b in zip(one.x, one.y)]
        dashed = " dashed" if index >= 8 else ""  # there are eight colours
        if joined:
            parts.append(Markup('<path class="line hue-{}{}" d="{}"/>').format(hue, dashed, _path(spots)))
        for (at, _), low, high in zip(spots, one.low, one.high):
            if math.isfinite(low):
                path = Markup('<path class="whisker" d="M{0:.1f} {1:.1f}V{2:.1f}"/>')
                parts.append(path.format(at, y(low), y(high)))
        circle = Markup('<circle class="hue-{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>')
        parts += [circle.format(hue, a, b, 2.6 if joined else 4.5) for a, b in spots]
    ring = Markup('<circle class="ring {}" cx="{:.1f}" cy="{:.1f}" r="6"/>')
    parts += [ring.format(kind, x(a), y(b)) for a, b, kind in rings]
    named = sorted(kept, key=lambda one: y(one[1].y[-1]))
    heights = [y(one.y[-1]) + 4 for _, one in named]
    for index in range(1, len(heights)):  # downwards until none touch, then back up from the lower edge
        heights[index] = max(heights[index], heights[index - 1] + GAP)
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], HEIGHT - BOTTOM + 4 - GAP * (len(heights) - 1 - index))
    for (index, one), at in zip(named, heights):
        name = Markup('<text class="name hue-{}" x="{}" y="{:.1f}">{}</text>')
        parts.append(name.format(index % 8, WIDTH - RIGHT + 8, at, one.label))
    parts.append(_axis((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_title))
    return _picture(parts, f"{title} against {x_title}", head=title)


def _finite(one: Line) -> list[tuple[float, ...]]:
    """The points of a line as (x, y, low, high), from left to right."""
    nothing = [math.nan] * len(one.x)
    points = zip(one.x, one.y, one.low or nothing, one.high or nothing)
    return sorted(point for point in points if math.isfinite(point[0]) and math.isfinite(point[1]))


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    width = (high - low) or 1.0
    return lambda value: start + (value - low) / width * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers around the range."""
    raw = (high - low) / 4 or abs(high) / 4 or 1.0
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * base for factor in (1, 2, 2.5, 5, 10) if factor * base >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    return [round(step * k, 12) + 0.0 for k in range(first, math.ceil(high / step - 1e-9) + 1)]


def _grid(y: float, label: str) -> Markup:
    return Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="tick end" x="{}" y="{:.1f}">{}</text>').format(
        LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, label
    )


def _below(x: float, label: str) -> Markup:
    edge = HEIGHT - BOTTOM
    return Markup('<path class="grid" d="M{:.1f} {}v4"/><text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(
        x, edge, x, edge + 21, label
    )


def _axis(x: float, y: float, label: str) -> Markup:
    return Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(x, y, label)


def _path(spots: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in spots)


def _picture(parts: Sequence[Markup], title: str, *, head: str, aside: str = "") -> Markup:
    inside = Markup("").join(map(escape, parts))
    svg = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(WIDTH, HEIGHT, title, inside)
    told = Markup(" <small>({})</small>").format(aside) if aside else ""
    return Markup('<figure class="plot"><figcaption>{}{}</figcaption>{}</figure>').format(head, told, svg)
