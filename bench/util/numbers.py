"""Numbers as users write them: types of command-line options that admit nothing odd, and counts in names."""

from __future__ import annotations

import math
from typing import Any

import click

LARGEST = 2**31 - 1  # of a count that a user may name: images, batches, steps, pixels
WORKERS = 1024  # processes or threads that a user may ask for
SEEDS = 2**32  # seeds are 0 to SEEDS - 1: what every generator of random numbers takes


class Within(click.FloatRange):
    """A range of finite numbers: neither NaN nor infinity is in it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number in the range {self._describe_range()}, found {value}", param, ctx)
        return number


def count_type(least: int, most: int = LARGEST) -> click.IntRange:
    """The type of an option that counts: a whole number from ``least`` to ``most``."""
    return click.IntRange(least, most)


def count(text: str) -> int | None:
    """The whole number from 1 to LARGEST that a text of digits says, or None."""
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST))
    return int(text) if plain and 1 <= int(text) <= LARGEST else None
