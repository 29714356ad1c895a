"""Tasks on other machines that see the run folder: bundles of tasks as jobs of a cluster, each tried again where it is lost.

A job opens the settings' networks, methods, metrics and datasets itself, works through its tasks in a worker process
(:mod:`invbench.run.executors.processes`) and writes the parts. So what ends a method's process costs its image, and what ends
a job costs the task that it was at: tasks whose parts are written are done. A task that is lost with its job TRIES times, the
last time alone in it, has failed rows with the reason.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from invbench.api import InvbenchError
from invbench.plugins.config import MethodChoice, RunSettings
from invbench.run.estimate import Estimate
from invbench.run.executors import asks
from invbench.run.executors.asks import Asks
from invbench.run.executors.processes import Processes
from invbench.run.work import Compute, Done, Guard, Place, Task, Time
from invbench.store import Part, Store
from invbench.util import provenance
from invbench.util.clock import Ledger
from invbench.util.errors import portable
from invbench.util.files import file_name

TRIES = 3
ROUNDS = 2  # bundles for each job at a time: fewer open networks more rarely, more lose less time on the slowest
POLL = 0.5  # seconds between two looks at the jobs
FULL_POLL = 5.0  # seconds between two tries to hand over a job, and looks at the jobs, where the queue is full
QUEUE = 3600.0  # seconds for which a queue may be full without a job of ours, before the run gives up


class Lost(RuntimeError):
    """A job ended without an answer: its machine was lost, it was cancelled, or it took longer than it had asked for."""


class Busy(InvbenchError):
    """The queue takes no job at present."""


class Job(Protocol):
    """A call that was handed to a cluster."""

    def done(self) -> bool:
        """Whether there is an answer, or will be none."""
        ...

    def result(self) -> Any:
        """The answer. Raises Lost if there is none."""
        ...

    def cancel(self) -> None:
        """End the job, if it has not ended."""
        ...


class Cluster(Protocol):
    """Where calls can be made by other processes, with arguments and answers that can be pickled."""

    @property
    def timed(self) -> bool:
        """Whether a job has to say how long it may take, and the user has not said it."""
        ...

    def submit(self, call: Callable[..., Any], *arguments: Any, asks: Asks) -> Job:
        """Hand over a call. Raises Busy where the queue takes none at present, InvbenchError where it never will."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a job tells: finished tasks, or methods' batches; its machine; seconds by purpose; the error that ended it.

    ``estimates``: of methods whose batches were found, but for those that cannot be probed.
    ``work``: as :meth:`invbench.util.clock.Ledger.work` has it, of the job's own worker.
    """

    done: list[Done] = field(default_factory=list)
    batches: dict[Place, int] = field(default_factory=dict)
    estimates: dict[Place, Estimate] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    work: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None


def work(
    settings: RunSettings,
    tasks: Sequence[Task],
    methods: Sequence[MethodChoice],
    broken: Mapping[Place, str],
    fits: Mapping[tuple[str, str], int],
) -> Answer:
    """The job: find the batches of methods and probe them, do tasks. Calls of ``broken`` methods fail with the reason.

    Tasks whose parts are written are done: a cluster may begin a job again that it ended.
    """
    began, ledger = time.monotonic(), Ledger()
    done = [Done(task, part) for task in tasks if (part := _written(settings, task)) is not None]
    left = [task for task in tasks if task not in [one.task for one in done]]
    if not (left or methods):
        return Answer(done)
    batches: dict[Place, int] = {}
    estimates: dict[Place, Estimate] = {}
    error: Exception | None = None
    try:
        own = Processes(settings, [settings.device], limit=settings.limit, ledger=ledger, broken=broken, fits=fits)
        with own as processes:
            asked = {(choice.id, choice.preset): settings.batch for choice in methods} if settings.batch else {}
            batches = asked or processes.batches(methods)
            estimates = processes.estimates(methods, batches)
            done.extend(processes.run(iter(left), on_stage=lambda stage: None))
    except Exception as raised:
        error = portable(raised)
    counted = {name: number for name, number in ledger.work().items() if name not in ("alone", "growing")}
    seconds = {purpose: spent for purpose, spent in ledger.taken().items() if purpose != "waiting"}
    machine = provenance.machine(settings.device, threads=settings.threads)
    plain = [Done(one.task, one.result, one.fits, one.failures) for one in done]
    return Answer(plain, batches, estimates, machine, seconds, time.monotonic() - began, counted, error)


@dataclass
class _Bundle:
    """Tasks of one job, and how often jobs with them were lost."""

    tasks: list[Task]
    losses: int = 0


class Elsewhere:
    """An executor (:class:`invbench.run.work.Executor`) for ``with``: at most ``workers`` jobs at a time."""

    def __init__(self, settings: RunSettings, cluster: Cluster, *, ledger: Ledger) -> None:
        self.workers = settings.workers or 1
        self.machines: list[dict[str, Any]] = []
        self.fits: dict[tuple[str, str], int] = {}
        self._settings = settings.model_copy(update={"out": settings.out.absolute()})
        self._cluster, self._ledger = cluster, ledger
        self._jobs: dict[Job, _Bundle] = {}
        self._estimates: dict[Place, Estimate] = {}
        self._full: str | None = None  # why the queue took no job at the last try
        self._since = 0.0  # it was full without any job of ours in it

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for job in self._jobs:
            job.cancel()

    def batches(self, methods: Iterable[MethodChoice]) -> dict[Place, int]:
        """As :class:`invbench.run.work.Executor` says: a job finds them, and probes the methods for what jobs ask for.

        There is none if the settings give the batch, and jobs need not say how long they take.
        """
        methods = list(methods)
        if self._settings.batch is not None and not self._cluster.timed:
            return {(choice.id, choice.preset): self._settings.batch for choice in methods}
        reason = ""
        for _ in range(TRIES):
            while (job := self._submit(_Bundle([]), {}, methods)) is None:
                self._pause()
            try:
                answer = self._heard(job, self._await(job))
            except Lost as lost:
                reason = str(lost)
                self._jobs.pop(job, None)
                continue
            self._estimates = answer.estimates
            return answer.batches
        raise InvbenchError(f"--executor {self._settings.executor}: expected the batches of methods, found: {reason}")

    def run(self, tasks: Iterator[Task], *, on_stage: Callable[[str], None]) -> Iterator[Done]:
        """As :class:`invbench.run.work.Executor` says."""
        every = list(tasks)
        size = max(1, -(-len(every) // (self.workers * ROUNDS)))
        waiting = deque(_Bundle(every[first : first + size]) for first in range(0, len(every), size))
        while waiting or self._jobs:
            while waiting and len(self._jobs) < self.workers and self._submit(waiting[0], {}) is not None:
                waiting.popleft()
            on_stage(f"{len(self._jobs)} jobs" + (", the queue is full" if self._full else ""))
            ended = [job for job in self._jobs if job.done()]
            if not ended:
                self._pause()
            for job in ended:
                bundle = self._jobs[job]
                try:
                    yield from self._heard(job, job.result()).done
                except Lost as lost:
                    self._jobs.pop(job, None)
                    yield from self._try_again(bundle, str(lost), waiting)

    def _submit(self, bundle: _Bundle, broken: Mapping[Place, str], methods: Sequence[MethodChoice] = ()) -> Job | None:
        """A job with the bundle; None if the queue is full. Raises Busy if it has been for QUEUE seconds, without our jobs."""
        needs = asks.of(self._settings, bundle.tasks, self._estimates, losses=bundle.losses)
        try:
            job = self._cluster.submit(work, self._settings, bundle.tasks, methods, broken, dict(self.fits), asks=needs)
        except Busy as busy:
            if self._jobs or self._full is None:
                self._since = time.monotonic()
            self._full = str(busy)
            if time.monotonic() - self._since > QUEUE:
                raise
            return None
        self._full = None
        self._jobs[job] = bundle
        return job

    def _pause(self) -> None:
        with self._ledger.spent("waiting"):
            time.sleep(POLL if self._full is None else FULL_POLL)

    def _await(self, job: Job) -> Answer:
        while not job.done():
            self._pause()
        answer: Answer = job.result()
        return answer

    def _heard(self, job: Job, answer: Answer) -> Answer:
        """Note what a job told. Raises the error that ended it."""
        self._jobs.pop(job, None)
        self._ledger.include(answer.seconds, busy=answer.busy, workers=self.workers, work=answer.work)
        for one in answer.done:
            self.fits |= one.fits
        if answer.machine and answer.machine not in self.machines:
            self.machines.append(answer.machine)
        if answer.error is not None:
            raise answer.error
        return answer

    def _try_again(self, bundle: _Bundle, reason: str, waiting: deque[_Bundle]) -> Iterator[Done]:
        """Of a lost bundle: what was written; the rest waits for other jobs, or fails."""
        left = []
        for task in bundle.tasks:
            part = _written(self._settings, task)
            if part is None:
                left.append(task)
            else:
                yield Done(task, part)
        losses = bundle.losses + 1
        if losses < TRIES - 1:
            waiting.extend([_Bundle(left, losses)] if left else [])
        elif losses < TRIES:
            waiting.extend(_Bundle([task], losses) for task in left)
        else:
            for task in left:
                yield self._failed(task, f"its job was lost {TRIES} times: {reason}")

    def _failed(self, task: Task, reason: str) -> Done:
        """A task given up: its rows fail with the reason, in this process and without its method."""
        if not isinstance(task, Compute):
            what = {Time: "latency", Guard: "comparison with fp32"}.get(type(task), "commands")
            return Done(task, f"{what} of {task.cell.method}.{task.cell.preset}: given up: {reason}")
        here = self._settings.model_copy(update={"device": "cpu"})
        place = task.cell.method, task.cell.preset
        answer = work(here, [task], [], {place: reason}, {})
        if answer.error is not None:
            raise answer.error
        return answer.done[0]


def _written(settings: RunSettings, task: Task) -> Part | None:
    """The part of a task, if it is whole in the run folder."""
    if not isinstance(task, Compute):
        return None
    found = Store(settings.out).whole_parts(file_name(task.cell.id))
    name, keys = task.shard.name, task.shard.keys
    return next((part for part in found if part.name == name and keys <= {row["key"] for row in part.rows}), None)
