"""What plug-ins do in a run beside its tasks: truths of datasets, metrics of earlier rows, set metrics.

It happens in a process of its own (:class:`invbench.run.executors.apart.Apart`), so that what ends the process costs the
plug-in and not the run. It happens in the run's process where no plug-in takes part, and where there are no workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from invbench.api import Dataset, Edit, Sample
from invbench.plugins.config import DatasetChoice, RunSettings
from invbench.plugins.registry import strangers
from invbench.run.executors import processes
from invbench.run.executors.apart import Apart, Gone, blamed
from invbench.run.plan import Cell
from invbench.run.rescoring import outdated, rescore_part
from invbench.run.session import Session, Tools
from invbench.specs import DatasetSpec
from invbench.store import Part, Store


@dataclass
class Asked:
    """A dataset that is asked in another process; whatever goes wrong there is an InvbenchError that names it."""

    spec: DatasetSpec
    apart: Apart[Dataset]
    names: Sequence[str]

    def read(self, index: int) -> Sample:
        """As ``Dataset.read``."""
        with blamed(f"dataset {self.spec.id}: {self.names[index]}"):
            return self.apart.call(_read, index)

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        """As ``Dataset.truth``."""
        with blamed(f"dataset {self.spec.id}: truth of {self.names[index]}"):
            return self.apart.call(_truth, index, edit)


@contextmanager
def asked(settings: RunSettings, choice: DatasetChoice, own: Dataset) -> Iterator[Dataset]:
    """A dataset of the run: ``own``, which is open in this process, unless somebody else wrote it."""
    if not strangers([choice.spec]):
        yield own
        return
    here = settings.workers == 0
    opened = partial(_kept, own) if here else partial(_dataset, settings, choice.spec)
    with Apart[Dataset](opened, limit=_patience(settings), here=here) as apart:
        yield Asked(choice.spec, apart, own.names)


@contextmanager
def measuring(settings: RunSettings, tools: Tools) -> Iterator[Apart[Tools]]:
    """Where metrics are computed: with ``tools``, or with others like these in another process if plug-ins take part."""
    here = settings.workers == 0 or not settings.measuring_strangers()
    opened = partial(_kept, tools) if here else partial(_tools, settings, str(tools.device))
    with Apart[Tools](opened, limit=_patience(settings), here=here) as apart:
        yield apart


def rescore(cell: Cell, tools: Tools, apart: Apart[Tools]) -> None:
    """Bring the rows of a cell up to the recipes of the run's metrics (:func:`invbench.run.rescoring.rescore_part`).

    If that ends its process, a failure of each metric that was somebody else's is recorded, or else of each that was to be
    computed; the rows that are left stay as they are. Raises what it raises.
    """
    for part in tools.store.parts(cell.id):
        if not (due := outdated(cell, part, tools)):
            continue
        try:
            with tools.ledger.spent("metrics"):
                failures = apart.call(_rescored, cell, part)
        except Gone as error:
            theirs = [id for id in due if id in tools.scorer.specs and strangers([tools.scorer.specs[id]])] or due
            tools.scorer.add_failures({id: {"count": len(part.rows), "reason": str(error)} for id in theirs})
            return
        tools.scorer.add_failures(failures)


def scored(apart: Apart[Tools]) -> Callable[..., Any]:
    """``call`` of :func:`invbench.run.aggregate.set_rows`."""

    def call(function: Callable[..., Any], *given: Any) -> Any:
        return apart.call(_with_scorer, function, *given)

    return call


def _patience(settings: RunSettings) -> float | None:
    """Seconds that a call may take, as workers have them between two calls of methods; None: no limit."""
    return None if settings.limit is None else max(processes.PATIENCE, settings.limit)


@contextmanager
def _kept(own: Any) -> Iterator[Any]:
    yield own


@contextmanager
def _dataset(settings: RunSettings, spec: DatasetSpec) -> Iterator[Dataset]:
    with Session(settings.suite, device="cpu", readers=0) as session:
        yield session.dataset(spec)


@contextmanager
def _tools(settings: RunSettings, device: str) -> Iterator[Tools]:
    with Session.of(settings, device=device) as session:
        scorer = session.scorer(settings.metrics, protocols=settings.protocols, required=settings.metrics_required)
        datasets = {choice.id: session.dataset(choice.spec) for choice in settings.datasets}
        yield session.tools(Store(settings.out), scorer, datasets=datasets, choices={})


def _read(dataset: Dataset, index: int) -> Sample:
    return dataset.read(index)


def _truth(dataset: Dataset, index: int, edit: Edit) -> np.ndarray | None:
    return dataset.truth(index, edit)


def _rescored(tools: Tools, cell: Cell, part: Part) -> dict[str, dict[str, Any]]:
    rescore_part(cell, part, tools)
    return tools.scorer.take_failures()


def _with_scorer(tools: Tools, function: Callable[..., Any], *given: Any) -> Any:
    return function(tools.scorer, *given)
