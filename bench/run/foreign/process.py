"""A foreign process: started, watched, cut off at its limit, and ended with everything that it started."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from invbench.api import printable
from invbench.run.foreign.gpu import Gpu
from invbench.util import interrupts

POLL = 0.2  # seconds between two looks
ENDING = 20.0  # seconds that the supervisor may take to end everything
KEPT = 2**20  # bytes of the beginning of what a start prints, and LAST of its end
LAST = 2**16
LINES, WIDTH = 8, 300  # last lines in a reason, and characters of each
SUPERVISOR = Path(__file__).with_name("supervisor.py")
CONTAINERS = ("docker", "podman", "nerdctl")  # what they start is no child of theirs
FOREIGN_TO_OTHERS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")  # of this Python, not of theirs


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    seconds    from its start to its end
    code       exit code; as shells say it for a signal (139); None where it was cut off
    cut_off    why it was ended, "" if it ended by itself
    rss_peak   bytes of resident memory of all its processes together, at the worst look; 0 if they cannot be seen
    gpu_peak   bytes on GPUs, likewise
    tail       the last lines that it printed
    """

    seconds: float
    code: int | None
    cut_off: str
    rss_peak: int
    gpu_peak: int
    tail: str

    @property
    def reason(self) -> str:
        """What went wrong, in words; "" for exit code 0."""
        if self.cut_off:
            return self.cut_off
        if self.code == 0:
            return ""
        name = ""
        if self.code is not None and self.code > 128:
            with suppress(ValueError):
                name = f" ({signal.Signals(self.code - 128).name})"
        return f"the command ended with exit code {self.code}{name}"


def run(
    command: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    log: Path,
    limit: float | None,
    gpu: int | None,
    watch: Callable[[float], None],
) -> Outcome:
    """Run a command to its end, or to its limit in seconds. What it prints goes to the end of ``log``.

    ``watch`` is called again and again with the seconds since the start. Whatever is raised meanwhile, Ctrl-C too, ends the
    command and everything that it started; so does the end of this process.
    """
    own = {name: value for name, value in os.environ.items() if name not in FOREIGN_TO_OTHERS} | dict(env)
    order = json.dumps({"command": list(command), "folder": str(folder), "env": own})
    seen = Path(command[0]).name not in CONTAINERS
    meter = Gpu(gpu)
    began = time.perf_counter()
    with open(log, "ab") as handle:
        process = subprocess.Popen(
            [sys.executable, str(SUPERVISOR)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C of the terminal is for this process, which passes it on
        )
        assert process.stdin is not None and process.stdout is not None
        told = Told(process.stdout, handle)
        rss = device = 0
        cut_off = ""
        try:
            process.stdin.write(order.encode() + b"\n")
            process.stdin.flush()
            while not _ended(process):
                interrupts.heed()  # it may have come where Python drops it
                spent = time.perf_counter() - began
                pids = _pids(process.pid)
                rss = max(rss, _resident(pids)) if seen else 0
                device = max(device, meter.used(pids, at=spent))
                if limit is not None and spent > limit:
                    cut_off = f"the command took more than {limit:.4g} s and was ended"
                    break
                watch(spent)
        finally:
            end(process)
            told.join()
    seconds = time.perf_counter() - began
    return Outcome(seconds, None if cut_off else process.returncode, cut_off, rss, device, told.tail())


def end(process: subprocess.Popen[bytes]) -> None:
    """Let the supervisor end what it runs; wait for it."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        for pid in _pids(process.pid):
            with suppress(psutil.Error):
                psutil.Process(pid).kill()
        process.kill()
        process.wait()


class Told:
    """What a process prints: its beginning goes to a file, its end is remembered, and both are in the file at its end."""

    def __init__(self, stream: IO[bytes], file: IO[bytes]) -> None:
        self._stream, self._file = stream, file
        self._kept, self._last, self._lost = 0, b"", 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the stream, and write what was held back."""
        self._thread.join(ENDING)
        if self._lost:
            self._file.write(f"\n[{self._lost} bytes are left out]\n".encode())
        self._file.write(self._last)
        self._file.write(b"" if self._last.endswith(b"\n") else b"\n")

    def tail(self) -> str:
        """The last lines in a form that every stream accepts; of a line that was written over, the last state."""
        lines = [line.rsplit("\r", 1)[-1] for line in re.split(r"\r?\n", self._last.decode(errors="replace"))]
        full = [printable(line.strip()[:WIDTH]) for line in lines if line.strip()]
        return "\n".join(full[-LINES:])

    def _read(self) -> None:
        for piece in iter(lambda: self._stream.read1(2**14), b""):  # type: ignore[attr-defined]
            together = self._last + piece
            out, self._last = together[:-LAST], together[-LAST:]
            room = max(KEPT - self._kept, 0)
            with suppress(OSError):  # a full disk must not stop the reading, for which the process would wait
                self._file.write(out[:room])
            self._kept += min(len(out), room)
            self._lost += max(len(out) - room, 0)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def _pids(supervisor: int) -> list[int]:
    try:
        return [one.pid for one in psutil.Process(supervisor).children(recursive=True)]
    except psutil.Error:
        return []


def _resident(pids: Sequence[int]) -> int:
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total
