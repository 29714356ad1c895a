"""What is foretold for more devices: against a plain simulation, against formulas, and (slow) against real runs."""

from __future__ import annotations

import heapq
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.run.executors.elsewhere import TRIES
from invbench.run.runner import run
from invbench.run.simulation import forecast, measured, schedule
from invbench.run.simulation.measured import Kind, Measured
from invbench.run.simulation.schedule import Supposed
from invbench.store import Store

NOTHING = Supposed(slow=0.0, factor=1.0, failures=0.0, queue=0.0)


def by_events(tasks: np.ndarray, count: int, *, start: float) -> float:
    """The end of the last task: a device that is free takes the next one."""
    free = [0.0, *[start] * (count - 1)]
    heapq.heapify(free)
    ends = [0.0]
    for task in tasks:
        ends.append(heapq.heappop(free) + task)
        heapq.heappush(free, ends[-1])
    return max(ends)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_workers_take_tasks_as_they_become_free(count: int) -> None:
    rng = np.random.default_rng(3)
    seconds = rng.gamma(2.0, 5.0, (7, 40))
    out = schedule.workers(seconds, count, start=12.0, alone=4.0, supposed=NOTHING, rng=rng)
    assert out.wall == pytest.approx([4.0 + by_events(draw, count, start=12.0) for draw in seconds])
    assert out.held == pytest.approx(out.wall * count) and not out.lost.any()


def test_jobs_pay_for_their_start_and_wait_in_the_queue() -> None:
    supposed = Supposed(slow=0.0, factor=1.0, failures=0.0, queue=100.0)
    out = schedule.jobs(np.full((1, 12), 10.0), 3, start=7.0, alone=1.0, supposed=supposed, rng=np.random.default_rng(0))
    assert out.wall == pytest.approx(1.0 + 2 * (100.0 + 7.0 + 20.0))  # two jobs after each other on each, of two tasks
    assert out.held == pytest.approx(6 * 27.0)


def test_losses_cost_what_their_rate_says() -> None:
    """One task of s seconds, lost at the rate r: a try is lost with p = 1 - exp(-r s), after 1/r - s (1 - p) / p on average."""
    s, again, day = 50.0, 9.0, 86400.0
    supposed = Supposed(slow=0.0, factor=1.0, failures=day / 100.0, queue=0.0)
    out = schedule.workers(np.full((40_000, 1), s), 1, start=again, alone=0.0, supposed=supposed, rng=np.random.default_rng(1))
    p = 1 - np.exp(-s / 100.0)
    wasted = 100.0 - s * (1 - p) / p
    losses = sum(p**number for number in range(1, TRIES + 1))
    assert out.lost.mean() == pytest.approx(p**TRIES, abs=0.005)
    assert out.wall.mean() == pytest.approx(losses * (wasted + again) + (1 - p**TRIES) * s, rel=0.01)


def test_slow_devices_take_longer() -> None:
    supposed = Supposed(slow=1.0, factor=3.0, failures=0.0, queue=0.0)
    out = schedule.workers(np.full((2, 8), 1.0), 4, start=0.0, alone=0.0, supposed=supposed, rng=np.random.default_rng(0))
    assert out.wall == pytest.approx(6.0)


def toy(*, images: int = 4000, threads: int = 1) -> Measured:
    kinds = (Kind("a", images, 4, (np.array([1.0]), np.array([0.5]))),)
    return Measured(kinds, harness=0.25, start=20.0, alone=30.0, machine={"threads": threads}, named="a card")


def foretold(devices: list[int], *, cores: int = 1000, supposed: Supposed = NOTHING, **changes) -> list[forecast.Line]:
    place = forecast.Place(cluster=False, cores=cores, on_cpu=True)
    return forecast.lines(toy(**changes), devices, place=place, supposed=supposed, draws=20, seed=0)


def test_a_run_is_as_long_as_its_tasks() -> None:
    (one,) = foretold([1])
    assert one.wall == pytest.approx(30.0 + 4000 * 2.0) and one.efficiency == pytest.approx(8000 / 8030)  # 2 rows an image
    assert [line.wall for line in foretold([1, 8])] == pytest.approx([8030.0, 30.0 + 8 * 125 + 7 * 20 / 8], rel=0.01)


def test_workers_beyond_the_cores_bring_nothing() -> None:
    two, four = foretold([2, 4], cores=2)
    assert four.wall >= two.wall and four.efficiency <= 0.5
    assert foretold([2], cores=2, threads=2)[0].efficiency <= 0.5
    on_gpus, in_jobs = (forecast.Place(cluster=cluster, cores=2, on_cpu=cluster) for cluster in (False, True))
    assert [on_gpus.crowd(4, starting=starting) for starting in (True, False)] == [2.0, 1.0]
    assert in_jobs.crowd(4, starting=True) == in_jobs.crowd(4, starting=False) == 1.0


def test_equal_seeds_give_equal_tables_and_a_line_does_not_depend_on_the_others() -> None:
    supposed = Supposed(slow=0.2, factor=2.0, failures=20.0, queue=0.0)
    assert foretold([4], supposed=supposed) == foretold([1, 4], supposed=supposed)[1:]


def test_what_to_choose() -> None:
    found = [forecast.Line(n, 1000 / n, 1100 / n, 1000.0, e, 0.0) for n, e in [(1, 1.0), (2, 0.9), (4, 0.7), (8, 0.4)]]
    assert forecast.choice(found, least=0.7, within=None).startswith("choose 4:")
    assert forecast.choice(found, least=0.1, within=600).startswith("choose 2:")
    assert "none ends within 100 s; the fastest of these is 8" in forecast.choice(found, least=0.7, within=100)
    assert "mostly start-up" in forecast.choice(found[3:], least=0.7, within=None)


@pytest.fixture(scope="module")
def measured_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a toy by one worker, whose inversion of a batch of 2 takes 0.2 s."""
    from invbench.plugins.registry import discover
    from tests.fixtures import TOYS, toy_settings

    out = tmp_path_factory.mktemp("simulation") / "run"
    settings = toy_settings(discover([TOYS]), out=out, batch=2, workers=1, edits=["bright:1"], overrides=["toy.sleep=0.2"])
    assert run(settings, progress=False) == 0
    return out


def test_the_measured_times_are_those_of_the_run(measured_run: Path) -> None:
    found = measured.read(Store(measured_run), images=None)
    (kind,) = found.kinds
    assert (kind.images, kind.batch, found.tasks) == (12, 2, 6) and [len(one) for one in kind.paces] == [12, 12]
    assert kind.paces[0].min() >= 0.1 and kind.paces[1].max() < 0.1
    assert found.start > 0 and 0 < found.harness < 1
    work, wall = Store(measured_run).manifest["work"], Store(measured_run).manifest["seconds"]["wall"]
    assert (work["tasks"], work["rows"], work["starts"]) == (6, 24, 1)
    assert found.alone + work["busy"] == pytest.approx(wall, rel=0.1)
    assert measured.read(Store(measured_run), images=1000).tasks == 500


def test_the_verb_prints_a_table_that_its_seed_fixes(measured_run: Path) -> None:
    words = ["simulate", str(measured_run), "--images", "500", "--devices", "1,4,16", "--cores", "64"]
    first, second = (CliRunner().invoke(main, words) for _ in range(2))
    assert first.exit_code == 0 and first.output == second.output
    assert "6 tasks" not in first.output and "250 tasks" in first.output and "choose" in first.output
    assert "supposed: workers of one machine with 64 cores" in first.output and "seed 0" in first.output


def test_what_cannot_be_foretold_is_refused(make_settings, measured_run: Path, tmp_path: Path) -> None:
    assert run(make_settings(workers=0), progress=False) == 0
    with pytest.raises(InvbenchError, match="work: expected what workers took, found none"):
        measured.read(Store(tmp_path / "run"), images=None)
    with pytest.raises(InvbenchError, match="--images: expected at most 200000 batches in all, found 500000"):
        measured.read(Store(measured_run), images=1_000_000)
    for words in (["--slow", "2:1"], ["--devices", "0"], ["--devices", "4000"], ["--failures", "nan"], ["--slow", "nan:nan"]):
        assert CliRunner().invoke(main, ["simulate", str(measured_run), *words]).exit_code == 2


@pytest.mark.slow
def test_runs_of_1_2_and_4_workers_take_what_was_foretold(make_settings, tmp_path: Path) -> None:
    """Tasks that sleep have a device each, whatever the cores do. Starting depends on what else a machine does at the moment,
    so that is taken from each run, and the tasks from the run of one worker."""
    taken = {}
    for count in (1, 2, 4):
        out = tmp_path / str(count)
        settings = make_settings(out=out, batch=1, workers=count, edits=["bright:1"], overrides=["toy.sleep=4"], images=12)
        began = time.monotonic()
        assert run(settings, progress=False) == 0
        taken[count] = time.monotonic() - began
    one, place = measured.read(Store(tmp_path / "1"), images=None), forecast.Place(cluster=False, cores=4, on_cpu=False)
    for count, seconds in taken.items():
        own = measured.read(Store(tmp_path / str(count)), images=None)
        known = replace(one, start=own.start, alone=own.alone)
        (line,) = forecast.lines(known, [count], place=place, supposed=NOTHING, draws=20, seed=0)
        print(f"{count} workers: foretold {line.wall:.1f} s, taken {seconds:.1f} s")
        assert line.wall == pytest.approx(seconds, rel=0.15)
