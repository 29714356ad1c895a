"""What is kept at equal change, on curves whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invbench.reports.equal_change import at_change, per_image, summary
from invbench.store import Part, Store

STRENGTHS = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
SPEC = {"entry": "m:C", "kind": "edit", "range": ""}
METRICS = {
    "age_change@native": {"better": "none", "unit": "years"},
    "id_kept@native": {"better": "higher", "unit": "cosine"},
    "truth_mse@native": {"better": "lower", "unit": ""},
}


def curve(changes, values, change, *, at_rest=1.0, strengths=STRENGTHS):
    return at_change(strengths, np.atleast_2d(changes), np.atleast_2d(values), change=change, at_rest=at_rest)


@pytest.mark.parametrize("change", [-12.0, -5.0, -0.1, 0.3, 7.5, 15.0])
def test_a_straight_curve_is_read_exactly(change):
    """Five years and 0.1 of identity a step: at c years 0.02 |c| is lost, whichever strength that takes."""
    found = curve(5 * STRENGTHS, 1 - 0.1 * np.abs(STRENGTHS), change)
    np.testing.assert_allclose(found, 1 - 0.02 * abs(change), rtol=1e-12)


def test_equal_strength_rewards_who_does_little_and_equal_change_does_not():
    """Two methods that lose the same identity a year, one of which moves half as far at the same strength."""
    far, near = 6 * STRENGTHS, 3 * STRENGTHS
    kept = [1 - 0.02 * np.abs(x) for x in (far, near)]
    assert kept[1][-1] > kept[0][-1]
    found = curve([far, near], kept, 5.0)
    np.testing.assert_allclose(found, 0.9, rtol=1e-12)


def test_between_two_points_the_curve_is_straight():
    """Changes 2, 4, 9 with 0.9, 0.8, 0.3 kept: at 5 a fifth of the way from the second to the third."""
    found = curve([-1, -1, -1, 2, 4, 9], [0, 0, 0, 0.9, 0.8, 0.3], 5.0)
    np.testing.assert_allclose(found, 0.7, rtol=1e-12)


def test_the_order_of_the_strengths_does_not_matter():
    order = [4, 0, 5, 2, 3, 1]
    changes, values = np.array([-9, -4, -2, 1, 5, 20.0]), np.array([0.1, 0.5, 0.6, 0.9, 0.7, 0.2])
    for change in (-3.0, 3.0):
        a = curve(changes, values, change)
        np.testing.assert_array_equal(a, curve(changes[order], values[order], change, strengths=STRENGTHS[order]))


def test_the_weakest_edit_that_gets_there_counts():
    """The change falls back after the first strength and rises again: 4 is reached on the way to the first point."""
    found = curve([0, 0, 0, 5, 3, 6], [0, 0, 0, 0.8, 0.9, 0.1], 4.0)
    np.testing.assert_allclose(found, 1 + (0.8 - 1) * 4 / 5, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ([-15, -10, -5, 1, 2, 4.9], 5.0),  # never that far
        ([5, 4, 3, -1, -2, -6], 5.0),  # only on the wrong side: the strengths below 0 make older
        ([np.nan] * 6, 5.0),
        ([0, 0, 0, 1, np.nan, 9], 5.0),  # the point before the crossing is missing
    ],
)
def test_nothing_is_extrapolated_or_guessed(changes, change):
    assert np.isnan(curve(changes, [0.5] * 6, change)).all()


def test_a_value_that_is_missing_elsewhere_does_no_harm():
    found = curve([np.nan, -1, -1, 4, 6, np.nan], [np.nan, 1, 1, 0.9, 0.7, np.nan], 5.0)
    np.testing.assert_allclose(found, 0.8, rtol=1e-12)


def test_reaching_the_change_exactly_gives_the_point_itself():
    assert curve([0, 0, 0, 5, 10, 15], [0, 0, 0, 0.93, 0.5, 0.2], 10.0).tolist() == [0.5]


def test_values_are_read_image_by_image():
    random = np.random.default_rng(3)
    changes = np.cumsum(random.uniform(0.5, 4, (20, 3)), 1)
    values = random.uniform(0, 1, (20, 3))
    together = at_change([1, 2, 3], changes, values, change=5.0, at_rest=1.0)
    for i in range(20):
        if changes[i, -1] < 5:
            assert np.isnan(together[i])
            continue
        expected = np.interp(5.0, [0, *changes[i]], [1.0, *values[i]])
        np.testing.assert_allclose(together[i], expected, rtol=1e-12)
    assert 0 < np.isnan(together).sum() < 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [[1, 2, 3]], [[1, 2, 3]], 1.0), r"found \(2,\), \(1, 3\)"),
        (([1, 2], [[1, 2]], [[1, 2]], 0.0), "change: expected a finite number that is not 0"),
        (([0, 2], [[1, 2]], [[1, 2]], 1.0), "expected numbers that are not 0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    *arrays, change = arguments
    with pytest.raises(ValueError, match=message):
        at_change(*arrays, change=change, at_rest=1.0)


def make(folder: Path, methods: dict[str, tuple[float, float]], *, failed: tuple[str, int] | None = None) -> Store:
    """Methods that move ``gain`` years a step and lose ``loss`` of the identity a year.

    Image i moves 1 + i / 10 times as far and loses 1 + i / 100 times as much a year.
    """
    store, cells = Store(folder), {}
    for method, (gain, loss) in methods.items():
        rows = []
        for i in range(6):
            head = {"recipe": "r", "suite": "s", "method": method, "preset": "paper", "dataset": "d", "image": f"i{i}"}
            head |= {"index": i, "batch": 1, "status": "ok"}
            rows.append({**head, "key": f"{method}{i}"})
            for strength in STRENGTHS.tolist():
                row = {**head, "key": f"{method}{i}{strength}", "edit": "age", "strength": strength}
                change = gain * strength * (1 + i / 10)
                row |= {"age_change@native": change, "id_kept@native": 1 - loss * (1 + i / 100) * abs(change)}
                row |= {"truth_mse@native": 1.0}
                if failed == (method, i):
                    row |= {"status": "failed", "reason": "no"}
                rows.append(row)
        store.write_part(f"{method}.paper.d", Part("000000-a", rows, {}))
        head = {"method": method, "preset": "paper", "dataset": "d"}
        cells[f"{method}.paper.d"] = head | {"images": [], "edits": [], "consistency": []}
    metrics = {id: SPEC | one | {"id": id, "title": id} for id, one in METRICS.items()}
    store.write_json("plan.json", {"suite": "s", "cells": cells})
    store.write_json("manifest.json", {"metrics": metrics, "edits": {"age": {"unit": "years", "per_strength": 5}}})
    return store


def test_methods_are_compared_at_the_changes_of_the_suite(tmp_path):
    frame = summary(make(tmp_path, {"far": (10.0, 0.02), "near": (3.0, 0.02), "careful": (4.0, 0.01)})).frame
    assert sorted(frame["change"].unique()) == [-10, -5, 5, 10]
    five = frame[frame["change"] == 5].set_index("method")
    expected = 1 - np.array([0.05, 0.1, 0.1]) * 1.025
    np.testing.assert_allclose(five.loc[["careful", "far", "near"], "id_kept@native"], expected, rtol=1e-9)
    assert five.index[0] == "careful"
    np.testing.assert_allclose(five.loc["far", "strength"], np.mean([0.5 / (1 + i / 10) for i in range(6)]))
    assert (five["n"] == 6).all() and (five["n_total"] == 6).all()
    assert set(frame["measure"]) == {"age_change@native"} and set(frame["unit"]) == {"years"}
    assert not any(name.startswith("truth_mse") for name in frame)  # its value at rest is not known


def test_images_that_are_not_reached_are_counted_and_the_common_ones_compared(tmp_path):
    """At 10 years "near" arrives on the images 2 to 5 only (9 (1 + i / 10) >= 10); "far" failed on image 5."""
    store = make(tmp_path, {"far": (10.0, 0.02), "near": (3.0, 0.01)}, failed=("far", 5))
    found = summary(store)
    ten = found.frame
    ten = ten[ten["change"] == 10].set_index("method")
    assert ten.loc["near", ["n", "n_total"]].tolist() == [4, 6] and ten.loc["far", ["n", "n_total"]].tolist() == [5, 6]
    assert ten["id_kept@native.n"].tolist() == [3, 3] and ten.loc[["near", "far"], "id_kept@native.own"].tolist() == [4, 5]
    np.testing.assert_allclose(ten.loc["near", "id_kept@native"], 1 - 0.1 * 1.03, rtol=1e-9)
    block = next(one.block for one in found.compared if one.block.place == ("d", "age", 10.0))
    assert block.left_out == ("i0", "i1", "i5")
    images = per_image(store)
    missing = images[(images["change"] == 10) & images["id_kept@native"].isna()]
    assert sorted(zip(missing["method"], missing["image"])) == [("far", "i5"), ("near", "i0"), ("near", "i1")]


def test_a_change_in_another_unit_is_no_measure_of_the_edit(tmp_path):
    store = make(tmp_path, {"far": (10.0, 0.02)})
    manifest = store.manifest | {"edits": {"age": {"unit": "decades", "per_strength": 0.5}}}
    store.write_json("manifest.json", manifest)
    assert per_image(store).empty and summary(store).frame.empty
    assert summary(store).compared == []


def test_a_suite_may_say_where_to_compare_in_the_judges_unit(tmp_path):
    store = make(tmp_path, {"far": (10.0, 0.02)})
    edit = {"unit": "of a direction", "per_strength": 1, "compare_at": [8, 0, -4]}
    store.write_json("manifest.json", store.manifest | {"edits": {"age": edit}})
    frame = summary(store).frame
    assert frame["change"].tolist() == [-4, 8] and set(frame["unit"]) == {"years"}
    np.testing.assert_allclose(frame["id_kept@native"], [1 - 0.02 * 1.025 * 4, 1 - 0.02 * 1.025 * 8], rtol=1e-9)


def test_a_direction_of_the_other_sign_is_turned(tmp_path):
    """Strengths above 0 make younger for all methods: the judge's sign is another than the direction's."""
    turned = summary(make(tmp_path / "turned", {"far": (-10.0, 0.02), "near": (-6.0, 0.02)})).frame
    plain = summary(make(tmp_path / "plain", {"far": (10.0, 0.02), "near": (6.0, 0.02)})).frame
    pd.testing.assert_frame_equal(turned.drop(columns="strength"), plain.drop(columns="strength"))
    np.testing.assert_allclose(turned["strength"], -plain["strength"])
