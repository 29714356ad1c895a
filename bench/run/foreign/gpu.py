"""Memory on a GPU that processes other than this one take, as ``nvidia-smi`` tells it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Sequence

MIB = 2**20
APART = 1.0  # seconds between two questions
PATIENCE = 10.0


class Gpu:
    """Asks for the memory of processes; where these cannot be told apart (in a container), of the device beyond that at first.

    number  of the device, as nvidia-smi counts; None: there is none
    """

    def __init__(self, number: int | None) -> None:
        self._number = number if shutil.which("nvidia-smi") else None
        self._before = self._device()
        self._asked = -APART
        self._known = 0

    def used(self, pids: Collection[int], *, at: float) -> int:
        """Bytes at the moment; 0 if nobody tells. ``at``: seconds on any clock, for it is not asked every time."""
        if self._number is None or at - self._asked < APART:
            return self._known
        self._asked = at
        own = [mib for pid, mib in self._ask("--query-compute-apps=pid,used_memory") if pid in pids]
        self._known = int(sum(own) * MIB) if own else max(self._device() - self._before, 0)
        return self._known

    def _device(self) -> int:
        if self._number is None:
            return 0
        return int(sum(mib for number, mib in self._ask("--query-gpu=index,memory.used") if number == self._number) * MIB)

    def _ask(self, query: str) -> list[tuple[int, float]]:
        command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
        try:
            told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout
        except (OSError, subprocess.SubprocessError):
            return []
        return [pair for line in told.splitlines() if (pair := _pair(line.split(","))) is not None]


def _pair(words: Sequence[str]) -> tuple[int, float] | None:
    try:
        return int(words[0]), float(words[1])
    except (ValueError, IndexError):  # "[N/A]" where a driver does not tell
        return None
