"""Recognise a file by the names and shapes of its tensors, and list the networks that can be built from it.

A layout is a form in which a network is published. A few marks suffice to recognise it; missing and unexpected tensors are
found when the network is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from invbench.weights.layout import Derived
from invbench.weights.method_layouts import METHOD_LAYOUTS
from invbench.weights.metric_layouts import METRIC_LAYOUTS

LAYOUTS = {**METHOD_LAYOUTS, **METRIC_LAYOUTS}
DEEPEST = 3  # of dictionaries in dictionaries


@dataclass(frozen=True)
class Recognised:
    """A file's layout and further facts."""

    layout: str
    facts: dict[str, Any]


def recognise(content: Mapping[str, Any]) -> Recognised | None:
    """The layout of a checkpoint as :func:`invbench.weights.checkpoints.load_checkpoint` reads it; None if it is unknown.

    Layouts are tried in order, so one that needs more marks stands before one that needs fewer of them.
    """
    shapes = dict(_shapes(content))
    for name, layout in LAYOUTS.items():
        if all(_fits(shapes.get(key), expected) for key, expected in layout.marks.items()):
            try:
                return Recognised(name, layout.facts(shapes, content))
            except (AttributeError, TypeError, KeyError, ValueError, StopIteration):
                return None  # it has the marks, and beside them what no file of the layout has
    return None


def mismatches(layout: str, content: Mapping[str, Any]) -> list[str]:
    """The marks of a layout that a checkpoint has not: key, expected shape (None = any length), found shape."""
    shapes = dict(_shapes(content))
    return [
        f"{key}: expected shape {_listed(expected)}, found {_listed(shapes[key]) if key in shapes else 'no such tensor'}"
        for key, expected in LAYOUTS[layout].marks.items()
        if not _fits(shapes.get(key), expected)
    ]


def part_of(layout: str, part: str | None) -> tuple[str, str | Derived] | None:
    """The part of that name (None: the first) with its loader; None if the layout has no such part."""
    parts = LAYOUTS[layout].parts
    name = next(iter(parts), "") if part is None else part
    return (name, parts[name]) if name in parts else None


def _shapes(content: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, tuple[int, ...]]]:
    for key, value in content.items():
        if hasattr(value, "shape"):
            yield f"{prefix}{key}", tuple(value.shape)
        elif isinstance(value, Mapping) and depth < DEEPEST:
            yield from _shapes(value, f"{prefix}{key}/", depth + 1)


def _fits(found: tuple[int, ...] | None, expected: tuple[int | None, ...]) -> bool:
    return (
        found is not None
        and len(found) == len(expected)
        and all(want in (None, length) for want, length in zip(expected, found, strict=True))
    )


def _listed(shape: Iterable[int | None]) -> str:
    return f"[{', '.join('any' if length is None else str(length) for length in shape)}]"
