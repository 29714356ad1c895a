"""How a method shows its way: pictures after so many steps, for the curves of ``invbench run --curves``."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def show(clock: Any, step: int, images: Tensor, *, rows: Tensor | None = None) -> None:
    """Show the pictures [n, 3, H, W] that the method would give after ``step`` steps, within a stage of its clock or between.

    clock  an :class:`invbench.api.Clock`, or None where there is none
    rows   int64 [n], their places in the batch; None: all of it

    Nothing happens unless somebody watches, and what watching takes is not in the method's times. Only pictures before the last
    are shown: the result comes by itself. A stage that counts its steps from the start goes on where the one before ended.
    """
    passed = getattr(clock, "passed", None)
    if passed is not None:
        passed(step, images, rows)
