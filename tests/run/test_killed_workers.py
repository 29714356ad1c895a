"""Workers and runs that are killed at random moments: no row is lost, none is made of anything else."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

from invbench.run.check import check
from invbench.run.runner import run
from invbench.store import Store
from tests.fixtures import timeless
from tests.run.test_workers import is_worker, toy_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are started in another way")

SHAPE = {"images": 12, "batch": 2, "overrides": ["toy.sleep=0.05"]}


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [one for one in process.children(recursive=True) if is_worker(one)]
    except psutil.NoSuchProcess:
        return []


def is_dead(process: psutil.Process) -> bool:
    """Whether a process has ended, also if nobody has asked for its exit code yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def expect_whole(out: Path, whole: Store) -> None:
    pd.testing.assert_frame_equal(timeless(Store(out).rows()), timeless(whole.rows()), check_like=True)
    assert Store(out).sets() == whole.sets() and not check(out).problems


def kill_a_worker(moment: float, dice: random.Random, killed: list[int]) -> None:
    """Wait for workers of this process, and then ``moment`` seconds; kill one of them."""
    end = time.monotonic() + 20
    while not workers_of(psutil.Process()) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(moment)
    for one in dice.sample(found := workers_of(psutil.Process()), len(found)):
        with suppress(psutil.NoSuchProcess):
            one.kill()
            killed.append(one.pid)
            return


def trial(make_settings, out: Path, whole: Store, seed: int) -> bool:
    """A run one of whose workers is killed at a random moment. Returns whether one was."""
    dice, killed = random.Random(seed), list[int]()
    thread = threading.Thread(target=kill_a_worker, args=(dice.uniform(0.0, 1.5), dice, killed))
    thread.start()
    code = run(make_settings(out=out, workers=2, **SHAPE), progress=False)
    thread.join()
    assert code == 0, Store(out).rows()[["image", "status", "reason"]].to_string()
    expect_whole(out, whole)
    return bool(killed)


@pytest.fixture
def whole(make_settings, tmp_path: Path) -> Store:
    settings = make_settings(out=tmp_path / "whole", **SHAPE)
    assert run(settings, progress=False) == 0
    return Store(settings.out)


def test_a_killed_worker_loses_nothing(make_settings, tmp_path: Path, whole: Store) -> None:
    assert any(trial(make_settings, tmp_path / f"{seed}", whole, seed) for seed in range(10))  # one is enough


@pytest.mark.slow
def test_no_killed_worker_of_forty_loses_anything(make_settings, tmp_path: Path, whole: Store) -> None:
    killed = [trial(make_settings, tmp_path / f"{seed}", whole, seed) for seed in range(100, 150)]
    print(f"{sum(killed)} workers killed in {len(killed)} runs")
    assert sum(killed) >= 40


@pytest.mark.slow
def test_a_run_with_workers_that_is_killed_goes_on(make_settings, tmp_path: Path, whole: Store) -> None:
    words = toy_run(tmp_path, "--set", "toy.sleep=0.05", "--images", "12", "--edits", "bright")
    words += ["--metrics", "toy_mse,toy_mask,toy_truth,toy_set"]
    codes = dict.fromkeys((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), 0)
    for seed in range(24):
        dice, out = random.Random(seed), tmp_path / f"{seed}"
        blow = dice.choice([*codes])
        process = subprocess.Popen([*words, "--out", str(out)], stderr=subprocess.DEVNULL)
        while not workers_of(psutil.Process(process.pid)) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(dice.uniform(0.0, 1.5))
        alive = workers_of(psutil.Process(process.pid))
        process.send_signal(blow)
        codes[blow] += 1
        assert process.wait() in (-blow, 130 if blow == signal.SIGINT else -blow, 0)
        _, left = psutil.wait_procs(alive, timeout=20)
        assert not [one for one in left if not is_dead(one)]
        assert subprocess.run([*words, "--out", str(out)], stderr=subprocess.DEVNULL).returncode == 0
        expect_whole(out, whole)
    print(codes)

