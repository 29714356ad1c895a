"""The rows that reports read are those of the store, in its order."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from invbench.reports import rows, site_data

from .fake import make_run


def test_rows_are_those_of_the_store_in_its_order(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=3, methods=("psp", "dhr"), strengths=(-1.0, 3.0))
    found, expected = rows.read(store), store.rows()
    assert {*found.columns} == {*expected.columns} - {"key", "recipe", "suite"} and len(found) == len(expected)
    for name in found:
        one, other = found[name].to_numpy(dtype=object), expected[name].to_numpy(dtype=object)
        assert all(
            a == b or (a != a and b != b) or (a is None and b != b) or (a != a and b is None) for a, b in zip(one, other)
        ), name


def test_values_of_the_scripts_have_six_digits() -> None:
    table = np.array(
        [[0.1234567, 123456.7, -1.0, 0.0], [1e-9, 7.654321e12, math.inf, math.nan], [-math.inf, 30.0, 1 / 3, 1e-12]]
    )
    expected = [[site_data._short(value) for value in row] for row in table.tolist()]
    assert site_data._rounded(table) == expected
    values = np.random.default_rng(0).lognormal(0, 8, size=(200, 3)) * np.array([1, -1, 1e-3])
    assert site_data._rounded(values) == [
        [pytest.approx(site_data._short(v), rel=1e-15) for v in row] for row in values.tolist()
    ]
