"""Times of different machines: never in one mean, never on one scale, never ranked, and the tables say so."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from invbench.reports import extract, figures, measured, page_tables, query, site_plots, tables
from invbench.reports.run import Run
from invbench.reports.site_data import Board
from invbench.run.runner import run as start
from invbench.store import Store
from tests.reports.test_query import only, row, toy

FAST, SLOW = "fast card", "slow card"


def timed(method: str, index: int, machine: str | None, seconds: float) -> dict:
    named = {} if machine is None else {"machine": machine}
    took = {"seconds.invert": seconds, "seconds.encode": seconds, "memory.rss_peak": 1e6 * seconds}
    return row(method, index, psnr=20.0 + index, **named, **took)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Method a: three rows made on one machine and one on another; b: on the other; c: before rows named their machine."""
    a = [timed("a", 0, FAST, 1.0), timed("a", 1, FAST, 2.0), timed("a", 2, FAST, 3.0), timed("a", 3, SLOW, 100.0)]
    b = [timed("b", index, SLOW, 50.0) for index in range(4)]
    c = [timed("c", index, None, 7.0) for index in range(4)]
    return toy(tmp_path, {"a": a, "b": b, "c": c})


def test_a_mean_is_of_one_machine(store: Store) -> None:
    frame = query.leaderboard(store)
    one = only(frame, method="a")
    assert (one["seconds.invert"], one["memory.rss_peak"], one["machine"]) == (2.0, 3e6, FAST)
    assert one["psnr"] == 21.5  # scores are of all images
    assert only(frame, method="b")["seconds.invert"] == 50.0


def test_tables_say_that_times_are_of_different_machines(store: Store) -> None:
    text = tables.terminal(store)
    apart = "seconds and memory are of different machines and cannot be compared between them"
    assert f"{apart}: a machine that the rows do not name: c.paper; {FAST}: a.paper; {SLOW}: b.paper" in text
    assert f"seconds and memory of a.paper: of 3 of 4 rows, made on {FAST}" in text
    assert apart in tables.markdown(store)


def test_tables_of_one_machine_say_nothing(tmp_path: Path) -> None:
    store = toy(tmp_path, {"a": [timed("a", 0, FAST, 1.0)], "b": [timed("b", 0, FAST, 2.0)]})
    assert "machine" not in tables.terminal(store)


def test_bars_and_plots_are_on_the_scale_of_one_machine(store: Store) -> None:
    run = Run.of(store)
    (found,) = figures.datasets(run, query.leaderboard(run), query.edits(run))
    (main,) = extract.of_datasets(run, [found])
    rows = page_tables.leaderboard(run, found, main)["rows"]
    assert {row["bars"][0]["width"] for row in rows} == {"100.000"}  # each is the slowest of its machine
    assert str(site_plots.quality(Board("d", run, found, main, ".."))) == ""  # one point is no plot
    assert "times as" not in main.verdict and "cannot be compared between them" in main.notes[0]


def test_a_published_table_of_seconds_ranks_one_machine_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "_metric", lambda run, number: "seconds.invert")
    monkeypatch.setattr(measured, "_dataset", lambda run, number, wanted: "d")
    monkeypatch.setattr(measured, "_methods", lambda run, group, dataset, preset: {name: (name, "paper") for name in methods})
    asked = {"edit": "", "direction": "lower"}
    for methods, places in (("ab", {}), ("b", {})):
        found = measured.find(Run.of(store), [asked], dataset=None, preset=None, level=0.95, resamples=9)
        assert found is not None and found.places == places
        assert any("have no places" in note for note in found.notes) == (len(methods) > 1)


def test_rows_of_a_run_name_the_machine(make_settings) -> None:
    settings = make_settings(images=3, consistency=["bright:1"])
    assert start(settings, progress=False) == 0
    rows = Store(settings.out).rows()
    manifest = Store(settings.out).manifest
    assert rows["machine"].nunique() == 1 and rows["machine"].notna().all()
    assert str(manifest["machine"]["processor"]) in rows["machine"].iloc[0]
    assert not math.isnan(rows["seconds.invert"].iloc[0])
