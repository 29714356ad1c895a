"""The shape that a value of JSON must have, and the place where it has another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from invbench.api import InvbenchError

Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Kind:
    """A single value: its name in messages, and what tells it."""

    name: str
    holds: Check

    def __or__(self, other: Kind) -> Kind:
        """Either of two kinds."""
        return Kind(f"{self.name} or {other.name}", lambda value: self.holds(value) or other.holds(value))


@dataclass(frozen=True)
class Each:
    """A list whose items, or an object whose values, all have one shape."""

    kind: type[list[Any]] | type[dict[str, Any]]
    shape: Shape


@dataclass(frozen=True)
class Maybe:
    """A value of a shape, or null."""

    shape: Shape


Shape = Kind | Each | Maybe | Mapping[str, Any]
"""Also a mapping: an object with these keys, and others; a key that ends in "?" may be missing."""

TEXT = Kind("a text", lambda value: isinstance(value, str))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NULL = Kind("null", lambda value: value is None)
NUMBER = Kind("a number", lambda value: type(value) in (int, float) and math.isfinite(value) and abs(value) < 2**63)
INDEX = Kind("a whole number from 0", lambda value: type(value) is int and 0 <= value < 2**63)
COUNT = Kind("a whole number from 1", lambda value: type(value) is int and 1 <= value < 2**63)
PLAIN = TEXT | FLAG | NULL | NUMBER
ANY = Kind("anything", lambda value: True)
_WORDS = {list: "a list", dict: "an object"}


def one_of(*words: str) -> Kind:
    """One of these texts."""
    return Kind(" or ".join(map(repr, words)), lambda value: isinstance(value, str) and value in words)


def expect(value: Any, shape: Shape, where: str) -> None:
    """Raise InvbenchError naming ``where`` in it a value has another shape, what was expected and what was found."""
    if isinstance(shape, Kind):
        if not shape.holds(value):
            raise _another(where, shape.name, value)
    elif isinstance(shape, Maybe):
        if value is not None:
            expect(value, shape.shape, where)
    elif isinstance(shape, Each):
        if not isinstance(value, shape.kind):
            raise _another(where, _WORDS[shape.kind], value)
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            expect(item, shape.shape, f"{where}.{key}")
    else:
        if not isinstance(value, dict):
            raise _another(where, _WORDS[dict], value)
        for name, part in shape.items():
            key = name.removesuffix("?")
            if key in value:
                expect(value[key], part, f"{where}.{key}")
            elif key == name:
                raise InvbenchError(f"{where}: expected the key {key!r}, found none")


def _another(where: str, expected: str, found: Any) -> InvbenchError:
    return InvbenchError(f"{where}: expected {expected}, found {found!r:.80}")
