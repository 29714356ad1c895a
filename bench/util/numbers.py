"""Numbers that users give: types of command-line options with checked ranges, and counts in names."""

from __future__ import annotations

import math
from typing import Any

import click

LARGEST = 2**31 - 1  # largest count that a user may give: images, batches, steps, pixels
WORKERS = 1024  # largest number of processes or threads that a user may ask for
SEEDS = 2**32  # seeds are 0 to SEEDS - 1, the range that every random generator accepts


class Within(click.FloatRange):
    """A range of finite numbers, without NaN and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """``value`` as a number. Fails outside the range, for NaN and for infinity."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number in the range {self._describe_range()}, found {value}", param, ctx)
        return number


def count_type(least: int, most: int = LARGEST) -> click.IntRange:
    """The type of an option for a count: a whole number from ``least`` to ``most``, both included."""
    return click.IntRange(least, most)


def count(text: str) -> int | None:
    """The value of a text of decimal digits if it is from 1 to LARGEST, else None."""
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST))
    return int(text) if plain and 1 <= int(text) <= LARGEST else None
