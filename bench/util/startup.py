"""What a process of ours settles before torch is loaded: the one policy for the command line, training, tests and workers."""

from __future__ import annotations

import os

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


def cores() -> int:
    """Cores that this process may use; all of the machine where the system does not tell (macOS, Windows)."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
