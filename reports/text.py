"""Numbers and names as text that every table shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pandas as pd

ARROWS = {"lower": "↓", "higher": "↑", "none": ""}
NOTHING = "–"
MARGIN = "±"


def number_format(values: Iterable[float]) -> Callable[[float], str]:
    """One format for a column: as many decimals as give its largest finite value four digits, at most six."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    decimals = min(max(3 - math.floor(math.log10(max(sizes))), 0), 6) if sizes else 0

    def write(value: float) -> str:
        if math.isnan(value):
            return NOTHING
        if math.isinf(value):
            return "∞" if value > 0 else "-∞"
        return f"{value:.{decimals}f}"

    return write


def metric_texts(frame: pd.DataFrame, id: str, *, intervals: bool = False) -> list[str]:
    """A metric's means as text, with ``[low, high]`` and the bias of a set metric, where they are known, if asked for.

    Where some values are infinite, how many are, and the mean of the others.
    """
    finite = frame[f"{id}.finite"] if f"{id}.finite" in frame else frame[id]
    write = number_format(finite)
    texts = []
    for position in range(len(frame)):
        value = float(frame[id].iloc[position])
        text = write(value)
        if math.isinf(value) and f"{id}.inf" in frame:
            count, covered = frame[f"{id}.inf"].iloc[position], frame[f"{id}.n"].iloc[position]
            text += f" ({count} of {covered}" + (f"; others {write(float(finite.iloc[position]))})" if count < covered else ")")
        elif intervals and f"{id}.low" in frame and math.isfinite(low := float(frame[f"{id}.low"].iloc[position])):
            text += f" [{write(low)}, {write(float(frame[f'{id}.high'].iloc[position]))}]"
        if intervals and f"{id}.bias" in frame and math.isfinite(bias := float(frame[f"{id}.bias"].iloc[position])):
            text += f" (bias {write(bias)})"
        texts.append(text)
    return texts


def escape_markdown(text: str) -> str:
    """Text that Markdown and its HTML show as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in text)


def names(found: Iterable[str], *, most: int = 3) -> str:
    """The first few names, and how many more there are."""
    known = list(found)
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
