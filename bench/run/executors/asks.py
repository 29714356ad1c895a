"""What a job asks a cluster for: time and memory by the estimates of ``invbench plan``, made on the cluster's own device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invbench.plugins.config import RunSettings
from invbench.run.estimate import Estimate
from invbench.run.work import Compute, Place, Task

GIB = 2**30
SAFETY = 3.0  # an estimate leaves out metrics, and other jobs may slow the machine
START = 600.0  # seconds to start, to load and to be late
ROW = 2.0  # seconds for the metrics, reading and writing of a row
UNKNOWN = 4 * 3600.0  # seconds of a job with a method that could not be probed


@dataclass(frozen=True)
class Asks:
    """``seconds`` that a job may take, and bytes of main ``memory``."""

    seconds: float
    memory: int

    @property
    def minutes(self) -> int:
        """The time in whole minutes."""
        return math.ceil(self.seconds / 60)

    @property
    def gib(self) -> int:
        """The memory in whole GiB."""
        return math.ceil(self.memory / GIB)


def memory(resolution: int) -> int:
    """Bytes that a worker on a CPU takes with the networks of a suite: 2 GiB at 64 x 64, 10 GiB at 1024 x 1024."""
    return (2 + resolution // 128) * GIB


def of(settings: RunSettings, tasks: Sequence[Task], estimates: Mapping[Place, Estimate], *, losses: int = 0) -> Asks:
    """What a job with these tasks asks for. After each loss it asks for twice the time, for that may have been too short."""
    seconds, held = START, 0
    for task in tasks:
        known = estimates.get((task.cell.method, task.cell.preset))
        if known is None:
            seconds += UNKNOWN / len(tasks)
            continue
        turns = len(task.cell.edits) + 2 * len(task.cell.consistency)
        inversions = 1 + len(task.cell.consistency)
        rows = 1 + len(task.cell.asked)
        images = len(task.shard.entries) if isinstance(task, Compute) else task.images
        seconds += images * (SAFETY * (inversions * known.invert + turns * known.edit) + ROW * rows)
        held = max(held, known.memory)
    least = memory(settings.suite.resolution)
    own = held if settings.device == "cpu" else 0  # else it is memory of the device
    return Asks(seconds * 2**losses, least + own)
