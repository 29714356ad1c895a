"""Plug-ins by id: what exists, read from source text without importing it.

A plug-in module declares itself by a literal at its top: ``SPEC = {...}`` for one method, ``SPECS = [{...}, ...]`` for
several metrics or datasets. The literal is evaluated by ``ast.literal_eval``, so listing runs no plug-in code and never
imports torch. Sources, later ones not allowed to take an id of earlier ones: the packages ``methods``, ``metrics`` and
``datasets``; entry points of the groups ``invbench.methods``, ``invbench.metrics`` and ``invbench.datasets`` with the
value ``module:Class``; single files given to ``--plugin``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

from bench.api import DatasetSpec, InvbenchError, MethodSpec, MetricSpec, Option
from bench.names import PROJECT, unknown

Spec = MethodSpec | MetricSpec | DatasetSpec
ID = re.compile(r"[a-z0-9][a-z0-9_-]*")  # ids become file names, so nothing that could leave a folder
TUPLES = {"roles", "needs", "edits"}
CHOICES = {"kind": ("inversion", "edit", "set"), "better": ("lower", "higher", "none")}


@dataclass(frozen=True)
class Registry:
    """Specs by id, in the order in which they were found."""

    methods: Mapping[str, MethodSpec]
    metrics: Mapping[str, MetricSpec]
    datasets: Mapping[str, DatasetSpec]


def discover(plugins: Iterable[Path] = (), *, root: Path = PROJECT) -> Registry:
    """All plug-ins: built-in ones under ``root``, installed ones, and those of the files ``plugins``.

    Raises InvbenchError naming the file for a declaration that is not a literal, has unknown or missing keys, or takes
    an id that exists.
    """
    files = [Path(plugin) for plugin in plugins]
    found: dict[str, dict[str, Any]] = {}
    for folder, model in (("methods", MethodSpec), ("metrics", MetricSpec), ("datasets", DatasetSpec)):
        sources = [*_builtin(root / folder), *_installed(folder)]
        specs: dict[str, Any] = {}
        origin: dict[str, Path] = {}
        for path, module, only in [*sources, *((file, str(file.resolve()), None) for file in files)]:
            for spec in _specs(path, module):
                if not isinstance(spec, model) or (only is not None and not spec.entry.endswith(f":{only}")):
                    continue
                if spec.id in specs:
                    raise InvbenchError(f"{path}: the id {spec.id!r} is already taken by {origin[spec.id]}")
                specs[spec.id], origin[spec.id] = spec, path
        found[folder] = specs
    return Registry(found["methods"], found["metrics"], found["datasets"])


def methods() -> Mapping[str, MethodSpec]:
    """Method specs by id, without ``--plugin`` files."""
    return discover().methods


def metrics() -> Mapping[str, MetricSpec]:
    """Metric specs by id, without ``--plugin`` files."""
    return discover().metrics


def datasets() -> Mapping[str, DatasetSpec]:
    """Dataset specs by id, without ``--plugin`` files."""
    return discover().datasets


def find(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """``known[name]``; raises InvbenchError with the nearest name when there is none."""
    if name not in known:
        raise InvbenchError(unknown(kind, name, known))
    return known[name]


def load(spec: Spec) -> type:
    """Import the class of a spec. Raises InvbenchError when the module or the class does not exist."""
    return load_class(spec.entry)


def load_class(entry: str) -> type:
    """Import ``module:Class``, or ``/path/of/file.py:Class``. Raises InvbenchError when there is no such class."""
    found = _imported(entry)
    if not isinstance(found, type):
        module, _, name = entry.rpartition(":")
        raise InvbenchError(f"{entry}: expected a class {name!r} in {module}, found {found!r}")
    return found


def load_callable(entry: str) -> Callable[..., Any]:
    """Import ``module:name``, a function or a class. Raises InvbenchError when there is none of that name."""
    found = _imported(entry)
    if not callable(found):
        module, _, name = entry.rpartition(":")
        raise InvbenchError(f"{entry}: expected a function {name!r} in {module}, found {found!r}")
    return found


def _imported(entry: str) -> Any:
    """What ``module:name`` stands for; None where the module has no such name."""
    module_name, _, name = entry.rpartition(":")
    if module_name.endswith(".py"):
        return getattr(_import_file(Path(module_name)), name, None)
    try:
        return getattr(importlib.import_module(module_name), name, None)
    except ModuleNotFoundError as error:
        raise InvbenchError(f"{entry}: cannot import: {error}") from error


def parse(declared: Any, *, path: Path, module: str) -> Spec:
    """One declaration -> spec. Methods have ``options``, metrics have ``kind``, datasets have ``domain``."""
    if not isinstance(declared, dict) or not all(isinstance(key, str) for key in declared):
        raise InvbenchError(f"{path}: expected a dict with string keys, found {declared!r}")
    where = f"{path}: {declared.get('id', 'a declaration without id')}"
    kinds: dict[str, type[Spec]] = {"options": MethodSpec, "kind": MetricSpec, "domain": DatasetSpec}
    marks = [mark for mark in ("kind", "domain", "options") if mark in declared]
    if not marks:
        raise InvbenchError(f"{where}: expected the key 'options' (a method), 'kind' (a metric) or 'domain' (a dataset)")
    model = kinds[marks[0]]
    known = {field.name for field in fields(model)} - {"entry"} | {"class"}
    needed = {f.name for f in fields(model) if f.default is MISSING and f.default_factory is MISSING} - {"entry"}
    for key in declared:
        if key not in known:
            raise InvbenchError(f"{where}: {unknown('key', key, known)}")
    missing = sorted((needed | {"class"}) - set(declared))
    if missing:
        raise InvbenchError(f"{where}: missing key {missing[0]!r}")
    values = {key: _value(where, key, value, model) for key, value in declared.items() if key != "class"}
    if not ID.fullmatch(values["id"]):
        raise InvbenchError(f"{where}: id: expected lower-case letters, digits, '_' and '-', found {values['id']!r}")
    if model is MethodSpec:
        _check_presets(where, values)
    if not isinstance(declared["class"], str) or not declared["class"].isidentifier():
        raise InvbenchError(f"{where}: class: expected the name of a class, found {declared['class']!r}")
    return model(entry=f"{module}:{declared['class']}", **values)


def _value(where: str, key: str, value: Any, model: type[Spec]) -> Any:
    if key in TUPLES:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise InvbenchError(f"{where}: {key}: expected a list of names, found {value!r}")
        return tuple(value)
    if key in CHOICES and value not in CHOICES[key]:
        raise InvbenchError(f"{where}: {unknown(key, value, CHOICES[key])}")
    if key in {"options", "presets"}:
        if not isinstance(value, dict):
            raise InvbenchError(f"{where}: {key}: expected a dict, found {value!r}")
        if model is MethodSpec and key == "options":
            return {name: _option(f"{where}: options.{name}", option) for name, option in value.items()}
        return value
    hint = get_type_hints(model)[key]
    if not isinstance(value, hint):
        raise InvbenchError(f"{where}: {key}: expected {getattr(hint, '__name__', hint)}, found {value!r}")
    return value


def _option(where: str, declared: Any) -> Option:
    keys = {"default", "unit", "help"}
    if not isinstance(declared, dict) or set(declared) != keys:
        raise InvbenchError(f"{where}: expected the keys {sorted(keys)}, found {declared!r}")
    return Option(**declared)


def _check_presets(where: str, values: Mapping[str, Any]) -> None:
    for preset, changes in values["presets"].items():
        if not ID.fullmatch(preset) or not isinstance(changes, dict):
            raise InvbenchError(f"{where}: presets.{preset}: expected a dict of options, found {changes!r}")
        for name in changes:
            if name not in values["options"]:
                raise InvbenchError(f"{where}: presets.{preset}: {unknown('option', name, values['options'])}")


def _specs(path: Path, module: str) -> list[Spec]:
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source) if "SPEC" in source else ast.Module([], [])
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise InvbenchError(f"{path}: cannot read the plug-in: {error}") from error
    specs: list[Spec] = []
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name):
            continue
        if target.id not in {"SPEC", "SPECS"} or node.value is None:
            continue
        try:
            declared = ast.literal_eval(node.value)
        except ValueError as error:
            raise InvbenchError(f"{path}: {target.id}: expected a literal (no names, calls or sums): {error}") from error
        for item in declared if target.id == "SPECS" else [declared]:
            specs.append(parse(item, path=path, module=module))
    return specs


def _builtin(folder: Path) -> Iterator[tuple[Path, str, None]]:
    for path in sorted(folder.glob("*.py")):
        yield path, f"{folder.name}.{path.stem}", None
    for path in sorted(folder.glob("*/__init__.py")):
        yield path, f"{folder.name}.{path.parent.name}", None


def _installed(kind: str) -> Iterator[tuple[Path, str, str]]:
    for point in sorted(entry_points(group=f"invbench.{kind}"), key=lambda point: point.name):
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
    spec.loader.exec_module(module)
    return module
