"""Where the names of points stand in a plot: on no other name, on no other point, and within the plot; else nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

LETTER, HEIGHT = 7.5, 13.5  # of a name in the plot's units, where the font is largest: on a narrow screen
ASIDE = 8.0  # from the middle of a point to its name
RADIUS = 5.0  # of a point with its rim
FAR = 4  # heights of a name by which that of an important point may be moved up or down


class Box(NamedTuple):
    """An upright rectangle in the plot's units; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: Box) -> bool:
        """Whether the other lies within this one."""
        return self.left <= other.left and other.right <= self.right and self.top <= other.top and other.bottom <= self.bottom


class Name(NamedTuple):
    """A name at the place of its baseline; ``ends`` there, or begins."""

    x: float
    y: float
    ends: bool


def place(spots: Sequence[tuple[float, float, str]], important: Iterable[int], within: Box) -> list[Name | None]:
    """Places for the names of ``spots`` (x, y, name); None for a name that finds none.

    Those of the spots with the indices ``important`` are placed first, in that order, and look further away; the others follow
    from the top to the bottom.
    """
    first = list(important)
    rest = sorted(set(range(len(spots))) - set(first), key=lambda index: spots[index][1])
    points = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y, _ in spots]
    found: list[Name | None] = [None] * len(spots)
    taken: list[Box] = []
    for index in [*first, *rest]:
        others = [box for other, box in enumerate(points) if other != index]
        for name, box in _candidates(*spots[index], far=FAR if index in first else 0):
            if within.holds(box) and not any(box.meets(other) for other in (*taken, *others)):
                found[index] = name
                taken.append(box)
                break
    return found


def _candidates(x: float, y: float, text: str, *, far: int) -> Iterator[tuple[Name, Box]]:
    """Beside the point, above and below it, then further up and down; on the right of it before the left."""
    width, steps = LETTER * len(text), [0.25 * step for step in range(4, 4 * far + 1)]
    for shift in (0.0, -0.75, 0.75, *(sign * step for step in steps for sign in (-1.0, 1.0))):
        middle = y + shift * HEIGHT
        for ends in (False, True):
            start = x - ASIDE - width if ends else x + ASIDE
            box = Box(start, middle - HEIGHT / 2, start + width, middle + HEIGHT / 2)
            yield Name(x - ASIDE if ends else x + ASIDE, middle + 4, ends), box
