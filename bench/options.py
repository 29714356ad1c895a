"""Options of methods: their declarations, their admitted values, and the record of values that a method gets.

An option is declared once, in the ``SPEC`` of its module: ``default``, ``unit``, ``help`` and, where they apply, ``range`` or
``choices``. Its type is that of the default: a float option takes whole numbers too, the items of a list have the type of the
default's items, and the default None means "not set" and admits every type. Every value is checked here.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from invbench.api import InvbenchError
from invbench.specs import MethodSpec, Option
from invbench.util.names import unknown

KEYS, MORE_KEYS = {"default", "unit", "help"}, {"range", "choices"}
STEPS = "[0, inf)"  # of an option that counts steps and declares no range
INTERVAL = re.compile(r"\s*([\[(])\s*([^\s,]+)\s*,\s*([^\s,]+)\s*([\])])\s*")
REFUSED = object()


class Options(Mapping[str, Any]):
    """The frozen values of a method's options: ``options.steps`` or ``options["steps"]``. Lists are stored as tuples."""

    __slots__ = ("_method", "_values")
    _method: str
    _values: dict[str, Any]

    def __init__(self, method: str, values: Mapping[str, Any]) -> None:
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        object.__setattr__(self, "_method", method)
        object.__setattr__(self, "_values", plain)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(name if name.startswith("_") else unknown(f"option of {self._method}", name, self._values))
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"options of {self._method}: cannot set {name!r}, for a method's options are frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"options of {self._method}: cannot delete {name!r}, for a method's options are frozen")

    def __reduce__(self) -> tuple[Any, ...]:
        return Options, (self._method, self._values)

    def __repr__(self) -> str:
        return f"Options({self._method}: {', '.join(f'{name}={value!r}' for name, value in self._values.items())})"


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``; an ``open`` bound is excluded."""

    low: float
    high: float
    open_low: bool
    open_high: bool

    def __contains__(self, number: float) -> bool:
        above = self.low < number if self.open_low else self.low <= number
        return above and (number < self.high if self.open_high else number <= self.high)

    def __str__(self) -> str:
        return f"{'[('[self.open_low]}{self.low}, {self.high}{'])'[self.open_high]}"


@cache
def interval(text: str) -> Interval:
    """``[0, inf)`` -> the interval. Raises ValueError for other text and for an interval without a number."""
    match = INTERVAL.fullmatch(text)
    if match is None:
        raise ValueError(f'expected a range like "[0, inf)" or "(0, 1]", found {text!r}')
    low, high = (_number(match[place]) for place in (2, 3))
    found = Interval(low, high, match[1] == "(", match[4] == ")")
    if not (low < high or (low == high and low in found)):
        raise ValueError(f"expected a range with a number in it, found {text!r}")
    return found


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def bounds(option: Option) -> Interval | None:
    """The range of an option, or None; an option that counts steps always has one."""
    text = option.range or (STEPS if option.unit == "steps" and not option.choices else "")
    return interval(text) if text else None


def limits(option: Option) -> str:
    """The range or choices of an option in words; "" if only its type restricts it."""
    if option.choices:
        return f"{'some' if isinstance(option.default, list | tuple) else 'one'} of {', '.join(map(repr, option.choices))}"
    return "" if (found := bounds(option)) is None else f"in {found}"


def at_least(option: Option, count: int) -> int:
    """The smallest admitted number of steps that is at least ``count``, or the largest admitted if all are below."""
    if option.choices:
        return min((one for one in option.choices if one >= count), default=max(option.choices))
    found = bounds(option)
    if found is None or count in found:
        return count
    if count > found.low:
        return math.ceil(found.high) - 1 if found.open_high else math.floor(found.high)
    return math.floor(found.low) + 1 if found.open_low else math.ceil(found.low)


def admitted(option: Option, value: Any, *, place: str) -> Any:
    """``value`` in the form of the option's default (a float for a whole number, a list for a tuple, 0.0 for -0.0).

    Raises InvbenchError with ``place``, what is expected (type, range, choices) and what was found.
    """
    if isinstance(option.default, list | tuple):
        items = [_typed(item, _model(option)) for item in value] if isinstance(value, list | tuple) else [REFUSED]
        fits = all(_fits(option, item) for item in items) and not (option.choices and len(set(items)) < len(items))
        found: Any = type(option.default)(items)
    else:
        found = _typed(value, _model(option))
        fits = _fits(option, found)
    if not fits:
        raise InvbenchError(f"{place}: expected {_expected(option)}, found {value!r}")
    return found


def _expected(option: Option) -> str:
    kind = "" if option.default is None else f"{type(option.default).__name__} "
    each = ", each once" if option.choices and isinstance(option.default, list | tuple) else ""
    more = limits(option) and f"{',' if option.choices else ''} {limits(option)}"
    return f"{kind}like {option.default!r}{more}{each}"


def _model(option: Option) -> Any:
    """An example whose type a value, or an item of a list, must have; None = any type."""
    known = option.default if isinstance(option.default, list | tuple) else [option.default]
    return next((one for one in (*known, *option.choices) if one is not None), None)


def _typed(value: Any, model: Any) -> Any:
    if value is None:
        return None
    if isinstance(model, float) and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return REFUSED
    if model is not None and type(value) is not type(model):
        return REFUSED
    return value + 0.0 if isinstance(value, float) else value


def _fits(option: Option, value: Any) -> bool:
    if value is None:
        return None in option.choices if option.choices else option.default is None
    if option.choices:
        return any(type(value) is type(one) and value == one for one in option.choices)
    found = bounds(option)
    if type(value) is int and not -(2**63) <= value < 2**63:
        return False  # no method counts so far
    return _is_plain(value) if found is None else type(value) in (int, float) and value in found


def _is_plain(value: Any) -> bool:
    """Whether a value has exactly one form in JSON, from which keys are made: no NaN, infinity, set or date."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    return math.isfinite(value) if isinstance(value, float) else value is None or isinstance(value, bool | int | str)


def declare(declared: Mapping[str, Any], *, where: str) -> dict[str, Option]:
    """The options of a literal by name. Raises InvbenchError for wrong keys and for a default that is not admitted."""
    return {name: _option(name, one, where=f"{where}.{name}") for name, one in declared.items()}


def _option(name: Any, declared: Any, *, where: str) -> Option:
    named = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    if not named or name.startswith("_") or hasattr(Options, name):  # every mapping has `values`, for example
        raise InvbenchError(f"{where}: expected a name that can be written options.NAME, found {name!r}")
    if not isinstance(declared, dict) or not KEYS <= set(declared) <= KEYS | MORE_KEYS:
        raise InvbenchError(f"{where}: expected the keys {sorted(KEYS)}, and range or choices, found {declared!r}")
    if len(MORE_KEYS & set(declared)) > 1:
        raise InvbenchError(f"{where}: expected range or choices, found both")
    for key in ("unit", "help"):
        if not isinstance(declared[key], str):
            raise InvbenchError(f"{where}.{key}: expected text, found {declared[key]!r}")
    if declared["unit"] == "steps" and type(declared["default"]) is not int:
        raise InvbenchError(f"{where}.default: expected a whole number of steps, found {declared['default']!r}")
    text = _range(declared["range"], where=where) if "range" in declared else ""
    option = Option(declared["default"], declared["unit"], declared["help"], text, _choices(declared, where=where))
    admitted(option, option.default, place=f"{where}.default")
    return option


def _range(declared: Any, *, where: str) -> str:
    pair = isinstance(declared, list | tuple) and len(declared) == 2 and all(type(one) in (int, float) for one in declared)
    try:
        return str(interval(f"[{declared[0]}, {declared[1]}]" if pair else str(declared)))
    except ValueError as error:
        raise InvbenchError(f"{where}.range: {error}") from error


def _choices(declared: Mapping[str, Any], *, where: str) -> tuple[Any, ...]:
    choices = declared.get("choices", ())
    default = declared["default"]
    model = next((one for one in (default if isinstance(default, list | tuple) else [default]) if one is not None), None)
    found = tuple(_typed(one, model) for one in choices) if isinstance(choices, list | tuple) else ()
    scalar = all(one is None or (isinstance(one, bool | int | float | str) and one == one) for one in found)
    if "choices" in declared and not (found and scalar):
        raise InvbenchError(f"{where}.choices: expected a list of values of the default's type, found {choices!r}")
    return found


def laid_over(
    known: Mapping[str, Option],
    values: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    method: str,
    place: Callable[[str], str],
) -> dict[str, Any]:
    """``values`` updated with ``changes``, each checked; ``place(option)`` says where its value is set, for messages.

    Raises InvbenchError for an option that the method does not have (with the nearest name) and a value that is not admitted.
    """
    for name in changes:
        if name not in known:
            raise InvbenchError(f"{place(name)}: {unknown(f'option of {method}', name, known)}")
    return {**values, **{name: admitted(known[name], value, place=place(name)) for name, value in changes.items()}}


def make(spec: MethodSpec | Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Options:
    """The options that a method is built with: the defaults of its spec (or literal ``SPEC``), updated with ``changes``.

    Raises InvbenchError as :func:`laid_over` does.
    """
    if isinstance(spec, MethodSpec):
        method, known = spec.id, spec.options
    else:
        method, known = spec["id"], declare(spec["options"], where=f"{spec['id']}: options")
    defaults = {name: option.default for name, option in known.items()}
    return Options(method, laid_over(known, defaults, changes or {}, method=method, place=lambda name: f"{method}.{name}"))
