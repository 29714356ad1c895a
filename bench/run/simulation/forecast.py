"""The table of ``invbench simulate``: wall time, device hours and efficiency by the number of devices, and what to choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from invbench.api import printable
from invbench.run.simulation import schedule
from invbench.run.simulation.measured import Measured
from invbench.run.simulation.schedule import Supposed

SURE = 0.9  # share of the draws that end within the time that is told beside the median
HEAD = ("devices", "wall", f"{SURE:.0%} within", "device hours", "efficiency", "speed-up", "tasks lost")


@dataclass(frozen=True)
class Line:
    """What is foretold of a number of devices; times in seconds.

    efficiency  seconds of tasks at the measured pace over the seconds for which devices are held
    lost        mean number of tasks that are given up
    """

    devices: int
    wall: float  # median of the draws
    sure: float  # SURE of the draws end within it
    held: float  # mean
    efficiency: float
    lost: float


@dataclass(frozen=True)
class Place:
    """Where a run would be.

    cluster  jobs of a cluster, each with cores of its own; else workers of one machine
    cores    of that machine: workers share them while they start
    on_cpu   they share them while they work, too
    """

    cluster: bool
    cores: int
    on_cpu: bool

    def crowd(self, count: int, *, starting: bool) -> float:
        """How many times as long each of ``count`` processes of one thread takes as one alone."""
        shared = not self.cluster and (starting or self.on_cpu)
        return max(1.0, count / self.cores) if shared else 1.0

    def told(self) -> str:
        """The place in words."""
        if self.cluster:
            return "jobs of a cluster, with a device each"
        shared = "as they start and work" if self.on_cpu else "as they start"
        return f"workers of one machine with {self.cores} cores, which they share {shared}"


def lines(
    run: Measured, devices: Sequence[int], *, place: Place, supposed: Supposed, draws: int, seed: int
) -> list[Line]:
    """Simulate a run for each number of devices. The draws of one number do not depend on the others."""
    found, threads = [], run.machine.get("threads") or 1
    simulated = schedule.jobs if place.cluster else schedule.workers
    for count in devices:
        rng = np.random.default_rng([seed, count])
        seconds = run.draw(draws, rng)
        ideal = seconds.sum(axis=1)
        busy = min(count, run.tasks)
        start = run.start * place.crowd(busy - (not place.cluster), starting=True)  # the first starts before the others
        seconds *= place.crowd(busy * threads, starting=False)
        out = simulated(seconds, count, start=start, alone=run.alone, supposed=supposed, rng=rng)
        wall, sure = np.quantile(out.wall, [0.5, SURE])
        mean = float(out.held.mean())
        found.append(Line(count, float(wall), float(sure), mean, float(ideal.mean()) / mean, float(out.lost.mean())))
    return found


def choice(found: Sequence[Line], *, least: float, within: float | None) -> str:
    """What to choose, in words: the fewest devices that end ``within`` seconds, else the most whose efficiency is ``least``."""
    if within is not None:
        enough = next((line for line in found if line.sure <= within), None)
        if enough is not None:
            return f"choose {enough.devices}: the fewest that end within {span(within)} in {SURE:.0%} of the draws"
        best = min(found, key=lambda line: line.sure)
        return f"none ends within {span(within)}; the fastest of these is {best.devices}, with {span(best.sure)}"
    good = [line for line in found if line.efficiency >= least]
    if not good:
        best = max(found, key=lambda line: line.efficiency)
        return f"choose {best.devices}: none has an efficiency of {least:.0%}; so small a run is mostly start-up"
    best = min(good, key=lambda line: (line.wall, line.devices))
    return f"choose {best.devices}: the fastest whose devices work for {least:.0%} of the time"


def text(run: Measured, found: Sequence[Line], *, said: Sequence[str], advice: str) -> str:
    """The table, with what was measured and what was supposed above it and the advice below it."""
    one = found[0].wall if found[0].devices == 1 else None
    rows = [
        [
            line.devices,
            span(line.wall),
            span(line.sure),
            f"{line.held / 3600:.3g}",
            f"{line.efficiency:.0%}",
            None if one is None else f"{one / line.wall:.1f}x",
            f"{line.lost:.2g}" if line.lost else None,
        ]
        for line in found
    ]
    images = sum(kind.images for kind in run.kinds)
    head = [
        f"measured on {printable(run.named)}: {len(run.kinds)} cells, {images} images, {run.tasks} tasks; "
        f"start of a worker {run.start:.3g} s, first process alone {run.alone:.3g} s, harness {run.harness:.3g} s a row",
        *said,
    ]
    return "\n".join([*head, "", tabulate(rows, HEAD, missingval="-", disable_numparse=True), "", advice])


def span(seconds: float) -> str:
    """Seconds, minutes or hours with three digits."""
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 120 else f"{seconds:.3g} s"
