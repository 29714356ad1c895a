"""A run that is killed at every single write: the next run finishes, with the rows of a run that nobody disturbed.

A child process is forked before any run; it ends without any clean-up (``os._exit``) at its n-th step on the disk: when a
temporary is opened, half written, whole and not yet named, or named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from invbench.run.check import check
from invbench.run.runner import run
from invbench.store import Store
from tests.fixtures import timeless

KILLED = 77


def _killed_at(step: int, work: Callable[[], int]) -> None:
    """Do the work, and end this process at its ``step``-th step on the disk."""
    import itertools
    import threading

    from invbench.util import files

    count, lock, synced, replaced = itertools.count(1), threading.Lock(), files._write_synced, os.replace

    def here() -> None:
        with lock:
            if next(count) == step:
                os._exit(KILLED)

    def write(path: Path, data: bytes) -> None:
        here()
        path.write_bytes(data[: len(data) // 2])
        here()
        path.unlink()
        synced(path, data)
        here()

    def replace(source, target) -> None:
        replaced(source, target)
        here()

    files._write_synced, os.replace = write, replace
    os._exit(work())


def sweep(make: Callable[[Path], object], folder: Path, steps: range) -> dict[str, list[int]]:
    """Kill a run at each of the steps, in a fresh folder each, and run it again. Returns the steps by what came of it."""
    found: dict[str, list[int]] = {"healed": [], "not reached": []}
    for step in steps:
        out, child = folder / f"killed-{step}", os.fork()
        if not child:
            try:
                _killed_at(step, partial(run, make(out), progress=False))
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, KILLED), (step, code)
        found["healed" if code == KILLED else "not reached"].append(step)
    return found


def main(folder: Path, first: int, stop: int, stride: int) -> None:
    """In a process of its own, whose only thread is this one until it has forked for the last time."""
    from invbench.plugins.registry import discover
    from tests.fixtures import TOYS, toy_settings

    registry = discover([TOYS])
    print(json.dumps(sweep(lambda out: toy_settings(registry, out=out, images=3, batch=2), folder, range(first, stop, stride))))


def _swept(make_settings, folder: Path, steps: tuple[int, int, int]) -> int:
    folder.mkdir()
    script = f"from pathlib import Path; from tests.run.test_kills import main; main(Path({str(folder)!r}), *{steps})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reached = json.loads(done.stdout.splitlines()[-1])
    settings = make_settings(images=3, batch=2, out=folder / "whole")
    assert run(settings, progress=False) == 0
    whole = Store(settings.out)
    for step in reached["healed"]:
        out = folder / f"killed-{step}"
        assert run(make_settings(images=3, batch=2, out=out), progress=False) == 0, step
        pd.testing.assert_frame_equal(timeless(Store(out).rows()), timeless(whole.rows()), check_like=True)
        assert Store(out).sets() == whole.sets(), step
        assert not check(out).problems, (step, check(out).problems)
    return len(reached["healed"])


def test_a_run_killed_at_some_writes_heals(make_settings, tmp_path):
    assert _swept(make_settings, tmp_path / "sweep", (2, 130, 25)) >= 4


@pytest.mark.slow
def test_a_run_killed_at_every_write_heals(make_settings, tmp_path):
    healed = _swept(make_settings, tmp_path / "sweep", (1, 260, 1))
    assert 100 <= healed < 250  # the last steps are beyond the run's end: every write was met
