"""The composition root: the only place that opens networks, methods, datasets and metrics for a call.

A run, its preview, the scoring of external pictures and the verification of a run need different parts. All are built here in
the same way, so the same picture always gets the same score. Nothing else in the harness builds networks, methods, a scorer or
tools (``tests/run/test_session.py`` checks this).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import torch

from invbench.api import Dataset, InvbenchError, Method
from invbench.data import sources
from invbench.data.prefetch import Prefetch
from invbench.folder import BEFORE_PLAN
from invbench.plugins.config import MethodChoice, RunSettings, Suite
from invbench.plugins.registry import build
from invbench.run import compilation
from invbench.run.calls import Failing, Watch
from invbench.run.compilation import OFF, Compiler
from invbench.run.foreign.collected import Collected
from invbench.run.precision import FP32, effective, plain
from invbench.run.round_trips import Move, mover
from invbench.run.sourced import Sourced
from invbench.run.sums import Sums
from invbench.run.switched import Switched
from invbench.scoring import originals
from invbench.scoring.scorer import Scorer
from invbench.specs import DatasetSpec, MethodSpec, MetricSpec, ProtocolSpec
from invbench.store import Store
from invbench.util import provenance
from invbench.util.clock import Ledger
from invbench.util.startup import cores
from invbench.weights.networks import Networks

DIRECTIONS = "directions"  # the role of the network that moves latents
MEMORY_SHARE = 0.5  # share of the free memory that a batch may use; other processes need some too


@dataclass(frozen=True)
class Tools:
    """What shards, rescoring and the latency pass work with.

    methods, moves  by the cell's id; a move shifts latents as the method's edits do (None: not known)
    datasets        datasets by id
    on_stage        called with the name of each stage that begins
    machine         on which methods are timed, in words
    watch           around every call of a method
    curves          ids of the metrics of curves; empty if none are asked for
    fits            (cell's id, kind of call) -> images that fit into memory together, where a batch did not
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
    machine: str
    watch: Watch = field(default_factory=Watch)
    curves: tuple[str, ...] = ()
    fits: dict[tuple[str, str], int] = field(default_factory=dict)


class Session:
    """A suite on a device. Everything is opened at most once and kept; ``with`` ends the worker processes of datasets.

    device   "auto" (the first CUDA device, or the CPU), "cpu", "cuda" or "cuda:N"
    readers  processes that read pictures ahead, as in :class:`invbench.data.prefetch.Prefetch`
    threads  threads of this process on a CPU. They belong to the recipe: a sum over two threads is rounded otherwise than
             over one, so a run is of one thread unless told, whatever the machine and the number of workers
    workers  processes like this one that work at a time. On a CPU with fewer cores than their threads, it is said to be
             shared by them: such times are not compared with those of workers that have cores of their own
    precision  of methods, see :mod:`invbench.run.precision`; metrics compute in fp32
    compile  of methods' networks, see :mod:`invbench.run.compilation`; metrics use them as they are

    Raises InvbenchError for a device that does not exist.
    """

    def __init__(
        self,
        suite: Suite,
        *,
        device: str,
        readers: int | None,
        threads: int = 1,
        workers: int = 1,
        precision: str = FP32,
        compile: str = OFF,
    ) -> None:
        self.ledger = Ledger()
        self.suite = suite
        self.device = choose_device(device)
        self.precision = effective(precision, self.device)
        mode = compilation.effective(compile, self.device)
        self._compiler = None if mode == OFF else Compiler(mode)
        plain(self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(threads)
        crowded = self.device.type == "cpu" and workers * threads > cores()
        self.machine = provenance.described(provenance.machine(str(self.device)), sharing=workers if crowded else 1)
        self.networks = open_networks(suite, self.device)
        self._readers = readers
        self._methods: dict[tuple[str, str], Method] = {}
        self._datasets: dict[str, Prefetch] = {}

    @classmethod
    def of(cls, settings: RunSettings, *, device: str, workers: int = 1) -> Session:
        """The session of one process of a run."""
        return cls(
            settings.suite,
            device=device,
            readers=settings.readers,
            threads=settings.threads,
            workers=workers,
            precision=settings.precision,
            compile=settings.compile,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for dataset in self._datasets.values():
            dataset.close()

    @property
    def compiles(self) -> bool:
        """Whether networks of methods are compiled."""
        return self._compiler is not None

    def method(self, choice: MethodChoice) -> Method:
        """The method with its networks; if its class raises anything but InvbenchError, a method whose every call fails.

        Raises InvbenchError if its module cannot be imported, weights are missing or an option is not admitted.
        """
        place = choice.id, choice.preset
        if place not in self._methods:
            try:
                self._methods[place] = self.build(choice.spec, choice.options)
            except InvbenchError:
                raise
            except (Exception, GeneratorExit, SystemExit) as error:
                self.fail(choice, f"cannot be built: {type(error).__name__}: {error}")
        return self._methods[place]

    def build(self, spec: MethodSpec, options: Mapping[str, Any]) -> Method:
        """A method that is not kept, for example with options other than the run's. Raises as :meth:`method` does."""
        try:
            with self.ledger.spent("loading"):
                made = build(spec, options, self._chosen)
                if self.precision == FP32 and self._compiler is None:
                    return made
                used = [*self.networks.chosen(spec, options).values()]
                return Switched(made, self.precision, self.device, self._compiler, used)
        except InvbenchError as error:
            raise InvbenchError(f"method {spec.id}: {error}") from error
        except (TypeError, ValueError) as error:
            raise InvbenchError(f"method {spec.id}: cannot be built with options {dict(options)}: {error}") from error

    def _chosen(self, spec: MethodSpec, options: Mapping[str, Any]) -> dict[str, Any]:
        """The networks that a method is built with; its directions also move latents by other sources and by sums of edits."""
        found: dict[str, Any] = dict(self.networks.chosen(spec, options))
        return found | {DIRECTIONS: self._moving(found[DIRECTIONS])} if DIRECTIONS in found else found

    def _moving(self, directions: Any) -> Sums:
        return Sums(Sourced(directions, self.networks))

    def _own(self, store: Store, cell: str, choice: MethodChoice) -> Method:
        """The method of a cell: of foreign code, what it left in the run folder."""
        return self.method(choice) if choice.foreign is None else Collected.at(store.foreign(cell))

    def move(self, choice: MethodChoice) -> Move | None:
        """A function that moves latents as the method's edits do, or None if this is not known."""
        directions = self._moving(self.networks[DIRECTIONS]) if DIRECTIONS in choice.spec.roles else None
        return mover(self.method(choice), directions)

    def fail(self, choice: MethodChoice, reason: str) -> None:
        """Let every call of a method raise ``reason``."""
        self._methods[choice.id, choice.preset] = Failing(reason)

    def batch(self, choice: MethodChoice, *, workers: int = 1) -> int:
        """The batch for ``--batch auto``: the method's ``max_batch`` for half of the free memory, at most the suite's bound.

        ``workers`` processes share the memory.

        1 for a method that raises or returns no valid number of images; all its later calls then fail with the reason.
        """
        cuda = self.device.type == "cuda"
        free = torch.cuda.mem_get_info(self.device)[0] if cuda else psutil.virtual_memory().available
        try:
            found = self.method(choice).max_batch(int(free * MEMORY_SHARE) // workers)
            if not 1 <= found < math.inf:
                raise ValueError(f"expected a number of images, 1 or more, found {found!r}")
            return min(int(found), self.suite.max_batch)
        except InvbenchError:
            raise
        except (Exception, GeneratorExit, SystemExit) as error:
            self.fail(choice, f"max_batch: {type(error).__name__}: {error}")
            return 1

    def dataset(self, spec: DatasetSpec) -> Prefetch:
        """The dataset with prefetch. Raises InvbenchError if it cannot be opened."""
        if spec.id not in self._datasets:
            with self.ledger.spent("loading"):
                self._datasets[spec.id] = Prefetch(spec.id, sources.opening(spec), readers=self._readers)
        return self._datasets[spec.id]

    def scorer(self, metrics: Sequence[MetricSpec], *, protocols: Mapping[str, ProtocolSpec], required: bool) -> Scorer:
        """The scorer of the metrics, with the suite's networks and the regions of its edits.

        required  True: a metric without its weights raises InvbenchError; False: it is left out with a reason
        """
        regions = {name: edit.region for name, edit in self.suite.edits.items()}
        with self.ledger.spent("loading"):
            known = originals.kept(self.device)
            return Scorer(metrics, self.networks, protocols=protocols, regions=regions, required=required, kept=known)

    def tools(
        self,
        store: Store,
        scorer: Scorer,
        *,
        datasets: Mapping[str, Dataset],
        choices: Mapping[str, MethodChoice],
        on_stage: Callable[[str], None] = lambda stage: None,
        watch: Watch | None = None,
        fits: dict[tuple[str, str], int] | None = None,
        curves: tuple[str, ...] = (),
    ) -> Tools:
        """The tools for the cells ``choices`` (by cell id); without methods for a call that only scores."""
        own, watch = {cell: self._own(store, cell, choice) for cell, choice in choices.items()}, watch or Watch()
        for method in own.values():
            if isinstance(method, Collected):
                watch = watch.also(method.expect)
        return Tools(
            suite=self.suite.id,
            store=store,
            device=self.device,
            ledger=self.ledger,
            scorer=scorer,
            datasets=datasets,
            methods=own,
            moves={cell: self.move(choice) for cell, choice in choices.items()},
            on_stage=on_stage,
            machine=self.machine,
            watch=watch,
            curves=curves,
            fits={} if fits is None else fits,
        )


def open_networks(suite: Suite, device: torch.device) -> Networks:
    """The suite's networks; each is loaded when it is first used."""
    return Networks(suite, device)


def choose_device(name: str) -> torch.device:
    """"auto" is the first CUDA device, or the CPU. Raises InvbenchError for a device that does not exist."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvbenchError(f"device: expected auto, cpu, cuda or cuda:N on this machine, found {name!r} ({error})") from error
    return device


def open_store(path: Path) -> Store:
    """A run folder, new or to be continued. Raises InvbenchError for a file, and for a folder that holds anything else."""
    store = Store(path)
    if path.exists() and not path.is_dir():
        raise InvbenchError(f"{path}: expected a folder, found a file")
    if path.is_dir() and not (store.exists() or store.has_run()):
        strange = sorted(item.name for item in path.iterdir() if not _begun(item.name))
        if strange:
            raise InvbenchError(f"{path}: expected a run folder or an empty one, found {strange[0]!r} and no plan.json")
    return store


def _begun(name: str) -> bool:
    """Whether a run that was killed before it wrote its plan may have left this item."""
    return name in BEFORE_PLAN or (name.startswith(".") and name.endswith(".tmp"))
