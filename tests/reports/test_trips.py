"""Round trips in tables and on the page, against means done by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invbench.reports import query, site, tables
from invbench.reports.trips import summary, trimmed_mean
from invbench.store import Part, Store
from tests.reports.fake import manifest

SPECS = {
    "mse@native": {"kind": "inversion", "better": "lower"},
    "id_kept@native": {"kind": "edit", "better": "higher"},
    "smile_change@native": {"kind": "edit", "better": "none", "edits": ["smile"]},
    "consistency_lec@native": {"kind": "round_trip", "better": "lower"},
    "consistency_mse@native": {"kind": "round_trip", "better": "lower"},
}
COUNT = 8


@pytest.fixture
def run(tmp_path: Path) -> Store:
    """Two methods; "away" misses its beginning by 2 + i in image i, "home" by 1 + i, but fails on the way back of image 5."""
    store, cells = Store(tmp_path / "run"), {}
    for method, miss in (("home", 1.0), ("away", 2.0)):
        rows = []
        for i in range(COUNT):
            head = {"recipe": "r", "suite": "s", "method": method, "preset": "paper", "dataset": "d", "image": f"i{i}"}
            head |= {"index": i, "batch": 1, "status": "ok"}
            rows.append({**head, "key": f"{method}{i}", "mse@native": 0.1, "seconds.invert": 1.0})
            edited = {**head, "key": f"{method}{i}e", "edit": "age", "strength": 3.0, "id_kept@native": 0.9}
            rows.append(edited | {"seconds.edit": 0.5})
            back = {**head, "key": f"{method}{i}c", "edit": "consistency:age", "strength": 3.0}
            if (method, i) == ("home", 5):
                rows.append(back | {"status": "failed", "reason": "RuntimeError: lost"})
                continue
            measured = {"consistency_lec@native": miss + i, "consistency_mse@native": 0.01 * (miss + i)}
            rows.append(back | measured | {"seconds.consistency": 2.0})
        store.write_part(f"{method}.paper.d", Part("000000-a", rows, {}))
        images = [{"index": i, "name": f"i{i}", "sha256": None} for i in range(COUNT)]
        cells[f"{method}.paper.d"] = {"method": method, "preset": "paper", "dataset": "d", "images": images} | {
            "edits": [{"name": "age", "strength": 3.0}],
            "consistency": [{"name": "consistency:age", "strength": 3.0}],
        }
    common = {"entry": "m:C", "unit": "", "range": ""}
    metrics = {id: common | one | {"id": id, "title": id} for id, one in SPECS.items()}
    store.write_json("plan.json", {"suite": "s", "cells": cells})
    store.write_json("manifest.json", manifest(()) | {"metrics": metrics, "unavailable": {}})
    return store


def test_means_are_over_the_images_that_came_back_for_all(run):
    frame = summary(run).frame.set_index("method")
    assert list(frame.index) == ["home", "away"] and set(frame["edit"]) == {"age"}
    assert frame.loc["home", ["n_total", "n_ok", "n_failed"]].tolist() == [8, 7, 1]
    common = np.delete(np.arange(COUNT), 5)
    np.testing.assert_allclose(frame["consistency_lec@native"], [np.mean(1 + common), np.mean(2 + common)], rtol=1e-12)
    assert frame["consistency_lec@native.n"].tolist() == [7, 7] and frame["consistency_lec@native.own"].tolist() == [7, 8]
    assert frame["seconds"].tolist() == [2.0, 2.0]
    np.testing.assert_allclose(frame["trimmed"], [np.mean(1 + common), np.mean(2 + np.arange(COUNT))], rtol=1e-12)


def test_a_run_without_trips_has_none(run):
    plan = run.plan
    for cell in plan["cells"].values():
        cell["consistency"] = []
    run.write_json("plan.json", plan)
    found = summary(run)
    assert found.frame.empty and found.compared == []
    assert "round trips" not in tables.terminal(run)


def test_trimming_is_that_of_the_script():
    values = np.arange(1000.0) ** 2
    low, high = (np.percentile(values, at, method=how) for at, how in ((1, "lower"), (99, "higher")))
    assert low == 9.0**2 and high == 990.0**2  # 1 % of 999 steps is 9.99, 99 % is 989.01
    np.testing.assert_allclose(trimmed_mean(values), np.mean(np.arange(9.0, 991.0) ** 2), rtol=1e-12)
    assert trimmed_mean([3.0, np.nan]) == 3.0 and np.isnan(trimmed_mean([np.nan]))


def test_tables_and_page_show_them_apart_from_edits(run):
    text = tables.terminal(run)
    section = next(block for block in text.split("\n\n") if "round trips" in block)
    assert "age+3" in section and "7/8" in section and "consistency_lec@native" in section and "id_kept" not in section
    assert "consistency" not in next(block for block in text.split("\n\n") if "largest strength" in block)
    assert "RuntimeError: lost" in text
    page = site.write([run]).with_name("edits.html").read_text()
    assert "Round trips on d" in page and "LEC, trimmed" in page
    board_rows = query.leaderboard(run)
    assert board_rows["seconds.edit"].tolist() == [0.5, 0.5]


def test_a_metric_of_edits_that_nobody_asked_for_is_not_said_to_cover_nothing(run):
    assert query.unavailable(run) == {}
    plan = run.plan
    for cell in plan["cells"].values():
        cell["edits"].append({"name": "smile", "strength": 1.0})
    run.write_json("plan.json", plan)
    assert query.unavailable(run) == {"smile_change@native": "covers no image of this run"}
