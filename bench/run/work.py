"""The tasks of a run, and the bench on which one process does them: networks, methods, metrics and datasets of the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from invbench.data.prefetch import Prefetch
from invbench.plugins.config import MethodChoice, RunSettings
from invbench.run import curves, estimate, guard, latency, shard
from invbench.run.calls import Call, Watch
from invbench.run.compilation import OFF
from invbench.run.foreign.collect import Collect
from invbench.run.plan import Cell, Entry, Shard
from invbench.run.precision import FP32, effective
from invbench.run.session import Session, Tools
from invbench.scoring.scorer import Scorer
from invbench.store import Part, Store

Place = tuple[str, str]
"""Id and preset of a method."""


@dataclass(frozen=True)
class Compute:
    """The task to compute a shard; ``ahead`` are the indices of the pictures of this shard and of the next ones."""

    shard: Shard
    ahead: tuple[int, ...] = ()

    @property
    def cell(self) -> Cell:
        """The cell of the shard."""
        return self.shard.cell

    @property
    def images(self) -> int:
        """Images of the run that the shard finishes."""
        return len({*self.shard.entries} - {*self.cell.beyond})

    def run(self, tools: Tools) -> Part:
        """The part, as written."""
        return shard.run(self.shard, tools)


@dataclass(frozen=True)
class Time:
    """The task to time single images with the method of a cell; its result is a line for the user."""

    cell: Cell
    pictures: latency.Pictures

    @property
    def images(self) -> int:
        """Images that are timed."""
        return self.pictures.count

    def run(self, tools: Tools) -> str:
        """A line with the result."""
        return latency.run(self.cell, self.pictures, tools)


@dataclass(frozen=True)
class Guard:
    """The task to compare a cell's switches with plain fp32 on one picture; its result is a line for the user."""

    cell: Cell
    entry: Entry
    images: int = 0  # of the run, none

    @classmethod
    def of(cls, cells: Iterable[Cell], settings: RunSettings, device: str) -> list[Guard]:
        """One for each of the cells in a run on a kind of device; none if it computes plainly, none for foreign code."""
        if (effective(settings.precision, device), settings.compile) == (FP32, OFF):
            return []
        foreign = {one.id for one in settings.methods if one.foreign is not None}
        first = [(cell, next((entry for entry in cell.entries if entry.sha256 is not None), None)) for cell in cells]
        return [cls(cell, entry) for cell, entry in first if entry is not None and cell.method not in foreign]

    def run(self, tools: Tools) -> str:
        """A line with the result."""
        return guard.run(self.cell, self.entry, tools)


Task = Compute | Time | Guard | Collect


@dataclass(frozen=True)
class Done:
    """A finished task.

    result    what the task gave
    fits      as in :class:`invbench.run.session.Tools`
    failures  metrics that raised during the task, as in :class:`invbench.scoring.scorer.Scorer`, if in another process
    seconds   by purpose, if spent in another process
    busy      seconds that the other process took
    """

    task: Task
    result: Part | str
    fits: dict[tuple[str, str], int] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0

    def work(self) -> dict[str, float]:
        """The task as :meth:`invbench.util.clock.Ledger.work` counts it: not at all if it gave no rows."""
        if not isinstance(self.result, Part):
            return {}
        methods = self.seconds.get("methods", 0.0)
        return {"tasks": 1, "rows": len(self.result.rows), "busy": self.busy, "methods": methods}


class Executor(Protocol):
    """What works through the tasks of a run, in this process or elsewhere. The results are the same to the byte.

    fits  as in :class:`invbench.run.session.Tools`; what an earlier run found may be put in before the first task
    """

    fits: dict[tuple[str, str], int]

    @property
    def workers(self) -> int:
        """The largest number of tasks that are worked on at a time."""
        ...

    @property
    def machines(self) -> list[dict[str, Any]]:
        """The machines on which methods ran, as manifests have them; empty: this one."""
        ...

    def batches(self, methods: Iterable[MethodChoice]) -> dict[Place, int]:
        """The batch of each method for ``--batch auto``. Raises InvbenchError for a method that cannot be built."""
        ...

    def run(self, tasks: Iterator[Task], *, on_stage: Callable[[str], None]) -> Iterator[Done]:
        """Do the tasks. A worker that is free takes the next one; results come in any order."""
        ...


class Bench:
    """Does tasks in the process that made it."""

    def __init__(
        self, settings: RunSettings, session: Session, scorer: Scorer, datasets: Mapping[str, Prefetch], *, workers: int = 1
    ) -> None:
        self.workers = workers
        self.machines: list[dict[str, Any]] = []
        self._settings, self._session, self._scorer, self._datasets = settings, session, scorer, datasets
        self._store = Store(settings.out)
        self._choices = {(choice.id, choice.preset): choice for choice in settings.methods}
        self._announced = ""
        self._warm: set[tuple[str, str, int]] = set()
        self.fits: dict[tuple[str, str], int] = {}

    @classmethod
    def open(cls, settings: RunSettings, session: Session, *, workers: int = 1) -> Bench:
        """With a scorer and datasets of its own. Raises InvbenchError where one cannot be opened."""
        scorer = session.scorer(settings.metrics, protocols=settings.protocols, required=settings.metrics_required)
        datasets = {choice.id: session.dataset(choice.spec) for choice in settings.datasets}
        return cls(settings, session, scorer, datasets, workers=workers)

    def batches(self, methods: Iterable[MethodChoice]) -> dict[Place, int]:
        """As :class:`Executor` says."""
        return {(choice.id, choice.preset): self._session.batch(choice, workers=self.workers) for choice in methods}

    def run(self, tasks: Iterator[Task], *, on_stage: Callable[[str], None]) -> Iterator[Done]:
        """One after the other. A task begins only when the result before it has been taken, so memory stays that of one."""
        for task in tasks:
            yield Done(task, self.do(task, on_stage=on_stage), self.fits)

    def do(self, task: Task, *, on_stage: Callable[[str], None], watch: Watch | None = None) -> Part | str:
        """The result of a task. Raises WriteFailed where it cannot be written."""
        self._announce(task)
        choice = self._choices[task.cell.method, task.cell.preset]
        watch = watch or Watch()
        if isinstance(task, Compute):
            self._warm_up(choice, task.shard, watch)
        tools = self._session.tools(
            self._store,
            self._scorer,
            datasets=self._datasets,
            choices={task.cell.id: choice},
            on_stage=on_stage,
            watch=watch,
            fits=self.fits,
            curves=curves.metrics(self._scorer) if self._settings.curves else (),
        )
        return task.run(tools)

    def break_methods(self, reasons: Mapping[Place, str]) -> None:
        """Let every call of these methods fail with the reason, without building them."""
        for place, reason in reasons.items():
            self._session.fail(self._choices[place], reason)

    def take_failures(self) -> dict[str, dict[str, Any]]:
        """Metrics that raised since the last call of this."""
        return self._scorer.take_failures()

    def _warm_up(self, choice: MethodChoice, shard: Shard, watch: Watch) -> None:
        """Compile what a batch of this size needs, with the fewest steps, so that the compiler's time is not the method's."""
        count = sum(entry.sha256 is not None for entry in shard.entries)
        place = choice.id, choice.preset, count
        if choice.foreign is None and self._session.compiles and count and place not in self._warm:
            self._warm.add(place)
            call = Call(shard.cell.id, "warm-up", None, tuple(entry.name for entry in shard.entries))
            ledger = self._session.ledger
            with ledger.spent("loading"), suppress(Exception, GeneratorExit, SystemExit), watch.over(call):  # the task tells it
                estimate.warm_up(self._settings, choice, self._session, batch=count)

    def _announce(self, task: Task) -> None:
        """Let the pictures of a cell be read ahead, if one process reads all of them."""
        if self._announced == task.cell.id or self.workers > 1 or not isinstance(task, Compute):
            return
        self._announced = task.cell.id
        if self._session.device.type != "cpu" or self._settings.readers:  # on the methods' own cores it would spoil their times
            self._datasets[task.cell.dataset].expect(task.ahead)
