"""The latency pass: right to 2 %, apart from the throughput, done once for a method and a machine."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from invbench.api import Edit, Inversion
from invbench.run import latency, runner
from invbench.store import Store
from invbench.util.clock import Ledger

SLEEP = {"encode": 0.03, "refine": 0.07}


class Sleeper:
    """Sleeps in two stages, and notes how long it truly slept: a busy machine wakes it late."""

    def __init__(self) -> None:
        self.slept: list[dict[str, float]] = []

    def invert(self, images, clock):
        self.slept.append({})
        for stage, seconds in SLEEP.items():
            with clock.stage(stage):
                began = time.perf_counter()
                time.sleep(seconds)
                self.slept[-1][stage] = time.perf_counter() - began
        return Inversion(images.new_zeros(1, 1, 1), images)

    def edit(self, inversion, edit, clock):
        with clock.stage("edit"):
            time.sleep(0.02)
        return inversion.images


def test_the_clock_is_right_to_two_per_cent() -> None:
    method, rows = Sleeper(), []
    for _ in range(7):
        rows += latency.time_one(
            method, torch.zeros(1, 3, 4, 4), Edit("age", 1.0), device=torch.device("cpu"), ledger=Ledger()
        )
    inversions, edits = rows[0::2], rows[1::2]
    assert [row["edit"] for row in rows[:2]] == [None, "age"] and all(row["status"] == "ok" for row in rows)
    for stage, seconds in SLEEP.items():
        found = np.median([row[f"latency.{stage}"] for row in inversions])
        assert found == pytest.approx(np.median([one[stage] for one in method.slept]), rel=0.02)
        assert found >= seconds
    total = np.median([sum(one.values()) for one in method.slept])
    assert np.median([row["latency.total"] for row in inversions]) == pytest.approx(total, rel=0.02)
    assert all(row["latency.edit"] >= 0.02 and "latency.encode" not in row for row in edits)


def timed(settings) -> Store:
    assert runner.run(settings, progress=False) == 0
    return Store(settings.out)


def test_images_come_alone_and_apart_from_the_rows(make_settings) -> None:
    store = timed(make_settings(images=3, latency=5, methods=["toy", "toy:fine"]))
    times, rows = store.latency(), store.rows()
    assert len(times) == 2 * 5 * 2 and set(times["preset"]) == {"paper", "fine"}
    paper = times[(times["preset"] == "paper") & times["edit"].isna()]
    assert list(paper["image"]) == ["toy-00", "toy-01", "toy-02", "toy-00", "toy-01"]  # from the first again
    assert (paper["latency.total"] >= paper["latency.encode"] + paper["latency.refine"]).all()
    assert set(times["warmup"]) == {latency.WARMUP} and times["machine"].nunique() == 1
    assert set(rows["batch"]) == {3} and not [name for name in rows if name.startswith("latency")]
    assert not [name for name in times if name.startswith("seconds")]
    recipes = {cell["recipe"] for cell in store.plan["cells"].values()}
    assert set(times["recipe"]) == recipes


def test_what_was_timed_is_not_timed_again(make_settings, monkeypatch) -> None:
    before = timed(make_settings(images=2, latency=2)).latency()
    asked = []
    once = latency.time_one
    monkeypatch.setattr("invbench.run.latency.time_one", lambda *a, **k: asked.append(a) or once(*a, **k))
    after = timed(make_settings(images=2, latency=2, methods=["toy", "toy:fine"])).latency()
    assert len(asked) == latency.WARMUP + 2  # the method that is new
    assert list(after[after["preset"] == "paper"]["latency.total"]) == list(before["latency.total"])
    timed(make_settings(images=2, methods=["toy"]))
    monkeypatch.setattr("invbench.run.latency.MACHINE", ("system",))  # another machine: the same folder, carried elsewhere
    assert len(timed(make_settings(images=2, latency=2)).latency()) == len(after) + len(before)


def test_a_method_that_fails_alone_is_a_failed_row_and_is_tried_again(make_settings) -> None:
    settings = make_settings(images=3, latency=3, overrides=["toy.trouble=raise"])
    assert runner.run(settings, progress=False) == 1
    times = Store(settings.out).latency()
    failed = times[times["status"] == "failed"]
    assert list(failed["image"]) == ["toy-02"] and failed["reason"].item() == "RuntimeError: no convergence"
    assert failed["latency.total"].isna().all() and len(times) == 2 * 2 + 1
    ran = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("invbench.run.latency.time_one", lambda *a, **k: ran.append(1) or [])
        runner.run(settings, progress=False)
    assert ran


def test_no_latency_without_being_asked(make_settings) -> None:
    store = timed(make_settings(images=2))
    assert store.latency().empty and not (store.path / "latency").exists()


def test_fresh_removes_times_and_truths(make_settings) -> None:
    store = timed(make_settings(images=2, latency=1))
    assert (store.path / "truths").is_dir()
    timed(make_settings(images=2, edits=["none"], fresh=True))
    assert store.latency().empty and not (store.path / "truths").exists()
