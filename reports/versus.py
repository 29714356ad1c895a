"""Two methods of a run against each other: where one beats the other, by how much, and on which pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from invbench.api import InvbenchError
from invbench.compare import stats
from invbench.compare.stats import Interval
from invbench.reports import compare
from invbench.reports.compare import Compared, Method
from invbench.reports.measures import Measure
from invbench.reports.run import Run
from invbench.reports.text import edit_text
from invbench.reports.verdicts import difference, rough
from invbench.util.names import unknown


@dataclass(frozen=True)
class Duel:
    """Two methods in one metric on one dataset (for an edit metric: for one edit and strength).

    images       the images that both cover, in the dataset's order
    advantage    float64 [images]: by how much the first method is better, in the metric's unit; below 0 where it is worse
    means        of the first and of the second method over these images
    difference   mean advantage, with its interval
    p            of the sign-flip test of these two alone, without a correction for other pairs
    """

    spec: Measure
    dataset: str
    edit: str
    images: tuple[str, ...]
    advantage: np.ndarray
    means: tuple[float, float]
    difference: Interval
    p: float

    @property
    def wins(self) -> int:
        """The number of images on which the first method is better."""
        return int((self.advantage > 0).sum())

    @property
    def decided(self) -> int:
        """1 if the first method is better, -1 if the second, 0 if the images cannot tell."""
        return int(math.copysign(1, self.difference.value)) if self.p <= 1 - stats.LEVEL and self.difference.value else 0

    def most(self, count: int) -> list[tuple[str, float]]:
        """The images on which the first method is better by most, and by how much; only those on which it is better."""
        order = np.argsort(-self.advantage, kind="stable")[:count]
        return [(self.images[i], float(self.advantage[i])) for i in order if self.advantage[i] > 0]

    def least(self, count: int) -> list[tuple[str, float]]:
        """The same for the second method."""
        order = np.argsort(self.advantage, kind="stable")[:count]
        return [(self.images[i], -float(self.advantage[i])) for i in order if self.advantage[i] < 0]


def method(run: Run, name: str) -> Method:
    """The method that a user named: ID, ID:PRESET or a title. Raises InvbenchError for none or several."""
    held = sorted({(cell["method"], cell["preset"]) for cell in run.plan["cells"].values()})
    found = [one for one in held if name in (one[0], ":".join(one), run.label(*one))]
    if len(found) > 1:
        raise InvbenchError(f"method {name}: expected one of {', '.join(map(':'.join, found))}, found {name!r}")
    if not found:
        raise InvbenchError(f"{run.store.path}: {unknown('method', name, map(':'.join, held))}")
    return found[0]


def duels(run: Run, first: Method, second: Method) -> list[Duel]:
    """The two methods in every metric with a direction, for edits at the largest strength; in the order of tables.

    The images are those that these two cover, and the test is of these two: one question, asked alone, needs no correction.
    """
    found = [one for one in (*run.inversions, *run.strongest_edits) if run.better[one.block.metric] != "none"]
    rng = np.random.default_rng(compare.SEED)
    return [duel for duel in (_duel(run, one, first, second, rng) for one in found) if duel is not None]


def _duel(run: Run, one: Compared, first: Method, second: Method, rng: np.random.Generator) -> Duel | None:
    block = one.block
    if first not in block.methods or second not in block.methods:
        return None
    a, b = (block.values[:, block.methods.index(method)] for method in (first, second))
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return None
    spec = run.specs[block.metric]
    a, b = a[both], b[both]
    advantage = (1 if spec.better == "higher" else -1) * stats.paired_difference(a, b)
    images = tuple(name for name, kept in zip(block.images, both) if kept)
    dataset, *edit = block.place
    interval = stats.mean_interval(advantage, rng)
    p = float(stats.sign_flip_test(advantage[:, None], rng)[0])
    means = float(a.mean()), float(b.mean())
    return Duel(spec, str(dataset), edit_text(*edit) if edit else "", images, advantage, means, interval, p)


def sentence(duel: Duel, first: str, second: str) -> str:
    """The verdict of the test in words."""
    gap, n = duel.difference, len(duel.images)
    if not math.isfinite(gap.value):
        return f"the values of {first} or {second} are infinite on some of the {n} images: no difference"
    better, other = (first, second) if gap.value >= 0 else (second, first)
    turned = gap if gap.value >= 0 else replace(gap, value=-gap.value, low=-gap.high, high=-gap.low)
    what = difference(turned, spec=duel.spec)
    if duel.decided:
        return f"{better} is better than {other} by {what}"
    needed = stats.images_needed(duel.advantage, methods=2)
    more = f"; about {rough(needed)} images would decide" if needed is not None and needed > n else ""
    return f"{n} images cannot tell {first} from {second}: {better} leads by {what}{more}"


def pictures(found: Sequence[tuple[str, float]], unit: str) -> str:
    """Images with what one method is better by: "0012 (+2.1 dB), 0003 (+1.9 dB)"."""
    return ", ".join(f"{name} (+{value:.2g}{f' {unit}' if unit == 'dB' else ''})" for name, value in found)
