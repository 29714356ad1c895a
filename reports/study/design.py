"""Which pairs a rater sees, in which order, and which method is on the left.

A *unit* is an image under a question (the inversion, or an edit). A rater who sees a unit sees all its comparisons, so that
the methods of a unit can be ranked for each rater. On every page a comparison has each method on the left in half of its
pairs, or in one more; pages 1 and 2, 3 and 4, ... that hold the same units have the sides exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from invbench.reports.compare import Method

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


@dataclass(frozen=True)
class Shown:
    """A picture that a trial shows: what ``method`` made of ``image``; the question says whether it is an edit."""

    method: Method
    image: str


@dataclass(frozen=True)
class Trial:
    """One pair on one page.

    question    number of the question, which names the edit
    image       the original that stands between the two
    left        what is shown on each side; a check shows another image on the wrong side
    comparison  number of the pair of methods; None for an attention check
    expected    the right answer of a check; empty for a pair
    """

    question: int
    image: str
    left: Shown
    right: Shown
    comparison: int | None = None
    expected: Side | Literal[""] = ""


def pages(
    images: Sequence[str],
    comparisons: Sequence[tuple[Method, Method]],
    *,
    questions: int,
    raters: int,
    votes: int,
    checks: int,
    rng: np.random.Generator,
) -> list[list[Trial]]:
    """The trials of each page, in the order in which its rater sees them.

    raters   number of pages; ``votes``, at most ``raters``, is the number of pages that hold a unit
    checks   number of attention checks on a page; a study of one image has none
    """
    units = [(question, image) for question in range(questions) for image in images]
    units = [units[i] for i in rng.permutation(len(units))]
    found = []
    for page in range(raters):
        if page % 2 == 0:  # the next page has the same draw with the sides exchanged
            order = [rng.permutation(len(units)).tolist() for _ in comparisons]
        held = {i for i in range(len(units)) if (page - i * votes) % raters < votes}
        trials = []
        for number, (first, second) in enumerate(comparisons):
            mine = [i for i in order[number] if i in held]
            for rank, i in enumerate(mine):
                question, image = units[i]
                pair = Shown(first, image), Shown(second, image)
                left, right = pair if (rank + page) % 2 == 0 else pair[::-1]
                trials.append(Trial(question, image, left, right, number))
        methods = list(dict.fromkeys(method for pair in comparisons for method in pair))
        trials += _checks(images, methods, questions, checks if len(images) > 1 else 0, rng)
        found.append([trials[i] for i in rng.permutation(len(trials))])
    return found


def _checks(
    images: Sequence[str], methods: Sequence[Method], questions: int, count: int, rng: np.random.Generator
) -> Iterator[Trial]:
    """Pairs with an obvious answer: the same method's pictures of the image itself and of another image."""
    flip = int(rng.integers(2))
    for number in range(count):
        own, other = (images[i] for i in rng.permutation(len(images))[:2])
        method = methods[int(rng.integers(len(methods)))]
        side = (number + flip) % 2
        pair = Shown(method, own), Shown(method, other)
        left, right = pair if side == 0 else pair[::-1]
        yield Trial(number % questions, own, left, right, expected=SIDES[side])
