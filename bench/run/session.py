"""The composition root: the one place that opens what a call works with.

A run, its preview, the scores of pictures by other code and the check of a run differ in what they ask for. What they get is
built here, in one way, so the same picture has the same score whoever asks for it. Nothing else in the harness builds
networks, methods, a scorer or tools (``tests/run/test_session.py`` looks for it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import torch

from invbench.api import Dataset, DatasetSpec, InvbenchError, Method, MethodSpec, MetricSpec, ProtocolSpec
from invbench.data import sources
from invbench.data.prefetch import Prefetch
from invbench.options import make
from invbench.plugins.config import MethodChoice, Suite
from invbench.plugins.registry import load
from invbench.run.calls import Failing
from invbench.run.round_trips import Move, mover
from invbench.scoring.scorer import Scorer
from invbench.store import BEFORE_PLAN, Store
from invbench.util.clock import Ledger
from invbench.weights.networks import Networks

MEMORY_SHARE = 0.5  # of what is free now: a batch must not drive out what else the machine is doing


@dataclass(frozen=True)
class Tools:
    """What shards, rescoring and the latency pass work with.

    methods, moves  by the cell's id; a move says how the method's edits move its latents (None: nobody knows)
    datasets        by id
    on_stage        is told of each stage that begins
    """

    suite: str
    store: Store
    device: torch.device
    ledger: Ledger
    scorer: Scorer
    datasets: Mapping[str, Dataset]
    methods: Mapping[str, Method]
    moves: Mapping[str, Move | None]
    on_stage: Callable[[str], None]


class Session:
    """A suite on a device. What is asked for is opened once and kept; ``with`` ends the worker processes of datasets.

    device   "auto" (the first CUDA device, or the CPU), "cpu", "cuda" or "cuda:N"
    workers  processes that decode pictures ahead, as in :class:`invbench.data.prefetch.Prefetch`

    Raises InvbenchError for a device that is not there.
    """

    def __init__(self, suite: Suite, *, device: str, workers: int | None) -> None:
        self.ledger = Ledger()
        self.suite = suite
        self.device = choose_device(device)
        self.networks = open_networks(suite, self.device)
        self._workers = workers
        self._methods: dict[tuple[str, str], Method] = {}
        self._datasets: dict[str, Prefetch] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for dataset in self._datasets.values():
            dataset.close()

    def method(self, choice: MethodChoice) -> Method:
        """The method with its networks; where its class raises anything but a refusal of its options, one whose calls fail.

        Raises InvbenchError where its module cannot be imported, weights are missing or an option does not fit.
        """
        place = choice.id, choice.preset
        if place not in self._methods:
            try:
                self._methods[place] = self.build(choice.spec, choice.options)
            except InvbenchError:
                raise
            except Exception as error:
                self._methods[place] = Failing(f"cannot be built: {type(error).__name__}: {error}")
        return self._methods[place]

    def build(self, spec: MethodSpec, options: Mapping[str, Any]) -> Method:
        """A method that is not kept, with other options than a run's, say. Raises as :meth:`method` does."""
        try:
            with self.ledger.spent("loading"):
                return load(spec)(self.networks.chosen(spec), make(spec, options))
        except InvbenchError as error:
            raise InvbenchError(f"method {spec.id}: {error}") from error
        except (TypeError, ValueError) as error:
            raise InvbenchError(f"method {spec.id}: cannot be built with options {dict(options)}: {error}") from error

    def move(self, choice: MethodChoice) -> Move | None:
        """How the edits of a method move its latents, or None where nobody knows."""
        directions = self.networks["directions"] if "directions" in choice.spec.roles else None
        return mover(self.method(choice), directions)

    def batch(self, choice: MethodChoice) -> int:
        """The batch for ``--batch auto``: what the method says fits into half of the free memory, at most the suite's bound.

        1 for a method that raises, or says what is no number of images; its calls fail from then on, and say why.
        """
        cuda = self.device.type == "cuda"
        free = torch.cuda.mem_get_info(self.device)[0] if cuda else psutil.virtual_memory().available
        try:
            found = self.method(choice).max_batch(int(free * MEMORY_SHARE))
            if not 1 <= found < math.inf:
                raise ValueError(f"expected a number of images, 1 or more, found {found!r}")
            return min(int(found), self.suite.max_batch)
        except InvbenchError:
            raise
        except Exception as error:
            self._methods[choice.id, choice.preset] = Failing(f"max_batch: {type(error).__name__}: {error}")
            return 1

    def dataset(self, spec: DatasetSpec) -> Prefetch:
        """The dataset, which reads ahead where it is told what will be read. Raises InvbenchError when it cannot be opened."""
        if spec.id not in self._datasets:
            with self.ledger.spent("loading"):
                self._datasets[spec.id] = Prefetch(spec.id, sources.opening(spec), workers=self._workers)
        return self._datasets[spec.id]

    def scorer(self, metrics: Sequence[MetricSpec], *, protocols: Mapping[str, ProtocolSpec], required: bool) -> Scorer:
        """The metrics under their protocols, with all that the suite says of them: its networks and the regions of its edits.

        required  a metric that lacks its weights is an InvbenchError, else it is left out with a reason
        """
        regions = {name: edit.region for name, edit in self.suite.edits.items()}
        with self.ledger.spent("loading"):
            return Scorer(metrics, self.networks, protocols=protocols, regions=regions, required=required)

    def tools(
        self,
        store: Store,
        scorer: Scorer,
        *,
        datasets: Mapping[str, Dataset],
        choices: Mapping[str, MethodChoice],
        on_stage: Callable[[str], None],
    ) -> Tools:
        """What work on the cells ``choices`` (by their ids) needs; without methods for a call that only scores."""
        return Tools(
            suite=self.suite.id,
            store=store,
            device=self.device,
            ledger=self.ledger,
            scorer=scorer,
            datasets=datasets,
            methods={cell: self.method(choice) for cell, choice in choices.items()},
            moves={cell: self.move(choice) for cell, choice in choices.items()},
            on_stage=on_stage,
        )


def open_networks(suite: Suite, device: torch.device) -> Networks:
    """The suite's networks, none of them loaded yet."""
    return Networks(suite, device)


def choose_device(name: str) -> torch.device:
    """"auto" is the first CUDA device, or the CPU. Raises InvbenchError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvbenchError(f"device: expected auto, cpu, cuda or cuda:N on this machine, found {name!r} ({error})") from error
    return device


def open_store(path: Path) -> Store:
    """A run folder, new or to be continued; raises InvbenchError for a file and for a folder that holds something else."""
    store = Store(path)
    if path.exists() and not path.is_dir():
        raise InvbenchError(f"{path}: expected a folder, found a file")
    if path.is_dir() and not store.exists():
        strange = sorted(item.name for item in path.iterdir() if not _begun(item.name))
        if strange:
            raise InvbenchError(f"{path}: expected a run folder or an empty one, found {strange[0]!r} and no plan.json")
    return store


def _begun(name: str) -> bool:
    """Whether an item of a folder is what a run that was killed before its plan may leave."""
    return name in BEFORE_PLAN or (name.startswith(".") and name.endswith(".tmp"))
