"""Tasks as jobs of a cluster: the bytes of one process; a lost job costs nothing, one that is always lost its rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import psutil
import pytest

from invbench.api import Edit, InvbenchError
from invbench.run import plan
from invbench.run.check import check
from invbench.run.estimate import Estimate
from invbench.run.executors import asks, choice, elsewhere
from invbench.run.executors.asks import Asks
from invbench.run.executors.elsewhere import Answer, Busy, Lost
from invbench.run.runner import run
from invbench.run.work import Compute
from invbench.store import Store
from tests.fixtures import timeless

SAME = {".png", ".safetensors"}  # files without times


class Here:
    """A cluster whose jobs are done when they are handed over. ``lose`` says of (job's number, tasks) after how many of its
    tasks a job is lost; None: it is not."""

    def __init__(self, lose: Callable[[int, list], int | None] = lambda number, tasks: None) -> None:
        self.lose, self.jobs, self.asks = lose, list[list](), list[Asks]()

    timed = False

    def submit(self, call: Callable[..., Any], *arguments: Any, asks: Asks) -> Here.Job:
        self.asks.append(asks)
        settings, tasks, *others = pickle.loads(pickle.dumps(arguments))
        self.jobs.append([task.shard.name for task in tasks])
        after = self.lose(len(self.jobs), tasks)
        answer: Answer | None = None
        if after != 0:
            answer = pickle.loads(pickle.dumps(call(settings, tasks[:after], *others)))
        return Here.Job(answer if after is None else None)

    class Job:
        def __init__(self, answer: Answer | None) -> None:
            self.answer = answer

        def done(self) -> bool:
            return True

        def result(self) -> Answer:
            if self.answer is None:
                raise Lost("job 7: preempted")
            return self.answer

        def cancel(self) -> None:
            pass


@pytest.fixture
def on(make_settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """on(CLUSTER, **settings) -> settings of a run of 10 images in 3 batches whose jobs go to the cluster, one at a time."""

    def make(cluster: object, **changes):
        monkeypatch.setitem(choice._CLUSTERS, "slurm", lambda settings: cluster)
        monkeypatch.setattr(elsewhere, "POLL", 0.05)
        asked = {"executor": "slurm", "workers": 1, "images": 10, "out": tmp_path / "elsewhere", "edits": ["bright:1"]}
        return make_settings(**(asked | changes))

    return make


def files(folder: Path) -> dict[Path, bytes]:
    every = [path for path in folder.rglob("*") if path.suffix in SAME and ".jobs" not in path.parts]
    return {path.relative_to(folder): path.read_bytes() for path in every}


def same_as_one_process(folder: Path, make_settings, **settings) -> None:
    one = make_settings(out=folder.parent / "one", images=10, edits=["bright:1"], **settings)
    assert run(one, progress=False) == 0
    pd.testing.assert_frame_equal(*(timeless(Store(out).rows()) for out in (folder, one.out)))
    assert files(folder) == files(one.out) and len(files(folder)) > 40
    assert check(folder).problems == []


def test_jobs_that_are_lost_are_tried_again_without_what_they_had_written(on, make_settings) -> None:
    lost = {1: 1, 2: 0}  # the first after its first task, the second before any
    cluster = Here(lambda number, tasks: lost.get(number))
    settings = on(cluster)
    assert run(settings, progress=False) == 0
    first, *_ = cluster.jobs
    assert cluster.jobs == [first[:2], cluster.jobs[1], first[1:2], cluster.jobs[1]] and len(first) == 2
    same_as_one_process(settings.out, make_settings)
    manifest = Store(settings.out).manifest
    assert manifest["machines"] == [manifest["machine"]] and manifest["machine"]["threads"] == 1
    assert manifest["seconds"]["methods"] > 0


def test_a_task_whose_jobs_are_always_lost_fails_and_the_others_are_done(on) -> None:
    cluster = Here(lambda number, tasks: 0 if any(task.shard.entries[0].index == 4 for task in tasks) else None)
    settings = on(cluster)
    assert run(settings, progress=False) == 1
    rows = Store(settings.out).rows()
    failed = rows[rows["status"] == "failed"]
    assert sorted(failed["image"].unique()) == [f"toy-{index:02d}" for index in range(4, 8)] and len(failed) == 8
    assert failed["reason"].str.contains("its job was lost 3 times: job 7: preempted").all()
    alone = [names for names in cluster.jobs if names and names[0].startswith("000004")]
    assert alone[-1] == [name for name in alone[-1] if name.startswith("000004")]
    assert run(settings.model_copy(update={"executor": "local", "workers": 0}), progress=False) == 0  # the next run does them


def test_a_bundle_that_was_written_is_not_computed_again(on, make_settings, monkeypatch) -> None:
    """A cluster that begins a job again, after its tasks were done: their parts stay as they are."""
    cluster = Here()
    settings = on(cluster)
    assert run(settings, progress=False) == 0
    parts = {path: path.stat().st_mtime_ns for path in settings.out.glob("rows/*/*.parquet")}
    cells = plan.Cell.read(Store(settings.out).plan["cells"]["toy.paper.toys"])
    tasks = [Compute(one) for one in cells.shards(set())]
    answer = elsewhere.work(settings, tasks, [], {}, {})
    assert [done.task.shard.name for done in answer.done] == [task.shard.name for task in tasks] and len(tasks) == 3
    assert {path: path.stat().st_mtime_ns for path in settings.out.glob("rows/*/*.parquet")} == parts
    assert not answer.work


def test_a_full_queue_is_waited_for_and_costs_nothing(on, make_settings, monkeypatch) -> None:
    class Full(Here):
        refusals = 3

        def submit(self, call, *arguments, asks):
            if self.jobs and self.refusals:
                self.refusals -= 1
                raise Busy("slurm: Job violates accounting/QOS policy (job submit limit)")
            return super().submit(call, *arguments, asks=asks)

    monkeypatch.setattr(elsewhere, "FULL_POLL", 0.01)
    cluster = Full()
    settings = on(cluster)
    assert run(settings, progress=False) == 0 and cluster.refusals == 0
    assert set(Store(settings.out).rows()["status"]) == {"ok"} and len(cluster.jobs) == 2


def test_a_queue_that_stays_full_ends_the_run_with_what_it_said(on, monkeypatch) -> None:
    class Full(Here):
        def submit(self, call, *arguments, asks):
            raise Busy("slurm: job submit limit")

    for name in ("FULL_POLL", "QUEUE"):
        monkeypatch.setattr(elsewhere, name, 0.01)
    with pytest.raises(InvbenchError, match="job submit limit"):
        run(on(Full()), progress=False)


def test_a_job_asks_for_what_its_tasks_take() -> None:
    entries = tuple(plan.Entry(index, f"{index}", "hash") for index in range(10))
    cell = plan.Cell(
        method="m", preset="p", options={}, stepwise=False, dataset="d", entries=entries, recipe="r", batch=8,
        edits=(Edit("age", 1.0), Edit("age", 2.0)), consistency=(Edit("age", 1.0),),
    )  # fmt: skip
    tasks = [Compute(one) for one in cell.shards(set())]
    known = {("m", "p"): Estimate(invert=10.0, edit=1.0, memory=3 * asks.GIB)}
    on = SimpleNamespace(suite=SimpleNamespace(resolution=256), device="cpu")
    image = asks.SAFETY * (2 * 10.0 + 4 * 1.0) + 4 * asks.ROW  # an inversion, two edits, a round trip
    whole = asks.of(on, tasks, known)
    assert (whole.seconds, whole.memory) == (asks.START + 10 * image, 7 * asks.GIB)
    assert asks.of(on, tasks[1:], known).seconds == asks.START + 2 * image
    assert asks.of(on, tasks, known, losses=2).seconds == 4 * whole.seconds  # what was lost may have been too short
    assert asks.of(on, tasks, {}).seconds == asks.START + asks.UNKNOWN
    assert asks.of(SimpleNamespace(suite=on.suite, device="cuda"), tasks, known).memory == 4 * asks.GIB
    assert (asks.Asks(61.0, asks.GIB + 1).minutes, asks.Asks(61.0, asks.GIB + 1).gib) == (2, 2)


@pytest.mark.slow
def test_jobs_ask_for_what_a_probe_on_their_device_says(on, make_settings) -> None:
    class Timed(Here):
        timed = True

    cluster = Timed(lambda number, tasks: 0 if number == 2 else None)
    assert run(on(cluster, overrides=["toy.sleep=0.5"]), progress=False) == 0
    assert cluster.jobs[0] == []  # the probe
    images = [4 * len(names) if names and "000008" not in names[-1] else 4 * len(names) - 2 for names in cluster.jobs]
    least = asks.START + asks.SAFETY * 0.5 / 4 * images[1] + 2 * asks.ROW * images[1]
    assert least <= cluster.asks[1].seconds < least + 60  # an inversion of a batch sleeps for half a second
    again = cluster.jobs.index(cluster.jobs[1], 2)
    assert cluster.asks[again].seconds == 2 * cluster.asks[1].seconds  # what was lost may have been too short
    assert {one.gib for one in cluster.asks} <= {2, 3}


def test_an_error_that_ends_a_job_ends_the_run(on) -> None:
    class Full(Here):
        def submit(self, call, *arguments, asks):
            return Here.Job(Answer(error=InvbenchError("disk full")))

    with pytest.raises(InvbenchError, match="disk full"):
        run(on(Full()), progress=False)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"device": "auto"}, "--executor slurm: expected --device cpu or cuda, which its machines have, found auto"),
        ({"workers": 0}, "--executor slurm: expected jobs, found --in-process"),
        ({"executor": "local", "asked": ["mem_gb=3"]}, "--job: expected --executor slurm or ray, found local"),
        ({"asked": ["mem_gb"]}, "--job: expected KEY=VALUE, found 'mem_gb'"),
    ],
)
def test_settings_that_cannot_work(on, changes: dict, told: str) -> None:
    with pytest.raises(InvbenchError, match=told):
        on(Here(), **changes)


@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_package_that_is_missing_is_named(make_settings, monkeypatch, executor: str, package: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(InvbenchError, match=rf"--executor {executor}: expected the package {package} \(pip install invbench"):
        run(make_settings(executor=executor, workers=1), progress=False)


def local_jobs(out: Path):
    pytest.importorskip("submitit", reason="the extra invbench[slurm] is not installed")
    from invbench.run.executors.slurm import Slurm

    return Slurm(out, {"cpus_per_task": 1, "timeout_min": 5}, cluster="local")


def test_jobs_of_submitit_give_the_bytes_of_one_process(on, make_settings, tmp_path: Path) -> None:
    settings = on(local_jobs(tmp_path / "elsewhere"), workers=2)
    assert run(settings, progress=False) == 0
    same_as_one_process(settings.out, make_settings)


@pytest.mark.slow
def test_a_job_of_submitit_that_is_killed_in_the_middle_is_tried_again(on, tmp_path: Path) -> None:
    """Its first task is kept, its second is done by another job."""
    cluster, out, submitted = local_jobs(tmp_path / "elsewhere"), tmp_path / "elsewhere", []

    class Killed:
        def __init__(self, job) -> None:
            self.job = job

        def done(self) -> bool:
            if submitted[0] is self and list(out.glob("rows/*/*.parquet")):
                with suppress(psutil.NoSuchProcess):
                    first = psutil.Process(int(self.job._job.job_id))
                    for process in [*first.children(recursive=True), first]:
                        process.kill()
            return self.job.done()

        def result(self):
            return self.job.result()

        def cancel(self) -> None:
            self.job.cancel()

    class Killing:
        timed = False

        def submit(self, call, *arguments, asks):
            submitted.append(Killed(cluster.submit(call, *arguments, asks=asks)))
            return submitted[-1]

    settings = on(Killing(), overrides=["toy.sleep=1"])
    assert run(settings, progress=False) == 0
    assert len(submitted) == 3 and set(Store(settings.out).rows()["status"]) == {"ok"}
