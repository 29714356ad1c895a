"""What a process of ours settles before torch is loaded: the one policy for the command line, training, tests and workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

ENVIRONMENT = {
    # Idle threads must sleep: while they spin, a neighbour on one core costs more than half of the speed.
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
}
"""What the libraries read as they are loaded; an executor that starts processes elsewhere passes it on."""


def settle() -> None:
    """Put ENVIRONMENT into this process's, where the user has not said otherwise. Child processes inherit it.

    Call it first in a program: a library that is already loaded does not look again.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def processes() -> ForkServerContext | SpawnContext:
    """How processes are started. A fork of a process that has threads or CUDA is not safe, so this one is never forked.

    On Linux a server does it that has loaded the libraries and nothing else (:func:`start_server`); elsewhere every process
    loads them itself, which takes seconds.
    """
    return multiprocessing.get_context("forkserver") if sys.platform == "linux" else multiprocessing.get_context("spawn")


def start_server(module: str) -> None:
    """Start the server of :func:`processes`, which imports ``module`` while this process goes on; elsewhere do nothing."""
    if sys.platform == "linux":
        from multiprocessing import resource_tracker
        from multiprocessing.forkserver import ensure_running

        processes().set_forkserver_preload([module])
        resource_tracker.ensure_running()  # the server would start it otherwise, and it lets Ctrl-C through again
        # Ctrl-C goes to all processes of a terminal: the server, which inherits the mask, leaves it to this one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cores() -> int:
    """Cores that this process may use; all of the machine where the system does not tell (macOS, Windows)."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
