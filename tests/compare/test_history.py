"""Runs over time: values over the images that all share, regressions where the gate finds them, machines apart."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from invbench.api import InvbenchError
from invbench.compare import baseline, history
from invbench.compare.baseline import Measured
from invbench.reports import site_history

from .gate_runs import make


def put(path: Path, run: Measured, day: int, **about: object) -> Path:
    path.mkdir(exist_ok=True)
    baseline.write(
        path / f"{day}.parquet", replace(run, about={**run.about, "finished": f"2026-01-{day:02d}T03:00:00+00:00", **about})
    )
    return path


def worse(run: Measured, share: float) -> Measured:
    """The run with another MSE of PTI's reconstructions."""
    rows = run.rows.copy()
    rows.loc[rows["method"] == "pti", "mse"] *= 1 + share
    return replace(run, rows=rows)


@pytest.fixture(scope="module")
def runs() -> list[Measured]:
    return [make(seed, count=40) for seed in (1, 2, 3)]


def one(found: history.History, **wanted: str) -> history.Series:
    (series,) = [s for s in found.series if all(getattr(s, name) == value for name, value in wanted.items())]
    return series


def test_values_are_means_over_the_images_that_all_runs_share(runs: list[Measured], tmp_path: Path) -> None:
    rows = runs[0].rows
    few = replace(runs[0], rows=rows[rows["image"] < "0025"].reset_index(drop=True))
    other = runs[1].rows.copy()
    other.loc[other["image"] == "0003", "sha256"] = "another picture"
    for day, run in ((1, few), (2, replace(runs[1], rows=other)), (3, runs[2])):
        put(tmp_path, run, day)
    (found,) = history.histories([tmp_path])
    series = one(found, method="dhr", dataset="faces", edit="", measure="mse")
    assert series.n == 24 and [moment.when[:10] for moment in found.moments] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    for value, run in zip(series.values, runs):
        mine = run.rows[(run.rows["method"] == "dhr") & (run.rows["dataset"] == "faces") & (run.rows["edit"] == "")]
        kept = mine[(mine["image"] < "0025") & (mine["image"] != "0003")]
        assert value == pytest.approx(float(kept["mse"].astype(np.float64).mean()))


def test_a_regression_is_marked_where_the_gate_finds_it_and_its_repair_as_better(runs: list[Measured], tmp_path: Path) -> None:
    for day, run in ((1, runs[0]), (2, worse(runs[1], 0.2)), (3, runs[2])):
        put(tmp_path, run, day)
    (found,) = history.histories([tmp_path])
    for dataset in ("faces", "faces-ood"):
        assert one(found, method="pti", dataset=dataset, measure="mse").verdicts == ("", "regression", "better")
    assert one(found, method="dhr", dataset="faces", edit="", measure="mse").verdicts == ("", "", "")
    assert [outcome.regressions > 0 for outcome in found.outcomes] == [True, False]
    shown = site_history.content(found)
    newest, oldest = shown["steps"]
    assert newest["regressions"] == [] and re.search(r"mse on faces.*: worse by (18|19|20)\.", " ".join(oldest["regressions"]))
    plots = "".join(str(plot) for _, drawn, _, _ in shown["groups"] for plot in drawn)
    assert plots.count("ring-regression") == 2 and plots.count("ring-better") == 2


def test_times_of_two_machines_are_two_lines_and_the_same_moment_counts_once(runs: list[Measured], tmp_path: Path) -> None:
    machine = {**runs[2].about["machine"], "processor": "Another processor"}
    for day, run, about in ((1, runs[0], {}), (2, runs[1], {}), (3, runs[2], {"machine": machine})):
        put(tmp_path, run, day, **about)
    (found,) = history.histories([tmp_path, tmp_path / "1.parquet"])
    assert len(found.moments) == 3 and found.outcomes[1].refused
    mine = [s for s in found.series if s.measure == "seconds.refine" and s.method == "dhr"]
    assert [np.isfinite(s.values).tolist() for s in mine] == [[True, True, False], [False, False, True]]
    assert [s.machine.partition(",")[0] for s in mine] == ["Some processor", "Another processor"]


def test_one_moment_is_no_history_and_a_folder_may_be_empty_yet(runs: list[Measured], tmp_path: Path) -> None:
    put(tmp_path, runs[0], 1)
    put(tmp_path / "b", runs[1], 2, suite="another")
    assert history.histories([tmp_path, tmp_path / "b"]) == []
    (tmp_path / "empty").mkdir()
    assert history.histories([tmp_path / "empty", tmp_path / "1.parquet"]) == []
    (tmp_path / "3.parquet").write_bytes(b"nothing")
    with pytest.raises(InvbenchError, match="3.parquet: expected a baseline"):
        history.histories([tmp_path])


def test_an_image_that_fails_is_told(runs: list[Measured], tmp_path: Path) -> None:
    rows = runs[1].rows.copy()
    failed = (rows["method"] == "e4e") & (rows["dataset"] == "faces") & (rows["image"] == "0004")
    rows.loc[failed, ["status", "reason"]] = ["failed", "out of memory"]
    put(tmp_path, runs[0], 1)
    put(tmp_path, replace(runs[1], rows=rows), 2)
    (found,) = history.histories([tmp_path])
    (step,) = site_history.content(found)["steps"]
    assert "e4e.paper.faces: 1 of 40 images fail, 0 before (0004: out of memory)" in step["regressions"]


def test_changes_are_percent_of_the_first_value() -> None:
    assert site_history.changes([float("nan"), 2.0, 3.0]) == [pytest.approx(float("nan"), nan_ok=True), 0.0, 50.0]
    assert np.isnan(site_history.changes([0.0, 1.0])).all()
