"""A run: what it writes, that it repeats, what it adds, what fails alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from invbench.api import Edit, InvbenchError
from invbench.plugins.registry import discover, load
from invbench.run import runner
from invbench.store import Part, Store
from invbench.util.images import read_png
from tests.fixtures import TOYS, timeless

COUNT, EDITS = 12, 2


def run(settings) -> Store:
    assert runner.run(settings, progress=False) == 0
    return Store(settings.out)


def test_everything_is_written(make_settings):
    store = run(make_settings())
    rows = store.rows()
    assert len(rows) == COUNT * (1 + EDITS)
    assert (rows.status == "ok").all() and rows.reason.isna().all()
    assert set(rows.batch) == {4} and rows.key.is_unique
    inversions = rows[rows.edit.isna()]
    assert (inversions["seconds.invert"] >= inversions["seconds.encode"] + inversions["seconds.refine"]).all()
    assert rows[rows.edit.notna()]["seconds.edit"].notna().all()
    assert (rows["memory.rss_peak"] > 1e6).all()
    assert store.manifest["finished"] and store.manifest["seconds"]["wall"] > 0
    assert store.manifest["metrics"]["toy_mse@native"]["better"] == "lower"
    assert [image["name"] for image in store.plan["cells"]["toy.paper.toys"]["images"]] == list(inversions.image)


def test_scores_can_be_recomputed_from_the_files(make_settings):
    store = run(make_settings())
    rows = store.rows().set_index(["image", "edit", "strength"], drop=False)
    dataset = load(discover([TOYS]).datasets["toys"])(count=COUNT)
    for index, name in enumerate(dataset.names):
        picture = read_png(store.picture("toy.paper.toys", name)).astype(np.float64)
        assert np.array_equal(read_png(store.input("toys", name)), dataset.read(index).picture)
        mse = np.mean((picture - dataset.read(index).picture) ** 2) / 127.5**2
        found = rows[(rows["image"] == name) & rows["edit"].isna()]["toy_mse@native"].item()
        assert found == pytest.approx(mse, rel=1e-5)
        edit = Edit("bright", 1.0)
        edited = read_png(store.picture("toy.paper.toys", name, edit)).astype(np.float64)
        truth = np.mean((edited - dataset.truth(index, edit)) ** 2) / 127.5**2
        assert rows.loc[(name, "bright", 1.0), "toy_truth@native"] == pytest.approx(truth, rel=1e-5)


def test_the_same_run_twice_gives_identical_rows(make_settings, tmp_path):
    first = run(make_settings(out=tmp_path / "one")).rows()
    second = run(make_settings(out=tmp_path / "two")).rows()
    pd.testing.assert_frame_equal(timeless(first), timeless(second), check_exact=True)


def test_a_finished_run_computes_nothing_again(make_settings, monkeypatch):
    before = run(make_settings()).rows()
    monkeypatch.setattr("invbench.run.shard.run", lambda *_: pytest.fail("a shard was computed again"))
    pd.testing.assert_frame_equal(run(make_settings()).rows(), before, check_exact=True)


def test_a_run_is_extended_by_images_edits_and_methods(make_settings):
    small = run(make_settings(images=4, edits=["none"])).rows()
    assert len(small) == 4
    whole = run(make_settings(methods=["toy", "toy:fine"])).rows()
    assert len(whole) == 2 * COUNT * (1 + EDITS) and whole.key.is_unique
    kept = whole[whole.key.isin(small.key)]
    assert list(kept["seconds.invert"]) == list(small["seconds.invert"])  # the very rows of the first run
    again = run(make_settings(images=2)).rows()
    assert len(again) == len(whole)  # a smaller request takes nothing away


def test_a_metric_that_is_added_later_is_scored_from_the_pictures(make_settings, monkeypatch, tmp_path):
    run(make_settings(metrics=["toy_mse"]))
    monkeypatch.setattr("invbench.run.shard.run", lambda *_: pytest.fail("the method ran again"))
    later = run(make_settings())
    monkeypatch.undo()
    whole = run(make_settings(out=tmp_path / "whole"))
    pd.testing.assert_frame_equal(timeless(later.rows()), timeless(whole.rows()), check_exact=True, check_like=True)
    pd.testing.assert_frame_equal(later.query("SELECT * FROM sets"), whole.query("SELECT * FROM sets"), check_exact=True)


def test_scores_of_other_recipes_are_computed_again_and_the_method_is_not(make_settings, monkeypatch, tmp_path):
    store = run(make_settings())
    whole = run(make_settings(out=tmp_path / "whole"))
    cell = "toy.paper.toys"
    for part in store.parts(cell):
        rows = [{name: value + 1 if "@" in name else value for name, value in row.items()} for row in part.rows]
        store.write_part(cell, Part(part.name, rows, dict.fromkeys(part.metrics, "another")))
        features, images, recipes = store.features(cell, part.name)
        moved = {name: value + 1 for name, value in features.items()}
        store.write_features(cell, part.name, features=moved, images=images, recipes=dict.fromkeys(recipes, "another"))
    assert (store.rows()["toy_mse@native"].dropna() >= 1).all()
    monkeypatch.setattr("invbench.run.shard.run", lambda *_: pytest.fail("the method ran again"))
    again = run(make_settings())
    pd.testing.assert_frame_equal(timeless(again.rows()), timeless(whole.rows()), check_exact=True, check_like=True)
    pd.testing.assert_frame_equal(again.query("SELECT * FROM sets"), whole.query("SELECT * FROM sets"), check_exact=True)
    assert set(again.rows().columns) == set(whole.rows().columns)
    for part in again.parts(cell):
        assert set(part.metrics) == {"toy_mse@native", "toy_mask@native", "toy_truth@native", "toy_set@native"}
        assert set(again.features(cell, part.name)[0]) == {"toy_means@native"}


def test_other_options_replace_rows_and_set_the_old_ones_aside(make_settings):
    old = run(make_settings()).rows()
    store = run(make_settings(overrides=["toy.level=32.0"]))
    new = store.rows()
    assert len(new) == len(old) and not set(new.key) & set(old.key)
    aside = sorted((store.path / "superseded" / "toy.paper.toys").glob("*.parquet"))
    assert sum(len(pd.read_parquet(path)) for path in aside) == len(old)


def test_fresh_begins_anew(make_settings):
    run(make_settings())
    store = run(make_settings(fresh=True, images=3, edits=["none"]))
    assert len(store.rows()) == 3 and not (store.path / "superseded").exists()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("raise", "RuntimeError: no convergence"),
        ("nan", "output is not finite"),
        ("edit", "RuntimeError: no direction"),
    ],
)
def test_one_bad_image_costs_only_itself(make_settings, trouble, reason):
    settings = make_settings(overrides=[f"toy.trouble={trouble}"])
    assert runner.run(settings, progress=False) == 1
    rows = Store(settings.out).rows()
    failed = rows[rows.status == "failed"]
    assert len(rows) == COUNT * (1 + EDITS)
    assert set(failed.image) == {"toy-02"} and failed.reason.str.contains(reason, regex=False).all()
    assert len(failed) == (EDITS if trouble == "edit" else 1 + EDITS)
    assert failed[["toy_mse@native", "toy_truth@native"]].isna().all(axis=None)
    good = rows[(rows.status == "ok") & rows.edit.isna()]
    assert good["toy_mse@native"].notna().all()


def test_a_wrong_shape_is_told_with_both_shapes(make_settings):
    settings = make_settings(overrides=["toy.trouble=shape"], images=2)
    assert runner.run(settings, progress=False) == 1
    rows = Store(settings.out).rows()
    assert (rows.status == "failed").all()
    assert rows.reason.str.contains("output has shape [1, 3, 16, 15], expected [1, 3, 16, 16]", regex=False).all()


def test_batches_give_the_pictures_of_single_images(make_settings, tmp_path):
    alone = run(make_settings(batch=1, out=tmp_path / "alone")).rows()
    together = run(make_settings(batch=5, out=tmp_path / "together")).rows()
    assert set(together.batch) == {5, 2}
    pd.testing.assert_series_equal(alone["toy_mse@native"], together["toy_mse@native"])


def test_auto_batch_is_bounded_by_the_suite(make_settings):
    assert set(run(make_settings(batch=None)).rows().batch) == {12}


def test_metrics_without_weights_are_named_and_the_rest_goes_on(make_settings, capsys):
    settings = make_settings(metrics=["toy_mse", "toy_weights"]).model_copy(update={"metrics_required": False})
    assert runner.run(settings) == 0
    store = Store(settings.out)
    assert "without toy_weights@native: their weights are missing" in capsys.readouterr().err
    assert "judge" in store.manifest["unavailable"]["toy_weights@native"]
    assert "toy_weights@native" not in store.rows().columns


def test_a_metric_asked_for_by_name_must_have_its_weights(make_settings):
    settings = make_settings(metrics=["toy_weights"])
    with pytest.raises(InvbenchError, match="metric toy_weights@native: weights missing"):
        runner.run(settings, progress=False)
    assert not settings.out.exists()


def test_a_metric_that_raises_is_counted_and_leaves_nan(make_settings, monkeypatch):
    monkeypatch.setattr("invbench.scoring.scorer._covers", lambda *_: True)  # the truth is then missing where it is asked for
    cls = load(discover([TOYS]).metrics["toy_truth@native"])
    monkeypatch.setattr(cls, "__call__", lambda self, given: 1 / 0)
    settings = make_settings(images=3)
    assert runner.run(settings, progress=False) == 1
    store = Store(settings.out)
    noted = store.manifest["metric_failures"]["toy_truth@native"]
    assert noted == {"count": 6, "reason": "ZeroDivisionError: division by zero"}
    assert store.rows()["toy_truth@native"].isna().all() and (store.rows().status == "ok").all()


def test_features_that_fail_cost_their_metric_only_and_are_tried_again(make_settings, monkeypatch, tmp_path):
    cls, work = load(discover([TOYS]).metrics["toy_set@native"]), []

    def broken(self, images):
        work.append(len(images))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(cls, "features", broken)
    settings = make_settings()
    assert runner.run(settings, progress=False) == 1
    store = Store(settings.out)
    assert (store.rows().status == "ok").all() and store.rows()["toy_mse@native"].notna().any()
    assert store.manifest["metric_failures"]["toy_set@native"] == {"count": COUNT, "reason": "RuntimeError: out of memory"}
    assert store.query("SELECT reason FROM sets").reason.item() == "needs at least 4 images, found 0"
    assert runner.run(make_settings(), progress=False) == 1 and work == [4] * 6  # tried again, in vain
    monkeypatch.undo()
    monkeypatch.setattr("invbench.run.shard.run", lambda *_: pytest.fail("the method ran again"))
    again = run(make_settings())
    monkeypatch.undo()
    whole = run(make_settings(out=tmp_path / "whole"))
    pd.testing.assert_frame_equal(again.query("SELECT * FROM sets"), whole.query("SELECT * FROM sets"), check_exact=True)


def test_set_metrics_say_how_many_and_why_not(make_settings):
    store = run(make_settings(images=3))
    few = store.query("SELECT * FROM sets").iloc[0]
    assert np.isnan(few.value) and few.n == 3 and few.reason == "needs at least 4 images, found 3"
    many = run(make_settings()).query("SELECT * FROM sets").iloc[0]
    assert many.n == COUNT and many.value > 0 and many.reason is None


def test_time_is_accounted_for(make_settings):
    store = run(make_settings(overrides=["toy.sleep=0.05"]))
    seconds = store.manifest["seconds"]
    assert seconds["methods"] >= 3 * 0.05
    parts = sum(value for name, value in seconds.items() if name not in {"wall", "overhead"})
    assert parts <= seconds["wall"]
    assert seconds["overhead"] == pytest.approx(seconds["wall"] - seconds["methods"] - seconds["metrics"])


def test_plan_keys_are_those_of_the_rows(make_settings):
    store = run(make_settings())
    images = json.loads((store.path / "plan.json").read_text())["cells"]["toy.paper.toys"]["images"]
    rows = store.rows()
    assert {image["key"] for image in images} == set(rows[rows.edit.isna()].key)
