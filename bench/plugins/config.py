"""The configuration and the settings of one run, as frozen models; :mod:`invbench.plugins.files` reads its files.

Numbers are checked strictly: a whole number may not be a boolean, a text or a fraction, every number must be finite, and a
count has a bound (:mod:`invbench.util.numbers`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, Strict, ValidationError, field_validator, model_validator

from invbench.api import SUM, Edit, InvbenchError
from invbench.plugins import files, own_directions, pairs
from invbench.plugins.declarations import Spec
from invbench.plugins.foreign import Foreign
from invbench.plugins.frozen import Frozen
from invbench.plugins.registry import OURS, strangers
from invbench.specs import DatasetSpec, MethodSpec, MetricSpec, ProtocolSpec
from invbench.util.names import unknown
from invbench.util.numbers import LARGEST, SEEDS, WORKERS

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # it is part of lists, file names and paths
Whole = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
Count = Annotated[int, Strict(), Field(gt=0, le=LARGEST)]
Workers = Annotated[int, Strict(), Field(ge=0, le=WORKERS)]
Seed = Annotated[int, Strict(), Field(ge=0, lt=SEEDS)]
Finite = Annotated[float, Strict(), Field(allow_inf_nan=False)]  # a whole number will do
RESOLUTION = 2**14  # pixels a side
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
Model = TypeVar("Model", bound=BaseModel)


class NetworkConfig(Frozen):
    """One role of a suite. Exactly one of three forms (docs/weights.md):

    class   ``module:Class`` with ``weights`` of the zoo (None = a network without weights)
    asset   an official file of ``assets.toml``, or several, of which the first that is present is used; ``part`` names the
            network to build if a file holds several
    loader  ``module:function`` that makes one network of several ``assets`` (its argument name -> asset)
    """

    cls: str | None = Field(default=None, alias="class", pattern=r"^[\w.]+:\w+$")
    weights: Path | None = None
    asset: str | tuple[str, ...] | None = None
    part: str | None = None
    loader: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    assets: dict[str, str] = {}
    config: dict[str, Any] = {}  # class: overrides of the configuration stored beside the weights; else the loader's arguments

    @model_validator(mode="after")
    def _one_form(self) -> NetworkConfig:
        forms = [name for name in ("class", "asset", "loader") if getattr(self, "cls" if name == "class" else name)]
        if len(forms) != 1:
            raise ValueError(f"expected one of the keys class, asset and loader, found {' and '.join(forms) or 'none'}")
        if strange := _not_plain(self.config, "config"):
            raise ValueError(strange)
        for key, form in (("weights", "class"), ("part", "asset"), ("assets", "loader")):
            if getattr(self, key) and forms != [form]:
                raise ValueError(f"{key}: goes with {form}, found {forms[0]}")
        return self

    @property
    def choices(self) -> tuple[str, ...]:
        """For the form ``asset``: the assets that may be used, best first; else empty."""
        return (self.asset,) if isinstance(self.asset, str) else self.asset or ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Every asset that the role names."""
        return (*self.choices, *self.assets.values())

    @property
    def origin(self) -> str:
        """The class or the assets that the network is made from, for people."""
        part = f" ({self.part})" if self.part else ""
        return self.cls or (f"{' or '.join(self.choices)}{part}" if self.choices else " + ".join(self.assets.values()))


def _not_plain(value: Any, place: str) -> str:
    """What is wrong with the numbers in a table of arguments; "" if they are finite and of at most 64 bits."""
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        return next(filter(None, (_not_plain(item, f"{place}.{key}") for key, item in items)), "")
    wrong = isinstance(value, float) and not math.isfinite(value) or isinstance(value, int) and not -(2**63) <= value < 2**63
    return f"{place}: expected a finite number of at most 64 bits, found {value!r:.80}" if wrong else ""


class EditConfig(Frozen):
    """One edit of a suite: strength 1 changes the factor by ``per_strength`` ``unit``.

    ``region`` names the classes of the suite's parser that the edit may change; background metrics leave them out.
    ``compare_at`` lists the changes at which methods are compared, in the unit of the metric that measures the change
    (``<edit>_change``); empty: once and twice ``per_strength``, up and down, if that metric has the edit's unit.
    """

    unit: str
    per_strength: Finite
    strengths: tuple[Finite, ...] = Field(min_length=1)  # used if a run names the edit without a strength
    region: tuple[str, ...] = ()
    compare_at: tuple[Finite, ...] = ()

    @model_validator(mode="after")
    def _changes_something(self) -> EditConfig:
        if self.per_strength == 0:
            raise ValueError("per_strength: expected a number other than 0, by which strength 1 changes the factor")
        return self


class Suite(Frozen):
    """Datasets, networks, edits and per-method settings that belong together."""

    id: Name
    title: str
    resolution: Annotated[Count, Field(le=RESOLUTION)]  # pixels, height and width of the generator's canvas
    domain: str | None = None  # domain of the pictures, as in assets.toml; official weights for another domain are refused
    rows: tuple[Whole, Whole] | None = None  # (first, end) rows of the canvas that are the picture; None = all
    datasets: tuple[str, ...]
    collections: dict[Name, tuple[str, ...]] = {}  # name -> items of the form "dataset" or "dataset:n"
    default: str  # the collection of a run that names no datasets
    inherits: tuple[str, ...] = ()  # sets of networks (networks.toml), already merged into ``networks``
    networks: dict[str, NetworkConfig] = {}  # role -> network
    edits: dict[Name, EditConfig] = {}
    default_edits: tuple[str, ...] = ()  # items of the form "edit", "edit:strength" or "edit+edit"
    metrics: tuple[str, ...] = ()  # ids, names and groups (@pixel); empty = every registered metric
    groups: dict[str, tuple[str, ...]] = {}  # groups of metrics by name, the same for all suites of a configuration
    default_methods: tuple[str, ...] = ()  # of a run that names none, as they are written there; empty = all that it supports
    spaces: Annotated[tuple[Literal["w", "w+", "z", "z+"], ...], Field(min_length=1)] = ("w", "w+")  # of the generator
    without: dict[str, str] = {}  # methods that the suite does not run although it has their networks -> the reason
    methods: dict[str, dict[str, Any]] = {}  # "method" or "method:preset" -> options that differ in this suite
    max_batch: Count = 16  # upper bound of ``--batch auto``
    _files: tuple[tuple[Path | None, Mapping[str, Any]], ...] = PrivateAttr(default=())  # file, ``methods``; the last one rules

    @property
    def sources(self) -> dict[str, str]:
        """Sources of edit directions beside the suite's own, for names such as ``age@ganspace``: source -> role."""
        start = own_directions.PREFIX
        return {role.removeprefix(start): role for role in self.networks if role.startswith(start)}

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels."""
        first, end = self.rows or (0, self.resolution)
        return end - first, self.resolution

    def strangers(self) -> list[str]:
        """Networks of the suite whose code is not of this package, in words: "network parser"."""
        codes = {role: network.cls or network.loader or OURS for role, network in self.networks.items()}
        return [f"network {role}" for role, code in codes.items() if not code.startswith(OURS)]

    def place(self, section: str, option: str) -> str:
        """Where the value of an option of ``methods.<section>`` is set: the key and, if it was read from one, the file."""
        key = f'"{section}"' if ":" in section else section
        found = [file for file, methods in self._files if option in methods.get(section, {})]
        return f"suites.{self.id}.methods.{key}.{option}" + (f" in {found[-1]}" if found else "")

    @field_validator("methods", mode="before")
    @classmethod
    def _name_options(cls, tables: Any) -> Any:
        return _by_name(tables)

    @model_validator(mode="after")
    def _names_agree(self) -> Suite:
        if self.rows is not None and not 0 <= self.rows[0] < self.rows[1] <= self.resolution:
            raise ValueError(f"rows: expected two rows in order, from 0 to {self.resolution}, found {list(self.rows)}")
        if self.default not in self.collections:
            raise ValueError(f"default: {unknown('collection', self.default, self.collections)}")
        for name, items in self.collections.items():
            for item in items:
                if item.partition(":")[0] not in self.datasets:
                    raise ValueError(f"collections.{name}: {unknown('dataset', item, self.datasets)}")
        for item in self.default_edits:
            if any(name not in self.edits for name in item.partition(":")[0].split(SUM)):
                raise ValueError(f"default_edits: {unknown('edit', item, self.edits)}")
        return self


class Groups(Frozen):
    """Groups of metrics by name: ids, names and, after an ``@``, other groups."""

    groups: dict[Name, Annotated[tuple[str, ...], Field(min_length=1)]]


class Defaults(Frozen):
    """Defaults of command-line options from a user's file; None = the option's own default."""

    suite: str | None = None
    device: Device | None = None
    batch: Count | Literal["auto"] | None = None
    workers: Workers | None = None
    readers: Workers | None = None
    seed: Seed | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The value of each option that is set."""
        return self.model_dump(exclude_none=True)


class MethodChoice(Frozen):
    """A method of a run, with the values of all its options; ``foreign`` if it is code behind a command."""

    spec: MethodSpec
    preset: str
    options: dict[str, Any]
    foreign: Foreign | None = None

    @property
    def id(self) -> str:
        """The id of the method."""
        return self.spec.id


class DatasetChoice(Frozen):
    """A dataset of a run, or its first ``count`` images (None = all; ``--images`` is already applied)."""

    spec: DatasetSpec
    count: Count | None = None

    @property
    def id(self) -> str:
        """The id of the dataset."""
        return self.spec.id


Executors = Literal["local", "slurm", "ray"]
Precisions = Literal["fp32", "tf32", "bf16"]
Compilations = Literal["off", "default", "graphs"]


class RunSettings(Frozen):
    """All settings of a run. Names are already resolved."""

    suite: Suite
    methods: tuple[MethodChoice, ...] = Field(min_length=1)
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    metrics: tuple[MetricSpec, ...]
    protocols: dict[str, ProtocolSpec]  # all that are registered, by id
    metrics_required: bool = False  # True: metrics were named, so missing weights are an error
    edits: tuple[Edit, ...] = ()
    consistency: tuple[Edit, ...] = ()  # edits of round trips; each costs a second inversion
    batch: Count | None = None  # images; None = auto
    latency: Whole = 0  # images timed one at a time after the cells; 0 = no latency pass
    curves: bool = False  # True: record quality against steps and seconds
    device: Device
    seed: Seed
    workers: Workers | None = None  # processes that do the work; 0 = none but this one; None = auto
    threads: Annotated[Workers, Field(gt=0)] = 1  # of each process, on a CPU
    precision: Precisions = "fp32"  # of methods
    compile: Compilations = "off"  # of methods' networks
    executor: Executors = "local"  # where methods work
    asked: dict[str, int | float | str] = {}  # what a job of a cluster asks for, by the cluster's names
    limit: Finite | None = Field(default=None, gt=0)  # seconds that a call of a method may take for each of its images
    readers: Workers | None = None  # processes that read pictures ahead; None = auto
    out: Path
    configuration: dict[str, str] = {}  # configuration file -> sha256
    share: tuple[int, int] | None = None  # (i, n): only the i-th of n shares of the work, 1 to n
    fresh: bool = False  # True: the run folder's earlier rows are discarded before work begins

    def strangers(self) -> list[str]:
        """What the settings name whose code is not of this package, in words: "method mine"."""
        return [*strangers(one.spec for one in self.methods), *self.measuring_strangers()]

    def measuring_strangers(self) -> list[str]:
        """Those of them that take part where metrics are computed: datasets, metrics, protocols and networks."""
        specs: list[Spec] = [*(one.spec for one in self.datasets), *self.metrics]
        specs += [self.protocols[one.protocol] for one in self.metrics if one.protocol in self.protocols]
        return [*strangers(specs), *self.suite.strangers()]


def load(extra: Path | None = None) -> dict[str, Suite]:
    """Suites by id: those of the package, overridden by ``extra``. Raises InvbenchError naming the file and the key."""
    tables = files.tables(extra)
    source = "suites" if extra is None else str(extra)
    known = _groups(extra, tables["groups"])
    for name, table in tables["suites"].items():
        table["networks"] = {**own_directions.tables(name), **table.get("networks", {})}
    suites = {
        name: _checked(source, f"suites.{name}", Suite, {**table, "id": name, "groups": known})
        for name, table in tables["suites"].items()
    }
    added = {} if extra is None else files.read(extra).get("suites", {})
    for name, suite in suites.items():
        own = _by_name(added.get(name, {}).get("methods", {}))
        suite._files = ((files.SUITES / f"{name}.toml", suite.methods), (extra, own))
    return suites


def groups(extra: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Groups of metrics by name: those of the package, overridden by ``extra``."""
    return _groups(extra, files.groups(extra))


def _by_name(tables: Any) -> Any:
    """``embedder.steps = 200`` is a table within a table in TOML -> the option ``embedder.steps``."""
    table = pairs.PREFIX.removesuffix(".")
    if not isinstance(tables, dict):
        return tables
    return {
        section: {**pairs.prefixed(_by_name({table: own[table]})[table]), **{k: v for k, v in own.items() if k != table}}
        if isinstance(own, dict) and isinstance(own.get(table), dict)
        else own
        for section, own in tables.items()
    }


def _groups(extra: Path | None, table: Any) -> dict[str, tuple[str, ...]]:
    return _checked("groups" if extra is None else str(extra), "groups", Groups, {"groups": table}).groups


def defaults(extra: Path | None) -> Defaults:
    """The table ``[defaults]`` of a user's file, empty if there is none. Raises InvbenchError naming the file and the key."""
    if extra is None:
        return Defaults()
    tables = files.tables(extra)
    chosen = _checked(str(extra), "defaults", Defaults, tables["defaults"])
    if chosen.suite is not None and chosen.suite not in tables["suites"]:
        raise InvbenchError(f"{extra}: defaults.suite: {unknown('suite', chosen.suite, tables['suites'])}")
    return chosen


def _checked(source: str, place: str, model: type[Model], table: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            inner = item["loc"][1:] if item["loc"][:1] == (place,) else item["loc"]
            message = item["msg"].removeprefix("Value error, ")
            found = "" if item["type"] in {"value_error", "missing"} else f", found {item['input']!r}"
            lines.append(f"{source}: {'.'.join([place, *map(str, inner)])}: {message}{found}")
        raise InvbenchError("\n".join(lines)) from error
