"""Methods beside each other: common images, ranks and differences, against sums done by hand and single computations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from invbench.compare import stats
from invbench.reports import compare, coverage
from invbench.reports.compare import Block, Compared

NAN = math.nan


def block(values: dict[str, list[float]], *, metric: str = "m", place: tuple[object, ...] = ("d",)) -> Block:
    table = np.array(list(values.values()), dtype=np.float64).T
    methods = tuple((name, "paper") for name in values)
    return Block(place, metric, methods, tuple(f"i{i}" for i in range(len(table))), table)


def one(values: dict[str, list[float]], *, better: str = "lower") -> Compared:
    return compare.compare([block(values)], {"m": better})[0]


def test_common_images_are_those_of_all_compared_methods() -> None:
    found = block({"a": [1, 2, 3, 4, NAN], "b": [1, NAN, 3, 4, 5], "few": [1, NAN, NAN, NAN, NAN], "none": [NAN] * 5})
    assert found.own.tolist() == [4, 4, 1, 0] and found.compared.tolist() == [True, True, False, False]
    assert found.common.tolist() == [True, False, True, True, False] and found.left_out == ("i1", "i4")
    assert found.column(0).tolist() == [1, 3, 4] and found.column(2).tolist() == [1]
    half = block({"a": [1, 2, 3, 4], "b": [1, 2, NAN, NAN]})
    assert half.compared.all() and half.common.sum() == 2  # half of the best is enough


def test_figures_are_those_of_the_statistics_alone() -> None:
    rng = np.random.default_rng(0)
    hard = rng.lognormal(0, 1, 40)
    values = {name: list(hard * rng.lognormal(step, 0.1, 40)) for name, step in zip("abc", (0, 0, 0.5))}
    found = one(values)
    alone = stats.rank(values, np.random.default_rng(0), better="lower")
    assert found.decided and found.ranking is not None
    assert [found.block.methods[int(name)][0] for name in found.ranking.order] == list(alone.order)
    for name, column in values.items():
        mean = found.means[name, "paper"]
        expected = stats.mean_interval(column, np.random.default_rng(1))
        assert mean.interval.value == expected.value and mean.ranks == alone.ranks[name]
        assert mean.interval.low == pytest.approx(expected.low, rel=0.05)  # another draw
    pairs = {(pair.first[0], pair.second[0]): pair for pair in compare.pairs(found)}
    assert len(pairs) == 3
    for (first, second), pair in pairs.items():
        difference = np.array(values[first]) - values[second]
        assert pair.difference.value == pytest.approx(difference.mean())
        assert pair.difference.low < difference.mean() < pair.difference.high
        assert pair.distinct == (pair.p <= 0.05) == ("c" in (first, second))


def test_nothing_is_ranked_without_a_direction_or_a_second_method() -> None:
    assert one({"a": [1, 2], "b": [2, 3]}, better="none").ranking is None
    alone = one({"a": [1, 2], "b": [NAN, NAN]})
    assert alone.ranking is None and alone.means["a", "paper"].ranks == () and not alone.decided
    assert compare.pairs(alone) == []


def test_rows_become_blocks_in_the_order_of_the_plan() -> None:
    rows = pd.DataFrame(
        [
            {"dataset": "d", "method": "b", "preset": "p", "image": "y", "status": "ok", "m": 2.0},
            {"dataset": "d", "method": "b", "preset": "p", "image": "x", "status": "failed", "m": 9.0},
            {"dataset": "d", "method": "a", "preset": "p", "image": "x", "status": "ok", "m": 1.0},
            {"dataset": "d", "method": "a", "preset": "p", "image": "not planned", "status": "ok", "m": 7.0},
            {"dataset": "d", "method": "unknown", "preset": "p", "image": "x", "status": "ok", "m": 7.0},
        ]
    )
    plan = {("d",): {("a", "p"): ["x", "y"], ("b", "p"): ["x", "y"]}, ("other",): {("a", "p"): ["x"]}}
    (found,) = compare.blocks(rows, plan, metrics=["m", "absent"], by=["dataset"])
    assert found.place == ("d",) and found.images == ("x", "y") and found.methods == (("a", "p"), ("b", "p"))
    assert np.array_equal(found.values, [[1.0, NAN], [NAN, 2.0]], equal_nan=True)


def test_an_infinite_mean_has_no_difference() -> None:
    found = one({"a": [1, math.inf, 2], "b": [1, math.inf, 3]}, better="higher")
    assert found.means["a", "paper"].interval.infinite == 1 and found.means["a", "paper"].finite == 1.5
    assert not math.isfinite(compare.pairs(found)[0].difference.value) and not found.decided


def test_ranks_as_text() -> None:
    texts = {(1,): "1", (2, 3): "2-3", (1, 3): "1, 3", (4, 2, 3, 6): "2-4, 6", (): ""}
    assert {ranks: compare.rank_text(ranks) for ranks in texts} == texts


def test_what_holds_for_all_metrics_is_said_once() -> None:
    values = {"a": [1.0, 2.0, NAN], "b": [1.0, 2.0, 3.0]}
    same = compare.compare([block(values, metric=name) for name in "xy"], dict.fromkeys("xy", "none"))
    assert coverage.statements(same) == ["means over the 2 images that all 2 methods cover; 1 of 3 left out: i2"]
    assert coverage.incomplete(same) == ["x", "y"]
    other = compare.compare([block({"a": [1.0, 2.0, 3.0], "b": [NAN] * 3}, metric="z")], {"z": "lower"})
    assert coverage.statements([*same, *other]) == [
        "means over the 2 images that all 2 methods cover; 1 of 3 left out: i2; but",
        "z: means over the 3 images, which a.paper covers; no other method is compared",
    ]
    assert coverage.incomplete(other) == []


def test_edits_are_named_where_they_differ() -> None:
    whole = {"a": [1.0] * 3, "b": [2.0] * 3}
    parts = [(("d", "age", 3.0), whole), (("d", "yaw", -1.0), {**whole, "b": [2.0, NAN, NAN]})]
    found = compare.compare([block(values, place=place) for place, values in parts], {"m": "none"})
    assert coverage.images(found) == [
        "means over the 3 images, which all 2 methods cover; but",
        "m (yaw-1): means over the 3 images, which a.paper covers; no other method is compared",
    ]
    assert coverage.warnings(found) == [
        "b.paper covers only 1 of 3 images in m (yaw-1): its own mean is shown, it is not compared"
    ]


def test_too_few_images_to_decide_are_said_once() -> None:
    values = {name: [float(i), i + 1.0, i + 2.0] for i, name in enumerate("abcd")}
    found = compare.compare([block(values, metric=name) for name in "xy"], dict.fromkeys("xy", "lower"))
    assert coverage.warnings(found) == [
        "3 images cannot tell any two of 4 methods apart: all share rank 1; it takes 8 at least; about 8 would tell a.paper "
        "from b.paper in x, if they differ as much as here (80% power)"
    ]


def test_where_enough_images_tell_nothing_apart_it_is_said_how_many_would() -> None:
    common = np.random.default_rng(0).normal(size=40)
    values = {"a": list(common), "b": list(common + 0.2 + np.tile([1.0, -1.0], 20)), "c": list(common)}
    (said,) = coverage.warnings(compare.compare([block(values)], {"m": "lower"}))
    differences = np.subtract(values["a"], values["b"])
    needed = stats.images_needed(differences, methods=3)
    assert needed > 40 and f"about {needed} would tell a.paper from b.paper in m, if they differ as much as here" in said
    assert said.startswith("40 images tell no two of 3 methods apart in m: all share rank 1; about")
    edits = [block(values, place=("d", name, 3.0)) for name in ("age", "yaw")]
    (said,) = coverage.warnings(compare.compare(edits, {"m": "lower"}))
    assert "apart in m (age+3, yaw+3): all share" in said and "in m (age+3), if they" in said
    equal = compare.compare([block({"a": [1.0] * 9, "b": [1.0] * 9})], {"m": "lower"})
    assert coverage.warnings(equal) == ["9 images tell no two of 2 methods apart in m: all share rank 1"]
