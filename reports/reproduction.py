"""Is a published number reproduced? The measured value against the printed one, with the interval of their difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

from invbench import schema
from invbench.compare.stats import Interval
from invbench.reports import published
from invbench.reports.paper_tables import Cell

REPRODUCED, DIFFERS, NOT_COMPARABLE = "reproduced", "differs", "not comparable"
WORDS = (REPRODUCED, DIFFERS, NOT_COMPARABLE)
NEAR = 0.05  # relative difference up to which a value without an interval (a set metric) is reproduced


@dataclass(frozen=True)
class Verdict:
    """What a measured value says of a printed one.

    word         REPRODUCED, DIFFERS or NOT_COMPARABLE
    difference   measured minus printed, with the interval of the measured mean; NaN where it cannot be computed
    reasons      why the two cannot be compared; of those that can, none
    """

    word: str
    difference: Interval
    reasons: tuple[str, ...] = ()


def verdict(cell: Cell) -> Verdict | None:
    """The verdict on a number of a printed table; None if nothing was measured for it.

    Values of one protocol on the same images are reproduced if the interval of their difference, wider by half a unit of the
    last printed digit, holds 0; without an interval, if they differ by at most :data:`NEAR` or that half unit.
    """
    if cell.measured is None:
        return None
    printed, one = cell.number.value, cell.measured
    gap = Interval(one.value - printed, one.low - printed, one.high - printed, one.n)
    reasons = list(cell.reasons)
    if not reasons and schema.is_seconds(cell.metric):
        reasons.append("seconds of another machine")
    if not reasons and not math.isfinite(gap.value):
        reasons.append("no finite value")
    if reasons:
        return Verdict(NOT_COMPARABLE, gap, tuple(reasons))
    rounding = published.half_digit(cell.number.text)
    if math.isnan(gap.low):
        near = abs(gap.value) <= max(NEAR * abs(printed), rounding)
    else:
        near = gap.low - rounding <= 0 <= gap.high + rounding
    return Verdict(REPRODUCED if near else DIFFERS, gap)
