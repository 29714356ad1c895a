"""The figures of tables and pages, against sums done by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invbench.api import InvbenchError
from invbench.compare.text import NOTHING
from invbench.reports import figures, query, tables, text
from invbench.reports.measures import Measure
from invbench.store import Part, Store

PSNR = {"id": "psnr", "title": "PSNR", "entry": "m:C", "kind": "inversion", "better": "higher", "unit": "dB", "range": ""}
CHANGE = {"id": "age_change", "title": "Age", "entry": "m:C", "kind": "edit", "better": "none", "unit": "years", "range": ""}
FID = {"id": "fid_proc", "title": "FID", "entry": "m:C", "kind": "set", "better": "lower", "unit": "", "range": ""}


def row(method: str, index: int, **columns: object) -> dict:
    head = {"suite": "s", "method": method, "preset": "paper", "dataset": "d", "image": f"i{index}", "index": index, "batch": 4}
    return {"key": f"{method}{index}{columns}", "recipe": "r", "status": "ok", **head, **columns}


def toy(folder: Path, rows: dict[str, list[dict]], *, planned: int = 4, sets: list[dict] | None = None) -> Store:
    store = Store(folder)
    edits = [{"name": "age", "strength": 2.0}]
    images = [{"index": i, "name": f"i{i}", "sha256": None} for i in range(planned)]
    cells = {}
    for method, ones in rows.items():
        head = {"method": method, "preset": "paper", "dataset": "d"}
        cells[f"{method}.paper.d"] = head | {"images": images, "edits": edits, "consistency": []}
        if ones:
            store.write_part(f"{method}.paper.d", Part("000000-a", ones, {}))
    store.write_json("plan.json", {"suite": "s", "cells": cells})
    manifest = {"metrics": {one["id"]: one for one in (PSNR, CHANGE, FID)}, "unavailable": {"lpips": "weights missing"}}
    manifest |= {"edits": {"age": {"unit": "years", "per_strength": 5}}, "finished": "now"}
    store.write_json("manifest.json", manifest)
    if sets is not None:
        store.write_sets(sets)
    return store


def only(frame: pd.DataFrame, **where: object) -> pd.Series:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_means_cover_the_images_that_all_compared_methods_cover(tmp_path: Path) -> None:
    store = toy(
        tmp_path,
        {
            "a": [
                row("a", 0, psnr=20.0, **{"seconds.invert": 1.0, "seconds.encode": 0.5, "memory.rss_peak": 10.0}),
                row("a", 1, psnr=30.0, **{"seconds.invert": 3.0, "seconds.encode": 1.5, "memory.rss_peak": 30.0}),
                row("a", 2, psnr=float("nan"), **{"seconds.invert": 2.0, "seconds.encode": 1.0, "memory.rss_peak": 20.0}),
                row("a", 3, status="failed", reason="output is not finite"),
            ],
            "b": [row("b", 0, psnr=40.0)],
            "c": [],
        },
    )
    frame = query.leaderboard(store)
    a, b, c = (only(frame, method=name) for name in "abc")
    assert (a["n_total"], a["n_ok"], a["n_failed"]) == (4, 3, 1)
    assert (a["psnr.n"], a["psnr.own"], a["psnr"]) == (1, 2, 20.0)  # b covers the first image only
    assert (a["seconds.invert"], a["seconds.encode"], a["memory.rss_peak"]) == (2.0, 1.0, 30.0)
    assert (b["n_ok"], b["n_failed"], b["psnr"], b["psnr.n"]) == (1, 0, 40.0, 1)
    assert (c["n_ok"], c["n_failed"], c["psnr.n"]) == (0, 0, 0) and math.isnan(c["psnr"])
    assert a["psnr.compared"] and b["psnr.compared"] and not c["psnr.compared"]
    assert list(frame["method"]) == ["b", "a", "c"]  # best first, what has no value last


def test_a_method_that_covers_too_few_images_is_not_compared_and_said(tmp_path: Path) -> None:
    rows = {name: [row(name, i, psnr=20.0 + i + step) for i in range(8)] for step, name in enumerate("ab")}
    rows["few"] = [row("few", i, psnr=90.0 + i) for i in range(3)]
    store = toy(tmp_path, rows, planned=8)
    frame = query.leaderboard(store)
    few, best = only(frame, method="few"), only(frame, method="b")
    assert (few["psnr"], few["psnr.n"], few["psnr.own"], few["psnr.compared"], few["psnr.rank"]) == (91.0, 3, 3, False, "")
    assert (best["psnr"], best["psnr.n"], best["psnr.rank"], best["psnr.place"]) == (24.5, 8, "1", 1)
    assert list(frame["method"]) == ["b", "a", "few"]  # what is not compared stands last
    shown = tables.terminal(store)
    assert "means over the 8 images, which all 2 compared methods cover (a.paper, b.paper)" in shown
    assert "(91.00" in shown and "3 img)" in shown
    assert "few.paper covers only 3 of 8 images in psnr: its own mean is shown, it is not compared" in shown
    assert "images covered of images planned" in shown and "3/8" in shown
    assert "(91.00" in tables.markdown(store)


def test_ranks_and_intervals_stand_beside_the_means(tmp_path: Path) -> None:
    hard = np.random.default_rng(0).normal(0, 3, 30)
    noise = np.random.default_rng(1).normal(0, 0.1, (3, 30))
    values = {"a": 20 + hard + noise[0], "b": 20 + hard + noise[1], "c": 25 + hard + noise[2]}
    store = toy(tmp_path, {n: [row(n, i, psnr=v) for i, v in enumerate(ones)] for n, ones in values.items()}, planned=30)
    frame = query.leaderboard(store)
    assert dict(zip(frame["method"], frame["psnr.rank"])) == {"c": "1", "a": "2", "b": "2"}
    assert dict(zip(frame["method"], frame["psnr.place"])) == {"c": 1, "a": 2, "b": 2}
    assert (frame["psnr.low"] < frame["psnr"]).all() and (frame["psnr"] < frame["psnr.high"]).all()
    best = only(frame, method="c")
    interval = f"{best['psnr']:.2f} [{best['psnr.low']:.2f}, {best['psnr.high']:.2f}]"
    assert f"* {interval}" in tables.terminal(store)
    assert f"**{best['psnr']:.2f} \\[" in tables.markdown(store)


def test_an_infinite_psnr_is_said_and_not_hidden(tmp_path: Path) -> None:
    values = {"a": [20.0, 30.0, math.inf], "b": [9.0, 8.0, 7.0]}
    store = toy(tmp_path, {name: [row(name, i, psnr=one) for i, one in enumerate(ones)] for name, ones in values.items()})
    frame = query.leaderboard(store)
    a = only(frame, method="a")
    assert a["psnr"] == math.inf and a["psnr.inf"] == 1 and a["psnr.finite"] == 25.0
    (shown,) = (found for spec, found in figures.boards(query.Run.of(store), frame)["d"].metrics if spec.id == "psnr")
    assert next(one.text for one in shown if one.value == math.inf) == "∞ (1 of 3; others 25.00)"
    assert "∞ (1 of 3; others 25.00)" in tables.terminal(store)


def test_edits_by_strength_with_what_was_asked_for(tmp_path: Path) -> None:
    ones = [row("a", i, psnr=1.0) for i in range(2)]
    ones += [row("a", i, edit="age", strength=2.0, age_change=value) for i, value in enumerate((8.0, 10.0))]
    ones += [row("a", 2, edit="age", strength=2.0, status="failed", reason="inversion failed: x")]
    found = only(query.edits(toy(tmp_path, {"a": ones})), edit="age", strength=2.0)
    assert (found["age_change"], found["age_change.n"], found["n_ok"], found["n_failed"], found["n_total"]) == (9.0, 2, 2, 1, 4)
    assert (found["target"], found["unit"]) == (10.0, "years")


def test_set_metrics_keep_their_n_and_their_reason(tmp_path: Path) -> None:
    head = {"suite": "s", "preset": "paper", "dataset": "d", "metric": "fid_proc"}
    sets = [
        {**head, "method": "a", "value": 7.5, "n": 120, "reason": None},
        {**head, "method": "b", "value": None, "n": 3, "reason": "needs at least 100 images, found 3"},
    ]
    store = toy(tmp_path, {name: [row(name, 0, psnr=1.0)] for name in "ab"}, sets=sets)
    frame = query.leaderboard(store)
    assert (only(frame, method="a")["fid_proc"], only(frame, method="a")["fid_proc.n"]) == (7.5, 120)
    assert math.isnan(only(frame, method="b")["fid_proc"])
    reasons = {"lpips": "weights missing", "fid_proc": "d: needs at least 100 images, found 3"}
    assert query.unavailable(store) == reasons | {"age_change": "covers no image of this run"}


def test_failures_are_grouped_by_reason(tmp_path: Path) -> None:
    ones = [row("a", i, status="failed", reason="output is not finite") for i in (1, 0)]
    found = query.failures(toy(tmp_path, {"a": ones}))
    assert len(found) == 1 and found.iloc[0]["rows"] == 2 and sorted(found.iloc[0]["images"]) == ["i0", "i1"]


def test_places_share_ties_and_leave_out_those_with_fewer_images() -> None:
    frame = pd.DataFrame({"psnr": [30.0, 30.0, 40.0, 20.0, np.nan, 10.0], "psnr.n": [8, 8, 7, 8, 0, 8]})
    assert list(query.places(frame, Measure.of(PSNR))) == [1, 1, 0, 2, 0, 0]
    lower = Measure.of({**PSNR, "better": "lower"})
    assert list(query.places(frame, lower)) == [0, 0, 0, 2, 0, 1]
    assert list(query.places(frame, Measure.of({**PSNR, "better": "none"}))) == [0] * 6
    assert list(query.places(frame.iloc[:1], Measure.of(PSNR))) == [0]  # alone is not the best


def test_a_metric_that_the_manifest_forgot_is_still_shown(tmp_path: Path) -> None:
    store = toy(tmp_path, {"a": [row("a", 0, psnr=1.0, older=5.0)]})
    assert only(query.leaderboard(store), method="a")["older"] == 5.0
    assert query.Run.of(store).specs["older"].better == "none"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvbenchError, match="manifest.json"):
        query.leaderboard(Store(tmp_path))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([34.816, 7.1], ["34.82", "7.10"]),
        ([0.00392, 0.0526], ["0.00392", "0.05260"]),
        ([1234.5, math.nan], ["1234", NOTHING]),
        ([0.0, -math.inf], ["0", "-∞"]),
    ],
)
def test_numbers_of_a_column_share_their_decimals(values: list[float], texts: list[str]) -> None:
    assert [text.number_format(values)(value) for value in values] == texts


def test_markdown_cannot_be_broken_by_names(tmp_path: Path) -> None:
    store = toy(tmp_path, {"a|b<script>": [row("a|b<script>", 0, psnr=1.0)]})
    found = tables.markdown(store)
    assert "<script>" not in found and "a\\|b&lt;script>" in found
    rows = [line for line in found.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
