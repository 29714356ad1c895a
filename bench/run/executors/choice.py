"""Which workers a run has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from invbench.api import InvbenchError
from invbench.plugins.config import RunSettings
from invbench.run.executors.asks import memory
from invbench.run.executors.elsewhere import Cluster, Elsewhere
from invbench.run.executors.processes import Processes
from invbench.run.executors.ray_cluster import Ray
from invbench.run.executors.slurm import Slurm
from invbench.run.session import open_store
from invbench.run.work import Executor
from invbench.util.clock import Ledger
from invbench.util.startup import cores


@contextmanager
def opened(settings: RunSettings, ledger: Ledger) -> Iterator[Executor | None]:
    """The executor of a run; None: all work is done in this process.

    Raises InvbenchError as :func:`devices` does, and where the package or the cluster of an executor is missing.
    """
    if settings.executor != "local":
        cluster = _CLUSTERS[settings.executor](settings)
        with Elsewhere(settings, cluster, ledger=ledger) as elsewhere:
            yield elsewhere
    elif found := devices(settings):
        with Processes(settings, found, limit=settings.limit, ledger=ledger) as processes:
            yield processes
    else:
        yield None


def device_here(settings: RunSettings) -> str:
    """The device of the process that plans and scores. Jobs may have a GPU where this process has none."""
    absent = settings.executor != "local" and not torch.cuda.is_available()
    return "cpu" if absent else settings.device


def _slurm(settings: RunSettings) -> Cluster:
    open_store(settings.out)  # refuses a stranger's folder before logs of jobs are put into it
    gpus = {"gpus_per_node": 1} if settings.device.startswith("cuda") else {}
    return Slurm(settings.out, {"name": "invbench", "cpus_per_task": settings.threads, **gpus, **settings.asked})


def _ray(settings: RunSettings) -> Cluster:
    gpus = {"num_gpus": 1} if settings.device.startswith("cuda") else {}
    return Ray({"num_cpus": settings.threads, **gpus, **settings.asked})


_CLUSTERS = {"slurm": _slurm, "ray": _ray}


def devices(settings: RunSettings) -> list[str]:
    """The device of each worker, as :class:`invbench.run.session.Session` takes them; empty: no workers, all in this process.

    A GPU has one worker: "auto" and "cuda" mean all GPUs, "cuda:N" one. A CPU has one for every ``threads`` cores, if there
    is memory for so many, unless the settings give their number. Raises InvbenchError if there are fewer GPUs than workers.
    """
    if settings.workers == 0:
        return []
    gpus = torch.cuda.device_count() if settings.device in ("auto", "cuda") else 0
    if settings.device != "cpu" and (gpus or settings.device.startswith("cuda")):
        found = [f"cuda:{number}" for number in range(gpus)] or [settings.device]
        if (settings.workers or 1) > len(found):
            raise InvbenchError(f"workers: expected at most {len(found)}, one a GPU, found {settings.workers}")
        return found[: settings.workers]
    room = int(psutil.virtual_memory().available // (memory(settings.suite.resolution)))
    return ["cpu"] * (settings.workers or max(1, min(cores() // settings.threads, room)))
