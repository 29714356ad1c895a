"""Quality against steps and seconds: what is recorded, that it changes nothing, and that it is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invbench.api import InvbenchError
from invbench.plugins.registry import discover
from invbench.reports import site
from invbench.run import runner
from invbench.run.check import check
from invbench.run.merging.merge import merge
from invbench.store import Store
from tests.fixtures import TOYS, timeless, toy_settings
from tests.run.walking import LONG, SECOND, SHORT, psnr

WALKING = Path(__file__).with_name("walking.py")
ASKED = {"methods": ["walker", "toy"], "metrics": ["toy_mse", "psnr@native"], "edits": ["bright"], "images": 6}


@pytest.fixture(scope="module")
def registry():
    return discover([TOYS, WALKING])


def ran(registry, out: Path, **changes) -> Store:
    settings = toy_settings(registry, **(ASKED | {"out": out} | changes))
    assert runner.run(settings, progress=False) == 0
    return Store(settings.out)


@pytest.fixture(scope="module")
def watched(registry, tmp_path_factory) -> Store:
    return ran(registry, tmp_path_factory.mktemp("curves") / "run", curves=True)


def test_points_are_what_was_shown_and_the_last_one_is_the_result(watched, registry):
    curves, rows = watched.curves(), watched.rows()
    assert set(curves["method"]) == {"walker"}  # toy shows nothing
    assert set(curves.columns[-1:]) == {"psnr@native"} and "toy_mse" not in curves
    results = rows[(rows["method"] == "walker") & rows["edit"].isna()].set_index("image")
    for name, own in curves.groupby("image"):
        picture = watched.read_picture(watched.input("toys", name))
        dark = picture[0, 0, 0] < 128
        first = [step for step in range(LONG) if not dark or step < SHORT]
        steps = [*first, *range(LONG, LONG + SECOND + 1)]
        found = own["step"].tolist()
        assert found[:3] == [0, 1, 2] and set(found) <= set(steps) and found[-1] == LONG + SECOND
        expected = [psnr(picture, step) for step in found]
        np.testing.assert_allclose(own["psnr@native"], expected, rtol=1e-3)  # a level may be rounded otherwise
        assert own["psnr@native"].iloc[-1] == results.loc[name, "psnr@native"]
        assert own["seconds"].is_monotonic_increasing and own["seconds"].iloc[0] > 0
        assert own["seconds"].iloc[-1] == pytest.approx(results.loc[name, "seconds.invert"])
        assert set(own["key"]) == {results.loc[name, "key"]} and set(own["batch"]) <= {2, 4}
    assert len(results) == curves["image"].nunique() == 6


def test_shares_are_merged_with_their_curves(watched, registry, tmp_path):
    for number in (1, 2):
        ran(registry, tmp_path / f"{number}", curves=True, share=(number, 2))
    settings = toy_settings(registry, **(ASKED | {"out": tmp_path / "x"}))
    parts, whole = [tmp_path / "1", tmp_path / "2"], tmp_path / "all"
    assert merge(parts, whole, suite=settings.suite, registry=registry, device="cpu", say=print) == 0
    found, expected = (store.curves().drop(columns="seconds") for store in (Store(whole), watched))
    assert found.equals(expected)
    assert check(whole).problems == [] == check(watched.path).problems


def test_who_watches_changes_nothing_and_without_asking_nothing_is_written(watched, registry, tmp_path):
    plain = ran(registry, tmp_path / "plain")
    assert timeless(plain.rows()).equals(timeless(watched.rows()))
    assert plain.curves().empty and not (plain.path / "curves").exists()


def test_finished_images_are_not_done_again_and_curves_go_with_their_rows(registry, tmp_path):
    store = ran(registry, tmp_path / "run", images=4)
    ran(registry, tmp_path / "run", images=6, curves=True)
    assert set(store.curves()["image"]) == {"toy-04", "toy-05"}
    changed = ran(registry, tmp_path / "run", images=6, curves=True, overrides=["walker.steps=5"])
    assert set(changed.curves().groupby("image")["step"].max()) == {5 + SECOND}
    ran(registry, tmp_path / "run", images=6, overrides=["walker.steps=4"])
    assert changed.curves().empty


def test_long_ways_are_thinned_out(registry, tmp_path):
    asked = {"methods": ["walker"], "curves": True, "overrides": ["walker.steps=400"]}
    curves = ran(registry, tmp_path / "run", **asked).curves()
    longest = max((own["step"].to_numpy() for _, own in curves.groupby("image")), key=len)
    assert 25 <= len(longest) <= 45 and (np.diff(longest) > 0).all()


def test_a_run_without_a_metric_for_them_is_refused_and_wrong_pictures_fail(registry, tmp_path):
    with pytest.raises(InvbenchError, match="--curves: expected a metric psnr or lpips among the run's, found toy_mse"):
        runner.run(toy_settings(registry, **(ASKED | {"out": tmp_path / "a", "metrics": ["toy_mse"], "curves": True})))
    wrong = toy_settings(registry, **(ASKED | {"out": tmp_path / "b", "curves": True, "overrides": ["walker.wide=true"]}))
    assert runner.run(wrong, progress=False) == 1
    rows = Store(wrong.out).rows()
    failed = rows[(rows["method"] == "walker") & rows["edit"].isna()]
    assert failed["reason"].str.contains(r"curves: step 0: expected pictures \(1, 3, 16, 16\), found \(1, 3, 16, 15\)").all()


def test_the_site_draws_them(watched, tmp_path):
    page = site.write([watched], tmp_path / "site").with_name("tradeoffs.html").read_text()
    assert "Quality against iterations" in page
    assert page.count("against steps (log)") == 1 and page.count("against seconds an image (log)") == 1
    assert ">Walker</text>" in page


def test_the_site_of_a_run_without_curves_says_nothing_of_them(registry, tmp_path):
    store = ran(registry, tmp_path / "plain", images=2)
    assert "Quality against iterations" not in site.write([store], tmp_path / "site").with_name("tradeoffs.html").read_text()
