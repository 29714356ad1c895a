"""The suites (``suites/*.toml``) and the settings of one run, as frozen models.

A suite is a file of its own. A file given by ``--config`` holds ``[suites.<id>]`` tables, laid over them key by key, so that it
needs to hold only what differs. Paths of weights are relative to the folder of the file that names them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from invbench.api import DatasetSpec, Edit, InvbenchError, MethodSpec, MetricSpec, ProtocolSpec
from invbench.util.names import PACKAGE, unknown

SUITES = PACKAGE / "suites"


class Frozen(BaseModel):
    """A model that cannot be changed and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            keys = {field.alias or name for name, field in cls.model_fields.items()}
            accepted = keys | set(cls.model_fields)
            for key in data:
                if key not in accepted:
                    raise ValueError(unknown("key", key, keys))
        return data


class NetworkConfig(Frozen):
    """One role of a suite. Exactly one of three forms (docs/weights.md):

    class   ``module:Class`` with ``weights`` of the zoo (None = a network without weights)
    asset   an official file of ``assets.toml``, or several of which the first that is there is taken; ``part`` names what is
            built from it where a file holds several networks
    loader  ``module:function`` that makes one network of several ``assets`` (its name for it -> asset)
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
        for key, form in (("weights", "class"), ("part", "asset"), ("assets", "loader")):
            if getattr(self, key) and forms != [form]:
                raise ValueError(f"{key}: goes with {form}, found {forms[0]}")
        return self

    @property
    def choices(self) -> tuple[str, ...]:
        """Of the form ``asset``: the assets that serve, best first; else empty."""
        return (self.asset,) if isinstance(self.asset, str) else self.asset or ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Every asset that is named."""
        return (*self.choices, *self.assets.values())

    @property
    def origin(self) -> str:
        """What it is made from, in a word or two."""
        part = f" ({self.part})" if self.part else ""
        return self.cls or (f"{' or '.join(self.choices)}{part}" if self.choices else " + ".join(self.assets.values()))


class EditConfig(Frozen):
    """One edit of a suite: strength 1 changes the factor by ``per_strength`` ``unit``.

    ``region`` names the classes of the suite's parser that the edit may change; metrics of the background leave them out.
    ``compare_at`` holds the changes at which methods are compared, in the unit of the metric that measures them
    (``<edit>_change``); empty: once and twice ``per_strength``, up and down, where that metric has the edit's unit.
    """

    unit: str
    per_strength: float
    strengths: tuple[float, ...] = (-3, -2, -1, 1, 2, 3)
    region: tuple[str, ...] = ()
    compare_at: tuple[float, ...] = ()


class Suite(Frozen):
    """Datasets, networks, edits and per-method settings that belong together."""

    id: str
    title: str
    resolution: int = Field(gt=0)  # pixels, height and width of the generator's canvas
    domain: str | None = None  # of the pictures, as in assets.toml; official weights of another one are refused
    rows: tuple[int, int] | None = None  # (first, end) rows of the canvas that are the picture; None = all
    datasets: tuple[str, ...]
    collections: dict[str, tuple[str, ...]] = {}  # name -> items of the form "dataset" or "dataset:n"
    default: str  # the collection that a run takes when none is asked for
    networks: dict[str, NetworkConfig] = {}  # role -> network
    edits: dict[str, EditConfig] = {}
    default_edits: tuple[str, ...] = ()  # items of the form "edit" or "edit:strength"
    metrics: tuple[str, ...] = ()  # empty = every registered metric
    methods: dict[str, dict[str, Any]] = {}  # "method" or "method:preset" -> options that differ in this suite
    max_batch: int = Field(default=16, gt=0)  # upper bound of ``--batch auto``

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels."""
        first, end = self.rows or (0, self.resolution)
        return end - first, self.resolution

    @model_validator(mode="after")
    def _names_agree(self) -> Suite:
        if self.default not in self.collections:
            raise ValueError(f"default: {unknown('collection', self.default, self.collections)}")
        for name, items in self.collections.items():
            for item in items:
                if item.partition(":")[0] not in self.datasets:
                    raise ValueError(f"collections.{name}: {unknown('dataset', item, self.datasets)}")
        for item in self.default_edits:
            if item.partition(":")[0] not in self.edits:
                raise ValueError(f"default_edits: {unknown('edit', item, self.edits)}")
        return self


class MethodChoice(Frozen):
    """A method of a run with the value of every one of its options."""

    spec: MethodSpec
    preset: str
    options: dict[str, Any]

    @property
    def id(self) -> str:
        return self.spec.id


class DatasetChoice(Frozen):
    """A dataset of a run, or its first ``count`` images (None = all; ``--images`` is already applied)."""

    spec: DatasetSpec
    count: int | None = Field(default=None, gt=0)

    @property
    def id(self) -> str:
        return self.spec.id


class RunSettings(Frozen):
    """All that the runner needs to know. Names are resolved: nothing in here has to be looked up again."""

    suite: Suite
    methods: tuple[MethodChoice, ...] = Field(min_length=1)
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    metrics: tuple[MetricSpec, ...]
    protocols: dict[str, ProtocolSpec]  # all that are registered, by id
    metrics_required: bool = False  # True: asked for by name, so one that lacks its weights is an error
    edits: tuple[Edit, ...] = ()
    consistency: tuple[Edit, ...] = ()  # edits there and back, each at the price of a second inversion
    batch: int | None = Field(default=None, gt=0)  # images; None = auto
    latency: int = Field(default=0, ge=0)  # images timed one at a time after the cells; 0 = no such pass
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    seed: int = 0
    workers: int | None = Field(default=None, ge=0)  # processes that decode pictures ahead; None = auto
    out: Path
    fresh: bool = False  # True: the run folder's earlier rows are discarded before work begins


def packaged() -> dict[str, Any]:
    """The raw tables of the suites that the package brings: ``suites/<id>.toml``, one suite a file."""
    suites = {path.stem: _parse(path) for path in sorted(SUITES.glob("*.toml"))}
    for name, suite in suites.items():
        _resolve(SUITES / f"{name}.toml", "networks", suite, folder=PACKAGE)
    return suites


def read(path: Path) -> dict[str, Any]:
    """The raw tables of a user's file, with the paths of weights made absolute.

    Raises InvbenchError when the file is missing, is not TOML, or holds anything but ``suites``.
    """
    tables = _parse(path)
    for key in tables:
        if key != "suites":
            raise InvbenchError(f"{path}: {unknown('key', key, ['suites'])}")
    suites = tables.get("suites", {})
    for name, suite in _tables(path, "suites", suites):
        _resolve(path, f"suites.{name}.networks", suite, folder=path.resolve().parent)
    return suites


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvbenchError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvbenchError(f"{path}: not a TOML file: {error}") from error


def _resolve(path: Path, place: str, suite: dict[str, Any], *, folder: Path) -> None:
    """Make the paths of weights absolute, which are relative to ``folder``."""
    for _, network in _tables(path, place, suite.get("networks", {})):
        if isinstance(network.get("weights"), str):
            network["weights"] = str((folder / network["weights"]).absolute())


def load(extra: Path | None = None) -> dict[str, Suite]:
    """Suites by id: those of the package with ``extra`` laid over them. Raises InvbenchError naming the file and the key."""
    raw = packaged()
    if extra is not None:
        raw = overlay(raw, read(extra))
    source = "suites" if extra is None else str(extra)
    return {name: _suite(source, name, table) for name, table in raw.items()}


def overlay(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``extra``; tables are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _suite(source: str, name: str, table: Mapping[str, Any]) -> Suite:
    try:
        return Suite.model_validate({**table, "id": name})
    except ValidationError as error:
        lines = []
        for item in error.errors():
            place = ".".join(["suites", name, *map(str, item["loc"])])
            message = item["msg"].removeprefix("Value error, ")
            found = "" if item["type"] in {"value_error", "missing"} else f", found {item['input']!r}"
            lines.append(f"{source}: {place}: {message}{found}")
        raise InvbenchError("\n".join(lines)) from error


def _tables(path: Path, place: str, tables: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(tables, dict):
        raise InvbenchError(f"{path}: {place}: expected a table, found {tables!r}")
    for key, value in tables.items():
        if not isinstance(value, dict):
            raise InvbenchError(f"{path}: {place}.{key}: expected a table, found {value!r}")
        yield key, value
