"""Tasks in worker processes: one a GPU, or some on the cores of a CPU. A worker that dies is started again.

A worker opens the settings' networks, methods, metrics and datasets itself, does one task at a time and tells this process of
each call of a method as it begins and ends. If it dies during a call, or the call exceeds its limit of time, the task is done
again from its beginning by a new worker in which that call fails with the reason; a call on a batch is then tried image by
image as after any failure (:func:`invbench.run.shard.isolate`). So a method that ends its process loses the images that do it,
and nothing else. A worker ends when this process is gone.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from invbench.api import InvbenchError
from invbench.plugins.config import MethodChoice, RunSettings
from invbench.run.calls import Call, Ended, Outgrown
from invbench.run.estimate import Estimate
from invbench.run.executors.lane import Lane, told
from invbench.run.executors.worker import Order
from invbench.run.work import Done, Place, Task
from invbench.util import interrupts
from invbench.util.clock import Ledger

DEATHS = 3  # after so many in a row, of images alone, the calls of a kind are not tried any more; likewise outside of calls
PATIENCE = 600.0  # seconds for a worker to open everything, and for a method to be built: to read weights, compile kernels
KILLED = -getattr(signal, "SIGKILL", 9)  # the exit code of a process that the system ended, for want of memory mostly


class Late(Exception):
    """A worker did not go on, and was killed."""


@dataclass
class _Try:
    """A task, and what workers that died at it have shown: which calls may not be made, and which succeed."""

    task: Task
    refused: dict[Hashable, Ended | Outgrown] = field(default_factory=dict)
    succeeded: set[Call] = field(default_factory=set)
    killed: set[Call] = field(default_factory=set)
    deaths: int = 0  # outside of calls


class Processes:
    """An executor (:class:`invbench.run.work.Executor`) for ``with``.

    broken   methods whose every call fails with the reason, without being built
    devices  of each worker, as in :class:`invbench.run.session.Session`
    limit    seconds that a call may take for each of its images; None: no limit
    fits     as in :class:`invbench.run.work.Executor`
    """

    def __init__(
        self,
        settings: RunSettings,
        devices: Sequence[str],
        *,
        limit: float | None,
        ledger: Ledger,
        broken: Mapping[Place, str] | None = None,
        fits: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        self.workers = len(devices)
        self.machines: list[dict[str, Any]] = []
        self._limit, self._ledger = limit, ledger
        self._lanes = [Lane[_Try](settings, device, self.workers) for device in devices]
        self._lanes[0].start()
        self._in_a_row = Counter[tuple[str, str]]()  # deaths by group of calls, since the last call that succeeded
        self._given_up: dict[Hashable, Ended | Outgrown] = {}
        self._broken: dict[Place, str] = dict(broken or {})
        self._stillborn = 0  # workers in a row that died before they were ready
        self.fits: dict[tuple[str, str], int] = dict(fits or {})

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for lane in self._lanes:
            lane.kill()

    def batches(self, methods: Iterable[MethodChoice]) -> dict[Place, int]:
        """As :class:`invbench.run.work.Executor` says. A method that ends its process while it is built fails always.

        So does one that is not built after PATIENCE seconds, or after ``limit`` if that is longer. Every worker builds some.
        """
        found, deaths, left = dict[Place, int](), Counter[Place](), deque(methods)
        building: dict[Lane[_Try], MethodChoice] = {}
        while left or building:
            for lane in self._lanes:
                if left and lane not in building:
                    building[lane] = left.popleft()
                    lane.send(("batch", building[lane]))
            ready = wait([lane.pipe for lane in building], timeout=self._patience([*building]))
            for lane, choice in [*building.items()]:
                place = choice.id, choice.preset
                try:
                    if lane.pipe in ready:
                        self._hear_batch(lane, place, found)
                    elif self._left(lane) <= 0:
                        lane.kill()
                        self._expect_opened(lane)
                        found[place], self._broken[place] = 1, f"while it is built {self._silent}"
                except EOFError:
                    deaths[place] += lane.ready
                    reason = self._bury(lane)
                    if deaths[place] < DEATHS:
                        lane.send(("batch", choice))
                    else:
                        found[place], self._broken[place] = 1, f"while it is built {reason}, {DEATHS} times"
                if place in found:
                    del building[lane]
        return found

    def _hear_batch(self, lane: Lane[_Try], place: Place, found: dict[Place, int]) -> None:
        kind, value = lane.receive()
        if kind == "batch":
            found[place] = value
        else:
            self._note_ready(lane, *value)

    def estimates(self, methods: Iterable[MethodChoice], batches: Mapping[Place, int]) -> dict[Place, Estimate]:
        """What a worker's probe of each method says of its time and memory; nothing of one that raises or ends its process."""
        lane, found = self._lanes[0], dict[Place, Estimate]()
        for choice in methods:
            place = choice.id, choice.preset
            lane.send(("estimate", (choice, batches[place])))
            try:
                while (answer := self._answer(lane))[0] != "estimate":
                    self._note_ready(lane, *answer[1])
            except EOFError:
                self._bury(lane)
                continue
            except Late:
                continue
            if answer[1] is not None:
                found[place] = answer[1]
        return found

    def _answer(self, lane: Lane[_Try]) -> tuple[str, Any]:
        """The next message of a worker, which is killed if there is none for too long.

        Raises Late then; InvbenchError if it has not opened what the settings name; else as :meth:`Lane.receive`.
        """
        if lane.pipe.poll(self._patience_outside):
            return lane.receive()
        lane.kill()
        self._expect_opened(lane)
        raise Late(self._silent)

    @property
    def _patience_outside(self) -> float:
        """Seconds that a worker may take without a word outside of calls, where it opens, builds, reads, measures, writes."""
        return max(PATIENCE, self._limit or 0.0)

    @property
    def _silent(self) -> str:
        return f"its process did not go on for {self._patience_outside:g} s"

    def _expect_opened(self, lane: Lane[_Try]) -> None:
        """Raise InvbenchError if a worker that was killed had not opened everything."""
        if not lane.ready:
            raise InvbenchError(
                f"workers: expected networks, metrics and datasets to be opened within {self._patience_outside:g} s, found one "
                "that was still at it; --in-process does it here, --limit gives more time"
            )

    def run(self, tasks: Iterator[Task], *, on_stage: Callable[[str], None]) -> Iterator[Done]:
        """As :class:`invbench.run.work.Executor` says."""
        again = deque[_Try]()
        while True:
            for lane in self._lanes:
                if lane.doing is None and (one := again.popleft() if again else _next(tasks)) is not None:
                    lane.doing = one
                    lane.send(("task", Order(one.task, {**self._given_up, **one.refused}, self._broken, self.fits)))
            busy = [lane for lane in self._lanes if lane.doing is not None]
            if not busy:
                return
            with self._ledger.spent("waiting"):
                ready = wait([lane.pipe for lane in busy], timeout=self._patience(busy))
            interrupts.heed()
            for lane in busy:
                try:
                    done = self._listen(lane, on_stage) if lane.pipe in ready else None
                except EOFError:
                    again.append(self._blame(lane, self._bury(lane)))
                    continue
                if done is not None:
                    yield done
                elif self._left(lane) <= 0:
                    lane.kill()
                    again.append(self._blame_late(lane))

    def _listen(self, lane: Lane[_Try], on_stage: Callable[[str], None]) -> Done | None:
        """Take a message. Raises EOFError if the worker is dead, and the exception that ended a task."""
        kind, value = lane.receive()
        if kind == "stage":
            on_stage(value)
        elif kind == "began":
            lane.call = value, time.monotonic()
        elif kind == "ended":
            self._note_success(lane, succeeded=value)
            lane.call = None
        elif kind == "done":
            self.fits |= value.fits
            self._ledger.include(value.seconds, busy=value.busy, workers=self.workers, work=value.work())
            lane.doing = None
            return value
        else:
            self._note_ready(lane, *value)
        return None

    def _bury(self, lane: Lane[_Try]) -> Ended | Outgrown:
        """Why a worker died. Raises InvbenchError if none can open what the settings name."""
        ready, code = lane.ready, lane.bury()
        self._stillborn = 0 if ready else self._stillborn + 1
        if self._stillborn == DEATHS:
            raise InvbenchError(
                f"workers: {DEATHS} in a row ended with {told(code)} while they opened networks, metrics and datasets; "
                "--in-process does it here"
            )
        return _reason(code)

    def _note_ready(self, lane: Lane[_Try], busy: float, seconds: dict[str, float]) -> None:
        lane.ready, self._stillborn = True, 0
        self._ledger.include(seconds, busy=busy, workers=self.workers, work={"starts": 1, "starting": busy})

    def _note_success(self, lane: Lane[_Try], *, succeeded: bool) -> None:
        """A success that is new: one that was repeated for another's sake says nothing of the calls after it."""
        if succeeded and lane.call is not None and lane.doing is not None and lane.call[0] not in lane.doing.succeeded:
            lane.doing.succeeded.add(lane.call[0])
            self._in_a_row[lane.call[0].group] = 0

    def _patience(self, busy: Sequence[Lane[_Try]]) -> float | None:
        """Seconds until the first limit is reached; None if there is none."""
        least = max(0.0, min(map(self._left, busy)))
        return None if math.isinf(least) else least

    def _left(self, lane: Lane[_Try]) -> float:
        """Seconds that the call of a worker may still take, or the worker outside of calls."""
        if lane.call is None and (lane.asked or self._limit is not None):
            return lane.heard + self._patience_outside - time.monotonic()
        if lane.call is None or self._limit is None:
            return math.inf
        call, began = lane.call
        return began + self._limit * len(call.images) - time.monotonic()

    def _blame_late(self, lane: Lane[_Try]) -> _Try:
        """As :meth:`_blame`, of a worker that was killed because it took too long."""
        if lane.call is not None:
            return self._blame(lane, Ended(f"the call took more than {self._limit:g} s an image"))
        self._expect_opened(lane)
        one = self._blame(lane, Ended(self._silent))
        one.refused.setdefault(None, Ended(f"{self._silent}, and not during a call of the method"))
        return one

    def _blame(self, lane: Lane[_Try], reason: Ended | Outgrown) -> _Try:
        """The task of a worker that is dead, to be done again without the call that it died at."""
        one, call = lane.doing, lane.call and lane.call[0]
        assert one is not None
        lane.doing = lane.call = None
        if call is None:
            one.deaths += lane.ready
            if one.deaths == DEATHS and None not in one.refused:
                one.refused[None] = Ended(f"{reason}, {DEATHS} times, and not during a call of the method")
            return one
        if isinstance(reason, Outgrown) and call not in one.killed:
            one.killed.add(call)  # once, anybody may have done it
            return one
        one.refused[call] = reason
        if len(call.images) == 1:
            self._in_a_row[call.group] += 1
            if self._in_a_row[call.group] == DEATHS:
                self._given_up[call.group] = Ended(f"not tried: {DEATHS} such calls in a row ended with: {reason}")
        return one


def _next(tasks: Iterator[Task]) -> _Try | None:
    task = next(tasks, None)
    return None if task is None else _Try(task)


def _reason(code: int | None) -> Ended | Outgrown:
    if code == KILLED:
        return Outgrown("the process was killed, perhaps for want of memory")
    return Ended(f"the process ended with {told(code)}")
