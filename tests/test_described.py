"""A plan or a manifest with a wrong value anywhere is one line that names the place, whatever the value."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from invbench.api import InvbenchError
from invbench.compare import baseline
from invbench.described import MANIFEST, PLAN
from invbench.reports import tables
from invbench.run.check import check
from invbench.run.merging import manifests, plans
from invbench.run.plan import Cell
from invbench.run.runner import run
from invbench.store import Store
from invbench.util import sealed
from invbench.util.shapes import COUNT, FLAG, INDEX, NUMBER, TEXT, Each, Maybe, expect

WRONG = [None, [], {}, "", "x", "../x", -1, 0, 10**30, float("nan"), float("inf"), True, [None], {"a": 1}, [[1]], "\x1b[31m"]


@pytest.mark.parametrize(
    ("value", "shape", "told"),
    [
        (1, TEXT, "x: expected a text, found 1"),
        (1, FLAG, "x: expected true or false, found 1"),
        (True, INDEX, "x: expected a whole number from 0, found True"),
        (-1, INDEX, "x: expected a whole number from 0, found -1"),
        (0, COUNT, "x: expected a whole number from 1, found 0"),
        (float("nan"), NUMBER, "x: expected a number, found nan"),
        (10**30, NUMBER, "x: expected a number, found 1000000000000000000000000000000"),
        ({}, Each(list, TEXT), "x: expected a list, found {}"),
        (["a", 2], Each(list, TEXT), "x.1: expected a text, found 2"),
        ({"a": 2}, Each(dict, TEXT), "x.a: expected a text, found 2"),
        ({}, {"a": TEXT}, "x: expected the key 'a', found none"),
        ({"a": None}, {"a?": TEXT}, "x.a: expected a text, found None"),
        ([], {"a?": TEXT}, "x: expected an object, found []"),
        ([], Maybe({"a?": TEXT}), "x: expected an object, found []"),
    ],
)
def test_what_has_another_shape_is_named(value: Any, shape: Any, told: str) -> None:
    with pytest.raises(InvbenchError) as caught:
        expect(value, shape, "x")
    assert str(caught.value) == told


def test_what_has_the_shape_passes() -> None:
    expect({"a": "b", "more": 1}, {"a": TEXT, "c?": FLAG}, "x")
    expect({"a": None, "b": ["c"]}, Each(dict, Maybe(Each(list, TEXT))), "x")
    expect({"a": [1, 2.5]}, Each(dict, Each(list, NUMBER)), "x")


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*place, key))


def _changed(content: dict[str, Any], dice: random.Random, places: list[tuple[Any, ...]]) -> tuple[dict[str, Any], str]:
    changed = copy.deepcopy(content)
    *way, last = place = dice.choice(places)
    item = changed
    for key in way:
        item = item[key]
    if dice.random() < 0.2:
        del item[last]
        return changed, f"{place} removed"
    item[last] = dice.choice(WRONG)
    return changed, f"{place} = {item[last]!r}"


@pytest.mark.parametrize(("name", "shape"), [("plan", PLAN), ("manifest", MANIFEST)])
@pytest.mark.parametrize("trials", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_readers_find_what_they_expect_or_a_line(make_settings, tmp_path: Path, name: str, shape: Any, trials: int) -> None:
    settings = make_settings(images=2, latency=1)
    assert run(settings, progress=False) == 0
    store, dice = Store(settings.out), random.Random(trials)
    content, manifest = getattr(store, name), store.manifest
    if name == "manifest":  # with the calls of a merged run, and weights
        content = manifests.together([("a", manifest)]) | {"weights": {"w": {"file": "w.safetensors", "sha256": "0"}}}
    places = [place for place in _places(content) if place]
    for _ in range(trials):
        changed, told = _changed(content, dice, places)
        store.write_json(f"{name}.json", changed)
        for reader in (
            lambda: tables.terminal(Store(settings.out), intervals=False, covered=False, width=80),
            lambda: baseline.read(settings.out),
            lambda: check(settings.out),
            lambda: [Cell.read(one) for one in Store(settings.out).plan["cells"].values()],
            lambda: plans.together([("a", Store(settings.out).plan), ("b", Store(settings.out).plan)]),
            lambda: manifests.together([("a", manifest), ("b", Store(settings.out).manifest)]),
        ):
            try:
                reader()
            except InvbenchError as error:
                assert "\n" not in str(error), told
            except Exception as error:
                raise AssertionError(told) from error


def _spoilt(table: pa.Table, dice: random.Random, told: list[str]) -> pa.Table:
    """The table with a column that is gone, renamed, of another type, of nulls, of no numbers, or there twice."""
    name = dice.choice(table.schema.names)
    at, column = table.schema.names.index(name), table.column(name)
    others = {
        "gone": lambda: table.remove_column(at),
        "renamed": lambda: table.rename_columns([f"{one}x" if one == name else one for one in table.schema.names]),
        "numbers": lambda: table.set_column(at, name, pa.array([7] * len(column), pa.int64())),
        "texts": lambda: table.set_column(at, name, pa.array(["\x1b[31m"] * len(column))),
        "lists": lambda: table.set_column(at, name, pa.array([[1.0]] * len(column))),
        "nulls": lambda: table.set_column(at, name, pa.nulls(len(column), column.type)),
        "infinite": lambda: table.set_column(at, name, pa.array([math.inf] * len(column))),
        "not a number": lambda: table.set_column(at, name, pa.array([math.nan] * len(column))),
        "twice": lambda: table.append_column(name, column),
        "no rows": lambda: table.slice(0, 0),
        "rows twice": lambda: pa.concat_tables([table, table]),
    }
    how = dice.choice([*others])
    told.append(f"{name} {how}")
    return others[how]()


@pytest.mark.parametrize("kind", ["rows/*/*.parquet", "sets.parquet", "latency/*.parquet"])
@pytest.mark.parametrize("trials", [8, pytest.param(150, marks=pytest.mark.slow)])
def test_tables_with_other_columns_are_a_line_or_no_harm(make_settings, kind: str, trials: int) -> None:
    settings = make_settings(images=5, latency=1)
    assert run(settings, progress=False) == 0
    path, dice, told = sorted(settings.out.glob(kind))[0], random.Random(trials), list[str]()
    right = path.read_bytes()
    for _ in range(trials):
        table = sealed.read_table(path, what="a table")
        path.write_bytes(sealed.table_bytes(_spoilt(table, dice, told)))
        for reader in (
            lambda: tables.terminal(Store(settings.out), intervals=False, covered=False, width=80),
            lambda: baseline.read(settings.out),
            lambda: check(settings.out),
            lambda: Store(settings.out).failures(),
        ):
            try:
                reader()
            except InvbenchError as error:
                assert "\n" not in str(error), told[-1]
            except Exception as error:
                raise AssertionError(told[-1]) from error
        path.write_bytes(right)
