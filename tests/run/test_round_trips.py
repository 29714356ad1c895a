"""Round trips: exact methods come home, others miss it by what they lose, and nothing else mixes with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from invbench.api import Edit, InvbenchError
from invbench.plugins import selection
from invbench.plugins.config import EditConfig, Suite
from invbench.plugins.registry import discover, load, metrics
from invbench.reports import query
from invbench.run import round_trips, runner
from invbench.store import Store
from invbench.util.images import read_png
from tests.fixtures import TOYS, timeless

HOMING = Path(__file__).with_name("homing.py")
IDS = ["consistency_w@native", "consistency_lec@native", "consistency_mse@native"]
COUNT = 6


@pytest.fixture
def make(tmp_path):
    registry = discover([TOYS, HOMING])
    suite = Suite(
        id="toys",
        title="toys",
        resolution=8,
        datasets=("middle",),
        collections={"all": ("middle",)},
        default="all",
        edits={"bright": EditConfig(unit="levels", per_strength=10, strengths=(-1, 1))},
    )

    def settings(**changes):
        asked = {"methods": ["homing"], "metrics": ["toy_mse"], "consistency": ["bright:3"], "batch": 4}
        asked |= {"out": tmp_path / "run", "edits": ["bright"]} | changes
        return selection.settings(suite, registry, device="cpu", seed=0, **asked)

    return settings


def run(settings, *, code: int = 0) -> Store:
    assert runner.run(settings, progress=False) == code
    return Store(settings.out)


def trips(store: Store) -> pd.DataFrame:
    rows = store.rows()
    return rows[rows.edit.notna() & rows.edit.fillna("").str.startswith("consistency:")]


@pytest.mark.parametrize("strength", [3.0, -3.0])
def test_a_method_that_is_exact_comes_home(make, strength):
    rows = trips(run(make(consistency=[f"bright:{strength}"])))
    assert len(rows) == COUNT and (rows.status == "ok").all()
    assert set(rows.edit) == {"consistency:bright"} and set(rows.strength) == {strength}
    np.testing.assert_allclose(rows[IDS[:2]], 0.0, atol=1e-6)
    assert (rows[IDS[2]] == 0.0).all()


def test_what_every_inversion_loses_is_found(make):
    """Five levels a time: the picture comes back five levels darker, and so do its latents, doubled in the second layer."""
    store = run(make(overrides=["homing.darker=5"]))
    rows, lost = trips(store), 5 / 127.5
    np.testing.assert_allclose(rows["consistency_mse@native"], lost**2, rtol=1e-12)
    np.testing.assert_allclose(rows["consistency_w@native"], np.sqrt(3) * lost * 1.5, rtol=1e-5)
    np.testing.assert_allclose(rows["consistency_lec@native"], np.sqrt(3 * (1 + 4)) * lost, rtol=1e-5)
    cell = "homing.paper.middle"
    for name in rows.image:
        first = read_png(store.picture(cell, name)).astype(int)
        back = read_png(store.picture(cell, name, Edit("consistency:bright", 3.0))).astype(int)
        assert (first - back == 5).all()


def test_latents_that_drift_are_found_where_the_picture_is_not_hurt(make):
    rows = trips(run(make(overrides=["homing.drift=0.1"])))
    np.testing.assert_allclose(rows["consistency_w@native"], np.sqrt(3) * 0.1, rtol=1e-4)
    assert (rows["consistency_mse@native"] == 0.0).all()


def test_a_method_that_does_not_say_how_latents_move_has_the_picture_only(make):
    rows = trips(run(make(methods=["lost"])))
    assert rows[IDS[:2]].isna().all(axis=None) and (rows[IDS[2]] == 0.0).all()


def test_the_suites_directions_move_the_latents_of_methods_without_a_way_of_their_own():
    directions = SimpleNamespace(move=lambda latents, edit: latents + edit.strength)
    assert round_trips.mover(SimpleNamespace(), directions)(1.0, Edit("a", 2.0)) == 3.0
    own = SimpleNamespace(move_latents=lambda latents, edit: latents - edit.strength)
    assert round_trips.mover(own, directions)(1.0, Edit("a", 2.0)) == -1.0
    assert round_trips.mover(SimpleNamespace(), None) is None


def test_nothing_else_mixes_with_it(make, tmp_path):
    plain = run(make(consistency=[], out=tmp_path / "plain"))
    with_trips = run(make())
    rows = with_trips.rows()
    others = rows[~rows.key.isin(trips(with_trips).key)]
    pd.testing.assert_frame_equal(
        timeless(others.drop(columns=[*IDS])).reset_index(drop=True), timeless(plain.rows()), check_exact=True
    )
    assert others[IDS].isna().all(axis=None)
    own = trips(with_trips)
    measured = [name for name in own if "@" in name or "." in name]
    assert {name for name in measured if own[name].notna().any()} == {*IDS, "seconds.consistency"}
    a, b = query.leaderboard(plain), query.leaderboard(with_trips)
    assert list(a.columns) == list(b.columns) and list(a["toy_mse@native"]) == list(b["toy_mse@native"])
    assert list(query.edits(with_trips).edit) == ["bright", "bright"]
    assert with_trips.manifest["metrics"]["consistency_w@native"]["better"] == "lower"
    assert "consistency_w@native" not in plain.manifest["metrics"]


def test_it_is_added_to_a_finished_run_and_not_computed_twice(make, monkeypatch, tmp_path):
    before = run(make(consistency=[])).rows()
    store = run(make())
    after = store.rows()
    assert len(after) == len(before) + COUNT
    kept = after[after.key.isin(before.key)]
    assert list(kept["seconds.invert"].dropna()) == list(before["seconds.invert"].dropna())  # the very rows of the first run
    monkeypatch.setattr("invbench.run.shard.run", lambda *_: pytest.fail("a shard was computed again"))
    pd.testing.assert_frame_equal(run(make()).rows(), after, check_exact=True)
    rescored = run(make(metrics=["toy_mse", "toy_mask", "toy_truth"]))  # metrics that are added later leave it alone
    pd.testing.assert_frame_equal(trips(rescored)[[*IDS, "key"]], trips(store)[[*IDS, "key"]], check_exact=True)
    run(make(consistency=[]))
    assert len(trips(store)) == COUNT  # a smaller request takes nothing away
    assert "consistency_w@native" in store.manifest["metrics"]
    assert store.plan["cells"]["homing.paper.middle"]["consistency"] == [{"name": "consistency:bright", "strength": 3.0}]


@pytest.mark.parametrize(("trouble", "reason"), [("raise", "RuntimeError: cannot come back"), ("nan", "output is not finite")])
def test_a_second_inversion_that_fails_is_a_row_and_is_tried_again(make, trouble, reason):
    store = run(make(overrides=[f"homing.trouble={trouble}"]), code=1)
    rows = store.rows()
    assert len(rows) == COUNT * 4
    failed = rows[rows.status == "failed"]
    assert list(failed.key) == list(trips(store).key)
    assert failed.reason.str.contains(reason, regex=False).all()
    assert (rows[rows.edit.isna()].status == "ok").all()
    assert len(query.failures(store)) == 1


def test_a_metric_of_round_trips_that_changed_has_them_made_again(make, monkeypatch):
    store = run(make())
    first = store.rows()
    spec = metrics()["consistency_mse@native"]
    monkeypatch.setattr(load(spec), "__call__", lambda self, given: np.full(len(given.samples), 7.0))
    monkeypatch.setattr("invbench.scoring.scorer.source_digest", lambda objects: "changed")
    now = run(make()).rows()
    assert set(trips(store)[IDS[2]]) == {7.0} and len(now) == len(first)
    plain = now.edit.fillna("").str.startswith("consistency:")
    kept, made = first[first.edit.isna()], now[~plain & now.edit.isna()]
    assert list(kept["seconds.invert"]) == list(made["seconds.invert"])  # rows of inversions stand


def test_their_metrics_are_named_with_a_second_inversion_only(make):
    named = [spec.id for spec in make(metrics=["toy_mse", "consistency_mse"]).metrics]
    assert named == ["toy_mse@native", IDS[2]]
    with pytest.raises(InvbenchError, match=r"metric consistency_mse@native: needs a second inversion.*--consistency EDIT"):
        make(metrics=["consistency_mse"], consistency=[])


def test_when_the_first_inversion_fails_there_is_no_way_back(make, monkeypatch):
    monkeypatch.setattr("invbench.run.calls.invert", lambda *_: 1 / 0)
    rows = trips(run(make(), code=1))
    assert rows.reason.str.contains("inversion failed: ZeroDivisionError").all() and len(rows) == COUNT
