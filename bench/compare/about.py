"""Check of the metadata of a baseline file, which may be foreign, against the types that the gate expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TOP: Mapping[str, tuple[type, ...]] = {
    "suite": (str,),
    "seed": (int, type(None)),
    "precision": (str, type(None)),
    "protocol": (int, str, type(None)),
    "finished": (str, bool, type(None)),
    "machine": (dict, type(None)),
    "versions": (dict, type(None)),
    "git": (dict, type(None)),
    "methods": (dict,),
    "metrics": (dict,),
    "sets": (list,),
}
_METRIC: Mapping[str, tuple[type, ...]] = {"kind": (str,), "better": (str,), "recipe": (str, type(None))}
_METHOD: Mapping[str, tuple[type, ...]] = {"options": (dict, type(None))}
_MACHINE: Mapping[str, tuple[type, ...]] = {"memory": (int, float, type(None))}
BETTER = ("lower", "higher", "none")


def check(about: Any, format: int) -> dict[str, Any]:
    """The metadata as it is. Raises ValueError naming the first key of another type, or another format than ``format``."""
    _shape(about, {}, "metadata")
    if about.get("format") != format:
        raise ValueError(f"format: expected {format}, found {about.get('format')!r}")
    _shape(about, _TOP, "metadata")
    _shape(about["machine"] or {}, _MACHINE, "machine", optional=True)
    machines = about.get("machines")
    if not isinstance(machines, list | type(None)):
        raise ValueError(f"machines: expected a list, found {machines!r}")
    for id, one in about["methods"].items():
        _shape(one, _METHOD, f"methods.{id}", optional=True)
    for id, one in about["metrics"].items():
        _shape(one, _METRIC, f"metrics.{id}")
        if one["better"] not in BETTER:
            raise ValueError(f"metrics.{id}.better: expected one of {', '.join(BETTER)}, found {one['better']!r}")
    return about


def _shape(found: Any, keys: Mapping[str, tuple[type, ...]], where: str, *, optional: bool = False) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{where}: expected an object, found {found!r}")
    for key, types in keys.items():
        if key not in found and not optional:
            raise ValueError(f"{where}.{key}: expected a value, found none")
        if not isinstance(found.get(key), (*types, type(None)) if optional else types):
            raise ValueError(f"{where}.{key}: expected {types[0].__name__}, found {found.get(key)!r}")
