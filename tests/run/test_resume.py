"""kill -9 at any moment, and the next run ends with the rows of an undisturbed one."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import time
from pathlib import Path

import pandas as pd
import pytest

from invbench.api import Edit
from invbench.store import Store
from tests.checkout import PROJECT
from tests.fixtures import TOYS, timeless

KILLS = 10
SUITE = """
[suites.toys]
title = "toys"
resolution = 16
datasets = ["toys"]
collections = { all = ["toys"] }
default = "all"
edits.bright = { unit = "levels", per_strength = 12.75, strengths = [-1, 1] }
"""


def command(folder: Path, out: Path) -> list[str]:
    words = ["run", "--suite", "toys", "--config", str(folder / "toys.toml"), "--plugin", str(TOYS), "--device", "cpu"]
    words += ["--methods", "toy,toy:fine", "--edits", "bright", "--metrics", "toy_mse,toy_truth,toy_set"]
    return [*words, "--batch", "1", "--set", "toy.sleep=0.02", "--quiet", "--out", str(out)]


def invoke(words: list[str]) -> None:
    """The command line, in a process of its own."""
    from invbench.cli import main

    main(words)


@pytest.fixture(scope="module")
def processes():
    """Processes forked from one that has torch loaded, so that ten of them cost little."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["invbench.run.runner", "invbench.cli"])
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(PROJECT), os.environ.get("PYTHONPATH", "")]  # the server itself does not inherit sys.path
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        yield context


def finish(processes, words: list[str]) -> None:
    process = processes.Process(target=invoke, args=(words,))
    process.start()
    process.join(300)
    assert process.exitcode == 0


def parts(out: Path) -> int:
    return len(list((out / "rows").glob("*/*.parquet")))


def kill_after(process, out: Path, *, more: int, delay: float) -> None:
    """Kill when that many more parts were written (or the work is done), and then some seconds later."""
    target = parts(out) + more
    while parts(out) < target and process.is_alive():
        time.sleep(0.002)
    process.join(delay)
    process.kill()
    process.join()


def test_kill_and_resume_gives_the_rows_of_an_undisturbed_run(tmp_path, processes):
    (tmp_path / "toys.toml").write_text(SUITE)
    out, whole = tmp_path / "killed", tmp_path / "whole"
    finish(processes, command(tmp_path, whole))
    moments, seen = random.Random(7), []
    for turn in range(KILLS):
        process = processes.Process(target=invoke, args=(command(tmp_path, out),))
        process.start()
        kill_after(process, out, more=turn % 3, delay=moments.uniform(0, 0.04))
        seen.append(parts(out))
    assert seen == sorted(seen) and len(set(seen)) > 2 and seen[-1] < parts(whole)  # all kills hit unfinished work
    finish(processes, command(tmp_path, out))
    expected, found = Store(whole), Store(out)
    pd.testing.assert_frame_equal(timeless(found.rows()), timeless(expected.rows()), check_exact=True)
    sets = "SELECT * FROM sets ORDER BY ALL"
    pd.testing.assert_frame_equal(found.query(sets), expected.query(sets), check_exact=True)
    pictures = sorted(path.relative_to(whole) for path in whole.rglob("*.png"))
    assert len(pictures) == 12 + 12 * 2 + 2 * 12 * 3 + 2 * 12  # inputs, true edits, reconstructions and edits, masks
    for path in pictures:
        assert (out / path).read_bytes() == (whole / path).read_bytes()
    assert found.manifest["finished"]


def test_an_interrupt_keeps_finished_work(make_settings, monkeypatch, capsys):
    from invbench.run import runner, shard

    settings, calls, work = make_settings(), [], shard.run

    def interrupted(one, tools):
        if calls:
            raise KeyboardInterrupt
        calls.append(one)
        return work(one, tools)

    monkeypatch.setattr("invbench.run.shard.run", interrupted)
    assert runner.run(settings, progress=False) == 130
    assert "finished work is kept" in capsys.readouterr().err
    assert len(Store(settings.out).rows()) == 4 * 3


def test_an_interrupt_while_pictures_are_written(make_settings, monkeypatch):
    """They are written behind the metrics: whatever is on the disk by then, the run is completed as if nothing had been."""
    from invbench.run import runner
    from invbench.scoring.evaluator import Evaluator

    settings, calls, real = make_settings(), [], Evaluator.edit
    whole = make_settings(out=settings.out.with_name("whole"))

    def interrupted(self, *args, **named):
        calls.append(args)
        if len(calls) == 4:  # in the second batch
            raise KeyboardInterrupt
        return real(self, *args, **named)

    monkeypatch.setattr(Evaluator, "edit", interrupted)
    assert runner.run(settings, progress=False) == 130
    monkeypatch.undo()
    assert len(Store(settings.out).rows()) == 4 * 3 and not list(settings.out.rglob("*.tmp"))
    assert runner.run(settings, progress=False) == runner.run(whole, progress=False) == 0
    pd.testing.assert_frame_equal(timeless(Store(settings.out).rows()), timeless(Store(whole.out).rows()), check_exact=True)
    for path in whole.out.rglob("*.png"):
        assert (settings.out / path.relative_to(whole.out)).read_bytes() == path.read_bytes()


def test_rows_are_written_after_their_pictures(make_settings, monkeypatch):
    from invbench.run import runner
    from invbench.util import behind

    settings, write_all, write_part, seen = make_settings(), behind.write_all, Store.write_part, []

    def slow(files):
        time.sleep(0.02)
        write_all(files)

    def checked(self, cell, part):
        for row in part.rows:
            edit = None if row["edit"] is None else Edit(row["edit"], row["strength"])
            data = self.picture(cell, row["image"], edit).read_bytes()
            seen.append(hashlib.sha256(data).hexdigest() == row["picture"])
        write_part(self, cell, part)

    monkeypatch.setattr(behind, "write_all", slow)
    monkeypatch.setattr(Store, "write_part", checked)
    assert runner.run(settings, progress=False) == 0
    assert len(seen) == 36 and all(seen)
