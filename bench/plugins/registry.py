"""Plug-ins by id: what exists, read from source text without importing it.

A plug-in module declares itself by a literal at its top (:mod:`invbench.plugins.declarations`), so listing plug-ins runs
none of their code and never imports torch. Sources, in order; each id may be used once: the packages ``methods``, ``metrics``
and ``datasets``; entry points of the groups ``invbench.methods``, ``invbench.metrics`` and ``invbench.datasets`` with the value
``module:Class``; single files given to ``--plugin``. A file with metrics may declare protocols of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invbench.api import InvbenchError, Method
from invbench.options import make
from invbench.plugins import declarations, pairs
from invbench.plugins.declarations import Spec
from invbench.specs import DatasetSpec, MethodSpec, MetricSpec, ProtocolSpec
from invbench.util.names import PACKAGE, unknown

if TYPE_CHECKING:
    from invbench.plugins.foreign import Foreign
OURS = f"{__name__.partition('.')[0]}."  # how the entries of this package's own plug-ins begin
SLIP = 0.85  # similarity (difflib's ratio) from which a name is treated as a misspelling of another


@dataclass(frozen=True)
class Registry:
    """Specs by id, in the order in which they were found; metrics by ``name@protocol``."""

    methods: Mapping[str, MethodSpec]
    metrics: Mapping[str, MetricSpec]
    datasets: Mapping[str, DatasetSpec]
    protocols: Mapping[str, ProtocolSpec] = field(default_factory=dict)
    brought: frozenset[str] = frozenset()  # datasets of ``--plugin`` files: usable by name in every suite
    foreign: Mapping[str, Foreign] = field(default_factory=dict)  # methods behind a command, of a configuration file


def discover(plugins: Iterable[Path] = (), *, root: Path = PACKAGE) -> Registry:
    """All plug-ins: built-in ones under ``root``, installed ones, and those of the files ``plugins``.

    Raises InvbenchError naming the file for a declaration that is not a literal, has unknown or missing keys, uses an id that
    is taken, or names an unknown protocol or embedder.
    """
    files = [(Path(plugin), str(Path(plugin).resolve()), None) for plugin in plugins]
    sources = {kind: [*_builtin(root / kind), *_points(kind), *files] for kind in ("methods", "metrics", "datasets")}
    modules = {path: (path, module, None) for path, module, _ in sources["metrics"]}  # several entry points may share one
    protocols = _collect(ProtocolSpec, list(modules.values()))
    metrics = _collect(MetricSpec, sources["metrics"])
    for spec in metrics.values():
        if spec.protocol not in protocols:
            raise InvbenchError(f"metric {spec.name} of {spec.entry}: {unknown('protocol', spec.protocol, protocols)}")
    datasets = _collect(DatasetSpec, sources["datasets"])
    brought = frozenset(datasets) - set(_collect(DatasetSpec, [*_builtin(root / "datasets")]))
    declared = _collect(MethodSpec, sources["methods"])
    methods = {id: pairs.published(spec, declared) for id, spec in declared.items()}
    return Registry(methods, metrics, datasets, protocols, brought)


def check_roles(registry: Registry, roles: Iterable[str]) -> None:
    """Raise InvbenchError if a ``--plugin`` file names a role that is a likely misspelling of a known one.

    ``roles`` are those of all suites. A name that resembles none of them is allowed: another configuration may have it.
    """
    known = sorted(set(roles))
    for kind in ("methods", "metrics", "protocols"):
        for spec in getattr(registry, kind).values():
            asked = (*spec.roles, *getattr(spec, "optional", ()))
            for role in asked if ".py:" in spec.entry else ():
                if role not in known and get_close_matches(role, known, n=1, cutoff=SLIP):
                    raise InvbenchError(f"{kind[:-1]} {spec.id} of {spec.entry}: {unknown('role', role, known)}")


def _collect(model: type[Any], sources: Sequence[tuple[Path, str, str | None]]) -> dict[str, Any]:
    """Specs of one kind by id; from a source with a class name, only the spec of that class."""
    specs: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for path, module, only in sources:
        for spec in declarations.read(path, module):
            if not isinstance(spec, model) or (only is not None and not spec.entry.endswith(f":{only}")):
                continue
            if spec.id in specs:
                raise InvbenchError(f"{path}: the id {spec.id!r} is already taken by {origin[spec.id]}")
            specs[spec.id], origin[spec.id] = spec, path
    return specs


def strangers(specs: Iterable[Spec]) -> list[str]:
    """Those of the specs whose code is not of this package, in words: "method mine". Refinements have two."""
    kinds = {MethodSpec: "method", MetricSpec: "metric", DatasetSpec: "dataset", ProtocolSpec: "protocol"}
    leaves = [leaf for spec in specs for leaf in (pairs.leaves(spec) if isinstance(spec, MethodSpec) else [spec])]
    return list(dict.fromkeys(f"{kinds[type(leaf)]} {leaf.id}" for leaf in leaves if not leaf.entry.startswith(OURS)))


def methods() -> Mapping[str, MethodSpec]:
    """Method specs by id, without ``--plugin`` files."""
    return discover().methods


def metrics() -> Mapping[str, MetricSpec]:
    """Metric specs by id, without ``--plugin`` files."""
    return discover().metrics


def datasets() -> Mapping[str, DatasetSpec]:
    """Dataset specs by id, without ``--plugin`` files."""
    return discover().datasets


def protocols() -> Mapping[str, ProtocolSpec]:
    """Metric protocols by id, without ``--plugin`` files."""
    return discover().protocols


def installed(kind: str) -> EntryPoints:
    """The entry points ``invbench.<kind>`` of installed packages."""
    return _installed(f"invbench.{kind}", tuple(sys.path))


@cache  # reading every package's metadata is slow
def _installed(group: str, path: tuple[str, ...]) -> EntryPoints:
    return entry_points(group=group)


def find(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """``known[name]``. Raises InvbenchError with the nearest name if there is none."""
    if name not in known:
        raise InvbenchError(unknown(kind, name, known))
    return known[name]


def find_metric(name: str, known: Mapping[str, MetricSpec]) -> MetricSpec:
    """The metric with an id; a name without protocol means ``@native`` if that exists, else the metric's only protocol.

    Raises InvbenchError with the nearest name or id if there is none, or with the possible ids if there are several.
    """
    if "@" in name or name in known:
        return find("metric", name, known)
    fits = [id for id, spec in known.items() if spec.name == name]
    if f"{name}@native" in fits:
        return known[f"{name}@native"]
    if len(fits) > 1:
        raise InvbenchError(f"metric {name!r}: expected an id with one of its protocols ({', '.join(fits)}), found none")
    if not fits:
        raise InvbenchError(unknown("metric", name, {spec.name for spec in known.values()}))
    return known[fits[0]]


def load(spec: Spec) -> type:
    """Import the class of a spec. Raises InvbenchError if the module or the class does not exist."""
    return load_class(spec.entry)


def build(
    spec: MethodSpec,
    options: Mapping[str, Any],
    networks: Callable[[MethodSpec, Mapping[str, Any]], Mapping[str, Any]],
) -> Method:
    """A method with ``options``; ``networks`` gives those of a declared spec with its options. The embedder is built first.

    Raises InvbenchError if a class does not exist or an option is not admitted, and what the classes raise.
    """
    if not spec.parts:
        return load(spec)(networks(spec, options), make(spec, options))
    own, start = spec.parts
    embedder = build(start, pairs.start_options(options), networks)
    options = pairs.own_options(options)
    return load(own)(networks(own, options), make(own, options), embedder)


def load_class(entry: str) -> type:
    """Import ``module:Class`` or ``/path/of/file.py:Class``. Raises InvbenchError if there is no such class."""
    found = _imported(entry)
    if not isinstance(found, type):
        module, _, name = entry.rpartition(":")
        raise InvbenchError(f"{entry}: expected a class {name!r} in {module}, found {found!r}")
    return found


def load_callable(entry: str) -> Callable[..., Any]:
    """Import ``module:name``, a function or a class. Raises InvbenchError if there is none of that name."""
    found = _imported(entry)
    if not callable(found):
        module, _, name = entry.rpartition(":")
        raise InvbenchError(f"{entry}: expected a function {name!r} in {module}, found {found!r}")
    return found


def _imported(entry: str) -> Any:
    """The object ``module:name``; None if the module has no such name.

    Raises InvbenchError with the file and the line for any error during the import, since it is a fault of the plug-in.
    """
    module_name, _, name = entry.rpartition(":")
    try:
        if module_name.endswith(".py"):
            return getattr(_import_file(Path(module_name)), name, None)
        return getattr(importlib.import_module(module_name), name, None)
    except InvbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise InvbenchError(f"{_place(error, entry)}: {_reason(error)}") from error


def _place(error: BaseException, entry: str) -> str:
    """``file.py:line`` of the innermost frame outside the import system and this module, else the entry."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != __file__]
    own = [one for one in frames if not one.filename.startswith("<frozen") and Path(one.filename).parent.name != "importlib"]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else f"{entry}: cannot import"


def _reason(error: BaseException) -> str:
    """The message of an error, with its type unless a module is missing."""
    if isinstance(error, ImportError):
        return str(error)
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"


def _builtin(folder: Path) -> Iterator[tuple[Path, str, None]]:
    for path in sorted(folder.glob("*.py")):
        yield path, f"invbench.{folder.name}.{path.stem}", None
    for path in sorted(folder.glob("*/__init__.py")):
        yield path, f"invbench.{folder.name}.{path.parent.name}", None


def _points(kind: str) -> Iterator[tuple[Path, str, str]]:
    for point in sorted(installed(kind), key=lambda point: point.name):
        module, _, class_name = point.value.partition(":")
        found = importlib.util.find_spec(module)
        if found is None or found.origin is None:
            raise InvbenchError(f"entry point {point.name} of invbench.{kind}: no module {module!r}")
        yield Path(found.origin), module, class_name


def _import_file(path: Path) -> Any:
    name = f"invbench_plugin_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InvbenchError(f"{path}: no such plug-in file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # a half-imported module must not be used
        raise
    return module
