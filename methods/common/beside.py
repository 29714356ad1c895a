"""Work of the processor that is done while a GPU computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")


def started(work: Callable[[Item], Found], items: Iterable[Item], *, device: torch.device) -> list[Callable[[], Found]]:
    """``work`` of each item, begun now in threads; each call gives a result, or raises what the work raised.

    device  on which the caller computes meanwhile. On a CPU nothing would be gained: there, work begins when it is asked for.

    The work must not hold the interpreter's lock for long: NumPy, SciPy and scikit-image's SLIC release it.
    """
    if device.type == "cpu":
        return [partial(work, item) for item in items]
    pool = ThreadPoolExecutor(os.cpu_count())
    found: list[Callable[[], Found]] = [pool.submit(work, item).result for item in items]
    pool.shutdown(wait=False)  # the threads end with their work
    return found
