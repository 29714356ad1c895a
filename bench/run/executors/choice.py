"""Which workers a run has."""

from __future__ import annotations

import psutil
import torch

from invbench.api import InvbenchError
from invbench.plugins.config import RunSettings
from invbench.util.startup import cores

GIB = 2**30


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


def memory(resolution: int) -> int:
    """Bytes that a worker on a CPU takes with the networks of a suite: 2 GiB at 64 x 64, 10 GiB at 1024 x 1024."""
    return (2 + resolution // 128) * GIB
