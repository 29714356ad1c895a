"""Laws of overlays and selections, on tables and texts that nobody would think of."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invbench.api import InvbenchError
from invbench.plugins import config, files
from invbench.plugins.registry import discover
from invbench.plugins.selection import choose_datasets, choose_metrics
from invbench.plugins.selection import settings as select

few = settings(max_examples=40, deadline=None)
many = settings(max_examples=200, deadline=None)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9) | st.lists(st.integers())
tables = st.recursive(
    st.dictionaries(st.text(max_size=3), leaves, max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=3), leaves | inner, max_size=4),
    max_leaves=12,
)
REGISTRY, SUITE = discover(), config.load()["procfaces"]
KEYS = sorted(config.Suite.model_fields)


@many
@given(tables, tables)
def test_an_overlay_of_nothing_changes_nothing_and_twice_is_once(base, extra):
    kept = copy.deepcopy((base, extra))
    assert files.overlay(base, {}) == base and files.overlay({}, extra) == extra
    once = files.overlay(base, extra)
    assert files.overlay(once, extra) == once and (base, extra) == kept
    assert set(once) == {*base, *extra}


@few
@given(st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12).filter(lambda key: key not in KEYS))
def test_an_unknown_key_is_refused_by_name(key):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.toml"
        path.write_text(f"[suites.procfaces]\n{key} = 1\n", encoding="utf-8")
        with pytest.raises(InvbenchError, match=f"unknown key '{key}'"):
            config.load(path)


def test_what_is_listed_selects_exactly_that():
    metrics = [id for id, spec in REGISTRY.metrics.items() if spec.kind != "round_trip"]
    assert [spec.id for spec in choose_metrics(SUITE, metrics, REGISTRY, round_trips=False)] == metrics
    assert [one.id for one in choose_datasets(SUITE, SUITE.datasets, REGISTRY, images=None)] == list(SUITE.datasets)
    for name in SUITE.edits:
        chosen = select(SUITE, REGISTRY, methods=["e4e"], edits=[name], device="cpu", seed=0)
        assert [edit.strength for edit in chosen.edits] == list(SUITE.edits[name].strengths)


texts = st.text(max_size=40) | st.builds("{}{}{}".format, st.sampled_from(["e4e", "age", "mse", "procfaces-test", "./a", "~"]),
                                         st.sampled_from(["", ":", "@", "+", ",", "/", "="]), st.text(max_size=8))  # fmt: skip


@many
@given(st.sampled_from(["methods", "datasets", "metrics", "edits", "consistency", "overrides", "preset"]), texts)
def test_no_text_raises_anything_but_an_error_of_ours(kind, text):
    asked = {"methods": ["e4e"], kind: text if kind == "preset" else [text]}
    try:
        select(SUITE, REGISTRY, device="cpu", seed=0, **asked)
    except InvbenchError as error:
        assert str(error)
