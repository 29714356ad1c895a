"""The grammar of columns: each name is of one kind."""

from __future__ import annotations

import pytest

from invbench import schema
from invbench.api import Edit


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("mse@psp256", "metric"),
        ("mse", "metric"),
        ("seconds.foo@v1.2", "metric"),
        ("seconds.invert", "seconds"),
        ("latency.total", "latency"),
        ("memory.rss_peak", "memory"),
        ("source.jpeg", "source"),
        ("key", "field"),
        ("picture", "field"),
        ("strength", "field"),
    ],
)
def test_a_column_is_of_one_kind(column, kind):
    assert schema.is_metric(column) == (kind == "metric")
    assert schema.is_seconds(column) == (kind == "seconds") and schema.is_latency(column) == (kind == "latency")
    assert schema.is_measure(column) == (kind in {"seconds", "latency", "memory"})


def test_round_trips_have_names_that_no_edit_has():
    edit = Edit("age", 3.0)
    back = schema.round_trip(edit)
    assert schema.is_round_trip(back.name) and not schema.is_round_trip("age") and not schema.is_round_trip(None)
    assert schema.one_way(back) == edit and back.strength == 3.0
