"""What a layout of published files is: the marks by which it is recognised, and the networks that can be built from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from invbench.weights.facts import Shapes


@dataclass(frozen=True)
class Derived:
    """A part that is measured from another one, once, and kept under ``INVBENCH_HOME``."""

    of: str  # the part that it is measured from
    measure: str  # "module:function", called with that network
    cls: str  # "module:Class" of what it gives; built from its stored configuration


@dataclass(frozen=True)
class Layout:
    """One form of file.

    marks   tensors that every file of this layout has: "key" or "key/inner key" -> shape, None = any length
    parts   networks that can be built from it: part -> loader "module:function", or :class:`Derived`; the first is the default
    facts   function of the facts that distinguish files of the layout: number of style vectors, resolution, domain, ...
    """

    title: str
    marks: Mapping[str, tuple[int | None, ...]]
    parts: Mapping[str, str | Derived] = field(default_factory=dict)
    facts: Callable[[Shapes, Mapping[str, Any]], dict[str, Any]] = lambda shapes, content: {}
