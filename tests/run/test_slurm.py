"""A real SLURM cluster of this machine (tests/run/slurm_machine.py): the bytes of one process, though jobs are cancelled."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from invbench.api import InvbenchError
from invbench.run.executors.asks import Asks
from invbench.run.executors.elsewhere import Lost
from invbench.run.runner import run
from invbench.store import Store
from tests.run.slurm_machine import cluster, lacking
from tests.run.test_elsewhere import same_as_one_process

pytestmark = pytest.mark.slow
ASKS = Asks(600.0, 2**30)


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    pytest.importorskip("submitit", reason="the extra invbench[slurm] is not installed")
    if absent := lacking():
        pytest.skip(f"no SLURM here: {', '.join(absent)} not found (Debian: slurmctld, slurmd, slurm-client, munge)")
    with cluster(tmp_path_factory.mktemp("slurm")) as conf:
        monkeypatch.setenv("SLURM_CONF", str(conf))
        yield conf


def running() -> list[str]:
    words = ["squeue", "--me", "--noheader", "--states=RUNNING", "--format=%i"]
    return subprocess.run(words, capture_output=True, text=True).stdout.split()


def test_a_cluster_gives_the_bytes_of_one_process(slurm: Path, make_settings, tmp_path: Path) -> None:
    settings = make_settings(
        executor="slurm", workers=2, images=10, edits=["bright:1"], asked=["mem_gb=1"], out=tmp_path / "elsewhere"
    )
    assert run(settings, progress=False) == 0
    same_as_one_process(settings.out, make_settings)


def test_jobs_that_are_cancelled_in_mid_shard_cost_nothing(slurm: Path, make_settings, tmp_path: Path) -> None:
    """The first two jobs of the work are cancelled while a method is at a shard; their tasks are done by others."""
    out, cancelled = tmp_path / "elsewhere", []

    def cancel() -> None:
        end = time.monotonic() + 600
        while len(cancelled) < 2 and time.monotonic() < end:
            for job in running() if list(out.glob("rows/*/*.parquet")) else []:
                if job not in cancelled and len(cancelled) < 2:
                    subprocess.run(["scancel", job])
                    cancelled.append(job)
            time.sleep(0.2)

    killer = Thread(target=cancel)
    killer.start()
    more = {"batch": 2, "overrides": ["toy.sleep=2"], "asked": ["mem_gb=1", "timeout_min=30"]}
    settings = make_settings(executor="slurm", workers=2, images=10, edits=["bright:1"], out=out, **more)
    code = run(settings, progress=False)
    killer.join()
    assert code == 0 and len(cancelled) == 2
    rows = Store(out).rows()
    assert set(rows["status"]) == {"ok"} and len(rows) == 20
    same_as_one_process(out, make_settings, batch=2, overrides=["toy.sleep=2"])


def test_a_job_that_is_cancelled_is_lost_and_one_that_the_cluster_cannot_do_is_refused(slurm: Path, tmp_path: Path) -> None:
    from invbench.run.executors.slurm import Slurm

    job = Slurm(tmp_path, {"cpus_per_task": 1}).submit(time.sleep, 600, asks=ASKS)
    while not running():
        time.sleep(0.2)
    assert not job.done()
    job.cancel()
    while not job.done():
        time.sleep(0.2)
    with pytest.raises(Lost, match=r"job \d+: cancelled"):
        job.result()
    with pytest.raises(InvbenchError, match="--executor slurm: .*partition") as told:
        Slurm(tmp_path, {"slurm_partition": "none"}).submit(time.sleep, 1, asks=ASKS)
    assert type(told.value) is InvbenchError
