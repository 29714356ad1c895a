"""A real Ray cluster of three nodes on this machine: the bytes of one process, also where workers and nodes are killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from invbench.run.runner import run
from invbench.store import Store
from tests.run.test_elsewhere import same_as_one_process

pytestmark = pytest.mark.slow
MEMORY = 4 * 2**30  # bytes that a node says it has


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="the extra invbench[ray] is not installed")
    from ray.cluster_utils import Cluster

    try:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            cluster.add_node(num_cpus=1, memory=MEMORY)
    except Exception as error:  # Ray gives a node 30 seconds
        ray.shutdown()
        pytest.skip(f"no Ray cluster on so busy a machine: {' '.join(str(error).split())}")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def jobs() -> list[psutil.Process]:
    """The processes of nodes that are at a job."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any("ray::_made" in word for word in process.cmdline()):
                found.append(process)
    return found


def test_a_cluster_of_nodes_gives_the_bytes_of_one_process(nodes: Any, make_settings, tmp_path: Path) -> None:
    settings = make_settings(executor="ray", workers=2, images=10, edits=["bright:1"], out=tmp_path / "elsewhere")
    assert run(settings, progress=False) == 0
    same_as_one_process(settings.out, make_settings)


def test_a_worker_and_a_node_that_are_killed_in_mid_shard_cost_nothing(nodes: Any, make_settings, tmp_path: Path) -> None:
    """First the process of a job, then a node with all that is on it, while the method is at a shard."""
    out, killed = tmp_path / "elsewhere", []

    def kill() -> None:
        end = time.monotonic() + 600
        while len(killed) < 2 and time.monotonic() < end:
            if len(list(out.glob("rows/*/*.parquet"))) > len(killed) and (found := jobs()):
                if killed:
                    nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False)
                    killed.append("node")
                else:
                    found[0].kill()
                    killed.append("job")
            time.sleep(0.2)

    killer = Thread(target=kill)
    killer.start()
    more = {"batch": 2, "overrides": ["toy.sleep=2"]}
    settings = make_settings(executor="ray", workers=2, images=10, edits=["bright:1"], out=out, **more)
    code = run(settings, progress=False)
    killer.join()
    assert code == 0 and killed == ["job", "node"]
    rows = Store(out).rows()
    assert set(rows["status"]) == {"ok"} and len(rows) == 20
    same_as_one_process(out, make_settings, **more)
