"""The printed tables of the field and how their numbers were computed; the data is in ``reports/reported``."""

from __future__ import annotations

import csv
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.reports.compare import best_two

FOLDER = Path(str(files("invbench.reports"))) / "reported"
FIELDS = ("domain", "method", "embedder", "variant", "versus", "metric", "edit", "edit_strength")  # these distinguish cells
TYPOGRAPHY = frozenset({"bold", "underline", "bold_lost"})
UNTRUSTED = frozenset({"suspected_misprint", "matches_other_source"})  # flags of numbers that take no part in rank agreement


@dataclass(frozen=True)
class Number:
    """One printed number: ``row`` and ``column`` of the printed table, the columns of results.csv, and its value.

    text     as printed, without unit; empty for a dash
    value    the printed value as a number; NaN for a dash
    """

    row: int
    fields: Mapping[str, str]
    text: str
    value: float
    flags: frozenset[str]
    note: str

    def __getitem__(self, name: str) -> str:
        return self.fields[name]


@dataclass(frozen=True)
class PrintedTable:
    """A printed table: its numbers in printed order, and the fields that distinguish its rows and its columns."""

    id: str  # "paper:dhr-1"
    source: str
    name: str  # "Table 1"
    numbers: tuple[Number, ...]
    row_fields: tuple[str, ...]
    column_fields: tuple[str, ...]
    common: Mapping[str, str]  # fields that all numbers share

    @property
    def title(self) -> str:
        """Name and source of the table: "Table 1 of ..."."""
        return f"{self.name} of {protocols()['sources'][self.source]}"

    def column(self, number: Number) -> tuple[str, ...]:
        """Label of a number's column: its values of ``column_fields``."""
        return tuple(number[field] for field in self.column_fields)

    def columns(self) -> list[tuple[str, ...]]:
        """Labels of the columns in printed order."""
        return list(dict.fromkeys(self.column(number) for number in self.numbers))

    def label(self, number: Number) -> tuple[str, ...]:
        """Label of a number's row: its values of ``row_fields``, methods and embedders by name."""
        return tuple(name_of(number[field]) if field in ("method", "embedder") else number[field] for field in self.row_fields)


@cache
def tables() -> dict[str, PrintedTable]:
    """All printed tables by id, ``paper:<source>-<number>``. Raises InvbenchError if the data cannot be read."""
    found = {}
    for (source, name), group in groupby(_read("results.csv"), key=lambda row: (row["source"], row["table"])):
        numbered = re.fullmatch(r"Table (\d+)|Benchmark", name)
        if numbered:  # the others are numbers in a paper's text
            table = _table(f"paper:{source}-{numbered[1] or 1}", source, name, list(group))
            found[table.id] = table
    return found


@cache
def numbers() -> tuple[Number, ...]:
    """All printed numbers, those in texts and captions too. Raises InvbenchError if the data cannot be read."""
    return tuple(map(_number, _read("results.csv")))


@cache
def protocols() -> dict[str, Any]:
    """The content of ``protocols.toml``."""
    with (FOLDER / "protocols.toml").open("rb") as file:
        return tomllib.load(file)


def name_of(id: str) -> str:
    """The name in tables of a method, an embedder or a pair of both ("dhr+lsap") with this published id."""
    known: Mapping[str, str] = protocols()["names"]
    return " + ".join(known.get(part, part) for part in id.split("+"))


def only_published() -> list[tuple[str, str, str]]:
    """Rows for which this harness has no method of its own: published id, name with the sources of its rows, and why."""
    sources: dict[str, dict[str, None]] = {}
    for one in numbers():
        sources.setdefault(one["method"], {})[protocols()["sources"][one["source"]].partition(" (")[0]] = None
    return [
        (id, f"{name_of(id)} ({', '.join(sources[id])})", reason) for id, reason in protocols()["only_published"].items()
    ]


def rule(number: Number) -> Mapping[str, str]:
    """How a number was computed: ``recipe``, and ``reason`` or ``note``; an empty recipe if no rule fits."""
    for one in protocols()["rule"]:
        if all(number[key] == one[key] for key in ("source", "metric", "domain", "table") if key in one):
            return one
    return {"recipe": "", "reason": f"this harness has no metric for {number['metric']}"}


def notes(number: Number) -> list[str]:
    """Footnotes of a printed number: the meanings of its flags, then the sentences of its note."""
    flags = sorted(flag.replace("_", " ") for flag in number.flags - TYPOGRAPHY)
    sentences = re.split(r"(?<!Sec\.)(?<!Fig\.)(?<=\.) (?=[A-Z])", number.note) if number.note else []
    return [*flags, *sentences]


def places(numbers: Sequence[Number]) -> dict[int, int]:
    """``id(number)`` -> 1 for the best and 2 for the second best printed number among those that compete.

    Equal numbers share a place. Suspected misprints, and numbers without a better direction, get none; without a second best
    number there are no places.
    """
    places: dict[int, int] = {}
    for competing in _competing(numbers):
        trusted = {id(one): one.value for one in competing if "suspected_misprint" not in one.flags}
        best = best_two(trusted, competing[0]["direction"])
        places |= best if 2 in best.values() else {}
    return places


def half_digit(text: str) -> float:
    """Half a unit of the last digit of a printed number: "0.008" -> 0.0005."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def _competing(numbers: Sequence[Number]) -> list[list[Number]]:
    """Groups of numbers of one metric, domain, edit and strength, which compete with each other."""
    groups: dict[tuple[str, ...], list[Number]] = {}
    for one in numbers:
        if one["direction"] in ("lower", "higher"):
            groups.setdefault(tuple(one[field] for field in ("metric", "domain", "edit", "edit_strength")), []).append(one)
    return list(groups.values())


def _table(id: str, source: str, name: str, rows: list[dict[str, str]]) -> PrintedTable:
    numbers = tuple(_number(row) for row in rows)
    by_row = [list(group) for _, group in groupby(numbers, key=lambda one: one.row)]
    columns = [field for field in FIELDS if any(len({one[field] for one in row}) > 1 for row in by_row)]
    rest = [field for field in FIELDS if field not in columns]
    differing = [field for field in rest if len({one[field] for one in numbers}) > 1]
    common = {field: numbers[0][field] for field in rest if field not in differing and numbers[0][field]}
    return PrintedTable(id, source, name, numbers, tuple(differing), tuple(columns), common)


def _number(row: dict[str, str]) -> Number:
    try:
        value = float(row["value"]) if row["value"] else math.nan
        flags = frozenset(flag for flag in row["flags"].split(";") if flag)
        return Number(int(row["row"]), row, row["value"], value, flags, row["note"])
    except (KeyError, ValueError) as error:
        raise InvbenchError(f"{FOLDER / 'results.csv'}: expected a published number, found {row}: {error}") from error


def _read(name: str) -> list[dict[str, str]]:
    try:
        with (FOLDER / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InvbenchError(f"{FOLDER / name}: expected the published numbers, found no such file") from error
