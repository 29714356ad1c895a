"""Sweeps: one method with one setting after the other, or several methods, as a paper's ablation or figure has it.

The package's stand in ``sweeps.toml``, a user's in the tables ``[[sweep]]`` of ``bench.toml``; one of the same name replaces
the package's. How a table reads is told in docs/sweeps.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from invbench.api import InvbenchError
from invbench.plugins import files
from invbench.plugins.config import Count, Finite, Name, _checked
from invbench.plugins.frozen import Frozen
from invbench.swept import SECONDS


class Point(Frozen):
    """One point of a sweep: a method with its settings.

    name      of its run folder; ``label``: in tables and plots, "" = the name
    line      points of one line are joined in plots
    x         its place on the axis, if that is a number
    set       options as for ``--set``: "gani.blocks=2"
    networks  role -> name of a network of its own in the zoo, in place of the suite's
    train     arguments of ``python -m invbench.methods.train`` that train it
    printed   columns of the published numbers that tell which of them belong to this point
    """

    name: Name
    label: str = ""
    line: str = ""
    x: Finite | None = None
    method: str
    set: tuple[str, ...] = ()
    networks: dict[str, Name] = {}
    train: str = ""
    printed: dict[str, str] = {}

    @model_validator(mode="after")
    def _networks_can_be_trained(self) -> Point:
        if self.networks and not self.train:
            raise ValueError("train: expected the arguments that train its networks, found none")
        return self


class Sweep(Frozen):
    """A table and plots of some points.

    source    where it comes from, in words: "Table 7 of GANI"
    about     what a reader should know
    suite     that it runs on; ``only``: on no other one, since its points name networks or units of this one
    dataset   of the suite; "" = the first one of the suite's default collection
    images    the first so many of it, unless a call says otherwise
    metrics   ids, or families ("lpips"): the first metric of the suite that belongs to one
    edits     "age:3": metrics of edits are read there
    axis      "seconds": each point's own; else the title of ``x``; "" = points stand side by side, by their labels
    log       whether the axis is logarithmic
    printed   columns of the published numbers that all points share
    """

    name: Name
    title: str
    source: str = ""
    about: str = ""
    suite: str = "procfaces"
    only: bool = False
    dataset: str = ""
    images: Count
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    edits: tuple[str, ...] = ()
    axis: str = ""
    log: bool = False
    printed: dict[str, str] = {}
    point: Annotated[tuple[Point, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _points_agree(self) -> Sweep:
        names = [point.name for point in self.point]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"point: expected names that differ, found {twice!r} twice")
        if self.axis not in ("", SECONDS):
            for point in self.point:
                if point.x is None or (self.log and point.x <= 0):
                    above = " above 0" if self.log else ""
                    raise ValueError(f"point {point.name}: x: expected a number{above}, found {point.x}")
        return self


def load(extra: Path | None = None) -> dict[str, Sweep]:
    """Sweeps by name: those of the package, then those of ``extra``. Raises InvbenchError naming the file and the key."""
    found: dict[str, Sweep] = {}
    for source, tables in files.sweeps(extra):
        own: dict[str, Sweep] = {}
        for number, table in enumerate(tables, 1):
            if not isinstance(table, dict):
                raise InvbenchError(f"{source}: sweep {number}: expected a table [[sweep]], found {table!r:.80}")
            name = table.get("name", number)
            one = _checked(str(source), f"sweep {name}", Sweep, table)
            if one.name in own:
                raise InvbenchError(f"{source}: sweep {name}: expected names that differ, found {name!r} twice")
            own[one.name] = one
        found |= own
    return found
