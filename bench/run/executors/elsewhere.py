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
from invbench.run.executors.processes import Processes
from invbench.run.work import Compute, Done, Place, Task, Time
from invbench.store import Part, Store
from invbench.util import provenance
from invbench.util.clock import Ledger
from invbench.util.errors import portable
from invbench.util.files import file_name

TRIES = 3
ROUNDS = 2  # bundles for each job at a time: fewer open networks more rarely, more lose less time on the slowest
POLL = 0.5  # seconds between two looks at the jobs


class Lost(RuntimeError):
    """A job ended without an answer: its machine was lost, it was cancelled, or it took longer than it had asked for."""


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

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Job:
        """Hand over a call."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a job tells: finished tasks, or methods' batches; its machine; seconds by purpose; the error that ended it.

    ``work``: as :meth:`invbench.util.clock.Ledger.work` has it, of the job's own worker.
    """

    done: list[Done] = field(default_factory=list)
    batches: dict[Place, int] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    work: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None


def work(settings: RunSettings, tasks: Sequence[Task], methods: Sequence[MethodChoice], broken: Mapping[Place, str]) -> Answer:
    """The job: find the batches of methods, do tasks. Calls of ``broken`` methods fail with the reason."""
    began, ledger = time.monotonic(), Ledger()
    done: list[Done] = []
    batches: dict[Place, int] = {}
    error: Exception | None = None
    try:
        with Processes(settings, [settings.device], limit=settings.limit, ledger=ledger, broken=broken) as processes:
            batches = processes.batches(methods)
            done.extend(processes.run(iter(tasks), on_stage=lambda stage: None))
    except Exception as raised:
        error = portable(raised)
    counted = {name: number for name, number in ledger.work().items() if name not in ("alone", "growing")}
    seconds = {purpose: spent for purpose, spent in ledger.taken().items() if purpose != "waiting"}
    machine = provenance.machine(settings.device, threads=settings.threads)
    plain = [Done(one.task, one.result, one.fits, one.failures) for one in done]
    return Answer(plain, batches, machine, seconds, time.monotonic() - began, counted, error)


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
        self._settings = settings.model_copy(update={"out": settings.out.absolute()})
        self._cluster, self._ledger = cluster, ledger
        self._jobs: dict[Job, _Bundle] = {}

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for job in self._jobs:
            job.cancel()

    def batches(self, methods: Iterable[MethodChoice]) -> dict[Place, int]:
        """As :class:`invbench.run.work.Executor` says: a job finds them, unless the settings give one."""
        methods = list(methods)
        if self._settings.batch is not None:
            return {(choice.id, choice.preset): self._settings.batch for choice in methods}
        for _ in range(TRIES):
            job = self._cluster.submit(work, self._settings, [], methods, {})
            self._jobs[job] = _Bundle([])
            try:
                return self._heard(job, self._await(job)).batches
            except Lost as lost:
                reason = lost
        raise InvbenchError(f"--executor {self._settings.executor}: expected the batches of methods, found: {reason}")

    def run(self, tasks: Iterator[Task], *, on_stage: Callable[[str], None]) -> Iterator[Done]:
        """As :class:`invbench.run.work.Executor` says."""
        every = list(tasks)
        size = max(1, -(-len(every) // (self.workers * ROUNDS)))
        waiting = deque(_Bundle(every[first : first + size]) for first in range(0, len(every), size))
        while waiting or self._jobs:
            while waiting and len(self._jobs) < self.workers:
                self._submit(waiting.popleft(), {})
            on_stage(f"{len(self._jobs)} jobs")
            ended = [job for job in self._jobs if job.done()]
            if not ended:
                with self._ledger.spent("waiting"):
                    time.sleep(POLL)
            for job in ended:
                bundle = self._jobs[job]
                try:
                    yield from self._heard(job, job.result()).done
                except Lost as lost:
                    self._jobs.pop(job, None)
                    yield from self._try_again(bundle, str(lost), waiting)

    def _submit(self, bundle: _Bundle, broken: Mapping[Place, str]) -> None:
        self._jobs[self._cluster.submit(work, self._settings, bundle.tasks, [], broken)] = bundle

    def _await(self, job: Job) -> Answer:
        with self._ledger.spent("waiting"):
            while not job.done():
                time.sleep(POLL)
        answer: Answer = job.result()
        return answer

    def _heard(self, job: Job, answer: Answer) -> Answer:
        """Note what a job told. Raises the error that ended it."""
        self._jobs.pop(job, None)
        self._ledger.include(answer.seconds, busy=answer.busy, workers=self.workers, work=answer.work)
        if answer.machine not in self.machines:
            self.machines.append(answer.machine)
        if answer.error is not None:
            raise answer.error
        return answer

    def _try_again(self, bundle: _Bundle, reason: str, waiting: deque[_Bundle]) -> Iterator[Done]:
        """Of a lost bundle: what was written; the rest waits for other jobs, or fails."""
        left = []
        for task in bundle.tasks:
            part = self._written(task)
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

    def _written(self, task: Task) -> Part | None:
        """The part of a task, if it is whole in the run folder."""
        if not isinstance(task, Compute):
            return None
        found = Store(self._settings.out).whole_parts(file_name(task.cell.id))
        name, keys = task.shard.name, task.shard.keys
        return next((part for part in found if part.name == name and keys <= {row["key"] for row in part.rows}), None)

    def _failed(self, task: Task, reason: str) -> Done:
        """A task given up: its rows fail with the reason, in this process and without its method."""
        if not isinstance(task, Compute):
            what = "latency" if isinstance(task, Time) else "commands"
            return Done(task, f"{what} of {task.cell.method}.{task.cell.preset}: given up: {reason}")
        here = self._settings.model_copy(update={"device": "cpu"})
        place = task.cell.method, task.cell.preset
        answer = work(here, [task], [], {place: reason})
        if answer.error is not None:
            raise answer.error
        return answer.done[0]
