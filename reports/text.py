"""Numbers and names as text, for all tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from invbench import schema
from invbench.compare.text import NOTHING
from invbench.reports.measures import Measure

_SHORT = frozenset({"psnr", "mse", "lpips", "ms", "ssim", "id", "fid", "kid", "iou", "lec"})
ARROWS = {"lower": "↓", "higher": "↑", "none": ""}


def number_format(values: Iterable[float]) -> Callable[[float], str]:
    """One format for a column: its largest finite value gets four digits, with at most six decimals.

    Values that round to zero are written without a sign; NaN is :data:`NOTHING`.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    decimals = min(max(3 - math.floor(math.log10(max(sizes))), 0), 6) if sizes else 0

    def write(value: float) -> str:
        if math.isinf(value):
            return "∞" if value > 0 else "-∞"
        return written(value, f"z.{decimals}f")

    return write


def written(value: float, form: str, *, unit: str = "") -> str:
    """A number in a format of Python, with its unit; :data:`NOTHING` for NaN.

    ``form`` must contain "z", so that no zero is negative: "z.3g", "+z.2f".
    """
    return NOTHING if math.isnan(value) else f"{value:{form}}" + (f" {unit}" if unit else "")


def mebibytes(value: float) -> str:
    """A number of bytes as text in MiB, rounded to an integer, without the unit."""
    return written(value / 2**20, "z.0f")


def signed(value: float) -> str:
    """A strength or a change as text with its sign: 3.0 -> "+3". Different numbers give different texts."""
    return NOTHING if math.isnan(value) else schema.signed(value + 0.0)  # no zero is negative


def edit_text(name: str, strength: float) -> str:
    """An edit and its strength as text: ("age", 3.0) -> "age+3"."""
    return name + signed(strength)


def interval_text(low: str, high: str) -> str:
    """The interval between two ends that are text: "[low, high]"; empty if ``low`` is."""
    return f"[{low}, {high}]" if low else ""


def short_head(spec: Measure) -> str:
    """The name of a metric as a head without its protocol: "lpips_proc@native" -> "LPIPS-proc"."""
    return "-".join(word.upper() if word in _SHORT else word for word in spec.name.split("_"))


def names(found: Iterable[str], *, most: int = 3) -> str:
    """The first ``most`` names, and the number of the others: "a, b, c and 4 more"."""
    known = list(found)
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
