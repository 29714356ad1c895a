"""Synchronised stage times and peak memory of one call to a method; where the time of a whole run goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from types import TracebackType

import psutil
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from invbench.api import STAGES

USEFUL = ("methods", "metrics")  # what is no overhead
_STATUS = "/proc/self/status"
_RESET = "/proc/self/clear_refs"  # writing "5" lets the high-water mark of the process's memory start again (Linux)


class StageClock:
    """Measures a call: ``with StageClock(device) as clock: method.invert(images, clock)``.

    The device is synchronised whenever a stage or the whole begins and ends, so that work which was only queued is
    counted where it belongs. A stage may be entered many times; its times add up. Stages do not nest.

    stages          wall seconds by stage name, in the order of first use
    device_seconds  seconds between two events on the device's stream, by stage name; on a CPU the same as ``stages``
    total           wall seconds of the whole call, in stages or not
    device_peak     bytes allocated on the device at the worst moment of the call (0 on a CPU)
    rss_peak        bytes resident in main memory at the worst moment of the call

    ``on_stage`` is called with the name of each stage that begins and, since optimisers tell of their steps, with each step in
    it ("refine, step 12"): a method's loop need not know who watches.

    ``on_pictures(step, images, rows, seconds)``, if it is set, is called with the pictures that a method shows on its way
    (:meth:`passed`). The time that this takes is in no stage and not in ``total``; its memory is in the peaks.

    ``memory=False`` leaves the two peaks at 0: to ask for them costs about 50 microseconds a stage, of the whole call's time.
    """

    def __init__(
        self, device: torch.device | str = "cpu", *, on_stage: Callable[[str], None] | None = None, memory: bool = True
    ) -> None:
        self.device = torch.device(device)
        self.stages: dict[str, float] = {}
        self.device_seconds: dict[str, float] = {}
        self.total = 0.0
        self.device_peak = 0
        self.rss_peak = 0
        self.on_pictures: Callable[[int, Tensor, Tensor | None, float], None] | None = None
        self._on_stage = on_stage
        self._memory = memory
        self._current: str | None = None
        self._began: float | None = None
        self._credit: tuple[dict[str, float], float, int, int] | None = None
        self._away = 0.0  # seconds that watching took

    def __enter__(self) -> StageClock:
        if self._began is not None:
            raise ValueError("the clock is already running")
        self._synchronise()
        if self._memory:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            _reset_rss_peak()
        self._away = 0.0
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._synchronise()
        assert self._began is not None
        self.total += time.perf_counter() - self._began - self._away
        self._began = None
        self._take_memory()
        if self._credit is not None:
            self.stages, self.total, self.rss_peak, self.device_peak = self._credit
            self.device_seconds = dict(self.stages)

    def credit(self, stages: Mapping[str, float], *, total: float, rss_peak: int, device_peak: int) -> None:
        """What the call took elsewhere, measured there; it takes the place of what is measured here.

        ``total`` in wall seconds, NaN where nobody knows; peaks in bytes.
        """
        self._credit = dict(stages), total, rss_peak, device_peak

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage. Raises ValueError for a name that is not in ``invbench.api.STAGES`` and for a stage in a stage."""
        if name not in STAGES:
            raise ValueError(f"unknown stage {name!r}; expected one of {', '.join(STAGES)}")
        if self._current is not None:
            raise ValueError(f"stage {name!r} began inside stage {self._current!r}; stages do not nest")
        self._current = name
        steps = self._watch_steps(name)
        self._synchronise()
        events = self._record()
        began, away = time.perf_counter(), self._away
        try:
            yield
        finally:
            if steps is not None:
                steps.remove()
            end = self._record()
            self._synchronise()
            away = self._away - away
            wall = time.perf_counter() - began - away
            on_device = events.elapsed_time(end) / 1000 - away if events is not None and end is not None else wall
            self.stages[name] = self.stages.get(name, 0.0) + wall
            self.device_seconds[name] = self.device_seconds.get(name, 0.0) + on_device
            self._current = None
            self._take_memory()

    def passed(self, step: int, images: Tensor, rows: Tensor | None = None) -> None:
        """Show the pictures after ``step`` steps to who watches (:func:`invbench.methods.common.curves.show`)."""
        if self.on_pictures is None or self._began is None:
            return
        self._synchronise()
        now = time.perf_counter()
        try:
            self.on_pictures(step, images, rows, now - self._began - self._away)
        finally:
            self._synchronise()
            self._away += time.perf_counter() - now

    def _watch_steps(self, name: str) -> RemovableHandle | None:
        if self._on_stage is None:
            return None
        tell, counted = self._on_stage, count(1)
        tell(name)
        return register_optimizer_step_post_hook(lambda *_: tell(f"{name}, step {next(counted)}"))

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _record(self) -> torch.cuda.Event | None:
        if self.device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _take_memory(self) -> None:
        if not self._memory:
            return
        self.rss_peak = max(self.rss_peak, _rss_peak())
        if self.device.type == "cuda":
            self.device_peak = max(self.device_peak, torch.cuda.max_memory_allocated(self.device))


class Ledger:
    """Wall seconds of a run by purpose: ``with ledger.spent("writing"):``. Inner purposes are taken out of outer ones."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()
        self._inner = [0.0]
        self._elsewhere = self._overhead_elsewhere = 0.0
        self._others: dict[str, float] = {}
        self._work: dict[str, float] = {}

    @contextmanager
    def spent(self, purpose: str) -> Iterator[None]:
        """Add the wall seconds of the ``with`` block to ``purpose``."""
        began = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            wall = time.perf_counter() - began
            self.seconds[purpose] = self.seconds.get(purpose, 0.0) + wall - self._inner.pop()
            self._inner[-1] += wall

    def taken(self) -> dict[str, float]:
        """Seconds by purpose since the last call of this; they are counted no more."""
        seconds = dict(self.seconds)
        self.seconds.clear()
        return seconds

    def include(
        self, seconds: Mapping[str, float], *, busy: float, workers: int, work: Mapping[str, float] | None = None
    ) -> None:
        """Add what another process spent by purpose during ``busy`` seconds, while ``workers`` processes worked.

        work  numbers to be added to those of :meth:`work`
        """
        for purpose, spent in seconds.items():
            self.seconds[purpose] = self.seconds.get(purpose, 0.0) + spent
            self._others[purpose] = self._others.get(purpose, 0.0) + spent
        for name, number in (work or {}).items():
            self._work[name] = self._work.get(name, 0) + number
        useful = sum(seconds.get(purpose, 0.0) for purpose in USEFUL)
        self._elsewhere += useful
        self._overhead_elsewhere += (busy - useful) / workers

    def work(self) -> dict[str, float]:
        """What other processes did for this one, from which larger runs can be foretold; empty if they did nothing.

        starts, starting       processes that became ready, and the seconds that they took for that
        tasks, rows            finished tasks that gave rows, and the rows
        busy, methods          seconds of these tasks, and those of methods among them
        alone, growing         seconds of this process when it did not wait, and those among them that grow with the images
        """
        if not self._work.get("tasks"):
            return {}
        own = {purpose: spent - self._others.get(purpose, 0.0) for purpose, spent in self.seconds.items()}
        alone = time.perf_counter() - self._began - own.get("waiting", 0.0)
        growing = sum(own.get(purpose, 0.0) for purpose in ("data", "metrics", "writing"))
        return {**self._work, "alone": alone, "growing": max(growing, 0.0)}

    def summary(self) -> dict[str, float]:
        """Seconds by purpose, ``wall`` since the ledger was opened, and ``overhead``: outside methods and metrics.

        The overhead is that of this process, without ``waiting`` for others, and the others' share: theirs over their number.
        It is an upper bound, since processes load at the same time; at most ``wall``.
        """
        wall = time.perf_counter() - self._began
        useful = sum(self.seconds.get(purpose, 0.0) for purpose in USEFUL) - self._elsewhere
        overhead = wall - useful - self.seconds.get("waiting", 0.0) + self._overhead_elsewhere
        return {**self.seconds, "wall": wall, "overhead": min(overhead, wall)}


def _reset_rss_peak() -> None:
    try:
        with open(_RESET, "w") as handle:
            handle.write("5")
    except OSError:
        pass  # not Linux, or not allowed: the peak is then that of the process so far, or what _rss_peak sees


def _rss_peak() -> int:
    """Bytes: the high-water mark of resident memory where the system keeps one, else what is resident now."""
    try:
        with open(_STATUS) as handle:
            for line in handle:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return psutil.Process().memory_info().rss
