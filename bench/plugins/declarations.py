"""Declarations of plug-ins: literals at the top of a source file, read without running it.

``SPEC = {...}`` declares one method, ``SPECS = [{...}, ...]`` several metrics or datasets, ``PROTOCOLS = [{...}, ...]`` metric
protocols. A metric's declaration names its protocols and becomes one spec for each.

A declaration with ``variants``, a list of dicts, stands for one declaration per variant: the keys of the variant override its
own. Dicts (``options``, ``presets``) are merged by name, so that the declaration holds what all variants share.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from functools import cache, partial
from pathlib import Path
from typing import Any, get_type_hints

from invbench.api import NEEDS, SPACES, InvbenchError
from invbench.options import declare, laid_over
from invbench.specs import DatasetSpec, MethodSpec, MetricSpec, ProtocolSpec
from invbench.util.names import unknown

Spec = MethodSpec | MetricSpec | DatasetSpec | ProtocolSpec
ID = re.compile(r"[a-z0-9][a-z0-9_-]*")  # ids become file names, so they must not lead out of a folder
NAMES = ("SPEC", "SPECS", "PROTOCOLS")
MARKS: dict[str, type[Spec]] = {"kind": MetricSpec, "domain": DatasetSpec, "options": MethodSpec, "recipe": ProtocolSpec}
TUPLES = {"roles", "needs", "edits", "protocols", "refines"}
CHOICES = {"kind": ("inversion", "edit", "set", "round_trip"), "better": ("lower", "higher", "none"), "gives": SPACES}
ITEMS = {"needs": ("need", NEEDS), "refines": ("space", SPACES)}  # what the items of a list are, and which there are
UNDECLARED = ("entry", "parts")  # fields that the registry fills in


def read(path: Path, module: str) -> list[Spec]:
    """The specs that a source file declares for the module ``module``.

    Raises InvbenchError naming the file for text that is not Python, a declaration that is not a literal, and unknown,
    missing or wrongly typed keys.
    """
    try:
        source = path.read_text(encoding="utf-8")
        literals = _literals(source, path.name) if any(name in source for name in NAMES) else ()
    except (OSError, ValueError, SyntaxError, RecursionError) as error:  # ValueError: not UTF-8, or holds NUL
        raise InvbenchError(f"{path}: cannot read the plug-in: {error}") from error
    specs: list[Spec] = []
    for name, literal in literals:
        try:
            declared = ast.literal_eval(literal)
        except (ValueError, TypeError, RecursionError) as error:  # TypeError: a list as a key
            raise InvbenchError(f"{path}: {name}: expected a literal (no names, calls or sums): {error}") from error
        if name == "SPEC":
            declared = [declared]
        elif not isinstance(declared, list | tuple):
            raise InvbenchError(f"{path}: {name}: expected a list of dicts, found {declared!r}")
        for item in declared:
            for one in spread(item, path=path):
                specs += parse(one, path=path, module=module)
    return specs


@cache  # by the text: a file is parsed for each kind of plug-in, and again at each search
def _literals(source: str, name: str) -> tuple[tuple[str, ast.expr], ...]:
    """The right-hand side of each top-level assignment to one of NAMES in the source text of the file ``name``."""
    found = []
    for node in ast.parse(source, filename=name).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name):
            continue
        if target.id in NAMES and node.value is not None:
            found.append((target.id, node.value))
    return tuple(found)


def spread(declared: Any, *, path: Path) -> list[Any]:
    """The declarations of a declaration's ``variants``, or itself alone if it has none."""
    if not isinstance(declared, dict) or "variants" not in declared:
        return [declared]
    variants = declared["variants"]
    if not (isinstance(variants, list | tuple) and variants and all(isinstance(one, dict) for one in variants)):
        raise InvbenchError(f"{path}: variants: expected a list of dicts, one for each variant, found {variants!r}")
    common = {key: value for key, value in declared.items() if key != "variants"}
    return [common | {key: _laid_over(common.get(key), value) for key, value in one.items()} for one in variants]


def _laid_over(common: Any, own: Any) -> Any:
    return {**common, **own} if isinstance(common, dict) and isinstance(own, dict) else own


def parse(declared: Any, *, path: Path, module: str) -> list[Spec]:
    """One declaration -> its spec, or one spec for each protocol of a metric.

    Methods have the key ``options``, metrics ``kind``, datasets ``domain``, protocols ``recipe``.
    """
    if not isinstance(declared, dict) or not all(isinstance(key, str) for key in declared):
        raise InvbenchError(f"{path}: expected a dict with string keys, found {declared!r}")
    where = f"{path}: {declared.get('id', 'a declaration without id')}"
    model = next((model for mark, model in MARKS.items() if mark in declared), None)
    if model is None:
        raise InvbenchError(
            f"{where}: expected the key 'options' (a method), 'kind' (a metric), 'domain' (a dataset) "
            "or 'recipe' (a metric protocol)"
        )
    own = [field for field in fields(model) if field.init and field.name not in UNDECLARED]
    known = {field.name for field in own} | {"class"} | ({"protocols"} if model is MetricSpec else set())
    for key in declared:
        if key not in known:
            raise InvbenchError(f"{where}: {unknown('key', key, known)}")
    missing = sorted(({field.name for field in own if _is_needed(field)} | {"class"}) - set(declared))
    if missing:
        raise InvbenchError(f"{where}: missing key {missing[0]!r}")
    values = {key: _value(where, key, value, model) for key, value in declared.items() if key != "class"}
    if not ID.fullmatch(values["id"]):
        raise InvbenchError(f"{where}: id: expected lower-case letters, digits, '_' and '-', found {values['id']!r}")
    if model is MethodSpec:
        _check_presets(where, values)
        _check_embedder(where, values)
        _check_optional(where, values)
    if not isinstance(declared["class"], str) or not declared["class"].isidentifier():
        raise InvbenchError(f"{where}: class: expected the name of a class, found {declared['class']!r}")
    entry = f"{module}:{declared['class']}"
    if model is not MetricSpec:
        return [model(entry=entry, **values)]
    protocols = values.pop("protocols", ("native",))
    if not protocols:
        raise InvbenchError(f"{where}: protocols: expected at least one name, found an empty list")
    return [MetricSpec(entry=entry, **{**values, "id": f"{values['id']}@{name}"}) for name in dict.fromkeys(protocols)]


def _is_needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(where: str, key: str, value: Any, model: type[Spec]) -> Any:
    if key in TUPLES:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise InvbenchError(f"{where}: {key}: expected a list of names, found {value!r}")
        kind, admitted = ITEMS.get(key, ("", value))
        for item in value:
            if item not in admitted:
                raise InvbenchError(f"{where}: {key}: {unknown(kind, item, admitted)}")
        return tuple(value)
    if key in CHOICES and value not in CHOICES[key]:
        raise InvbenchError(f"{where}: {unknown(key, value, CHOICES[key])}")
    if key == "embedder" and isinstance(value, str):
        return value
    if key in {"options", "presets", "embedder", "optional"}:
        if not isinstance(value, dict):
            raise InvbenchError(f"{where}: {key}: expected a dict, found {value!r}")
        if model is MethodSpec and key == "options":
            return declare(value, where=f"{where}: options")
        return value
    hint = _hints()[model][key]
    if not isinstance(value, hint):
        raise InvbenchError(f"{where}: {key}: expected {getattr(hint, '__name__', hint)}, found {value!r}")
    return value


@cache
def _hints() -> Mapping[type[Spec], Mapping[str, Any]]:
    return {model: get_type_hints(model) for model in MARKS.values()}


def _check_embedder(where: str, values: dict[str, Any]) -> None:
    """``embedder`` as declared, one name for all presets or one for each -> preset -> name."""
    if bool(values.get("refines")) != bool(values.get("embedder")):
        raise InvbenchError(f"{where}: expected refines and embedder, or neither, found one of them")
    presets = [*values.get("presets", {})] or ["default"]
    named = values.get("embedder", {})
    if isinstance(named, str):
        named = dict.fromkeys(presets, named)
    if named and (set(named) != set(presets) or not all(isinstance(name, str) for name in named.values())):
        raise InvbenchError(f"{where}: embedder: expected a name for each preset ({', '.join(presets)}), found {named!r}")
    values["embedder"] = named


def _check_optional(where: str, values: Mapping[str, Any]) -> None:
    for role, asked in values.get("optional", {}).items():
        name, equals, _ = asked.partition("=") if isinstance(asked, str) else ("", "", "")
        if not equals or name not in values["options"]:
            raise InvbenchError(f"{where}: optional.{role}: expected OPTION=VALUE of one of its options, found {asked!r}")


def _check_presets(where: str, values: Mapping[str, Any]) -> None:
    for preset, changes in values.get("presets", {}).items():
        if not ID.fullmatch(preset) or not isinstance(changes, dict):
            raise InvbenchError(f"{where}: presets.{preset}: expected a dict of options, found {changes!r}")
        place = partial("{}: presets.{}.{}".format, where, preset)
        laid_over(values["options"], {}, changes, method=values["id"], place=place)
