"""A worker process as its parent sees it: started when there is work, killed, started again; its task and call at present."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from invbench.plugins.config import RunSettings
from invbench.run.calls import Call
from invbench.run.executors import worker
from invbench.util.startup import processes

DYING = 5.0  # seconds from the end of a process's pipe to its own
Doing = TypeVar("Doing")


class Lane(Generic[Doing]):
    """A worker process for a device; ``workers`` work at a time.

    doing  what the worker is at, None if it is free
    call   the call of a method that it is making, and when it began on :func:`time.monotonic`
    ready  whether the process has opened everything
    asked  whether it was sent something and has told nothing since then but that it is ready: it builds a method, say
    heard  when it was sent or told something last, on :func:`time.monotonic`
    """

    def __init__(self, settings: RunSettings, device: str, workers: int) -> None:
        self._asked = settings, device, workers
        self._process: BaseProcess | None = None
        self.doing: Doing | None = None
        self.call: tuple[Call, float] | None = None
        self.ready = False
        self.asked = False
        self.heard = time.monotonic()
        self.pipe: Connection

    def start(self) -> None:
        """Start the process, if there is none."""
        if self._process is not None:
            return
        self.ready = False
        self.pipe, theirs = Pipe()
        self._process = processes().Process(
            target=worker.main, args=(theirs, worker.serve, *self._asked, time.time()), name="worker"
        )
        self._process.start()
        theirs.close()

    def send(self, request: tuple[str, Any]) -> None:
        """Send a request to the process, which is started if there is none."""
        self.start()
        self.asked, self.heard = True, time.monotonic()
        with suppress(OSError):  # the next receive finds a process that is dead already
            self.pipe.send(request)

    def receive(self) -> tuple[str, Any]:
        """The next message. Raises EOFError if the process is dead, and the exception that it sent."""
        try:
            kind, value = self.pipe.recv()
        except OSError as error:
            raise EOFError from error
        self.asked, self.heard = self.asked and kind == "ready", time.monotonic()
        if kind == "error":
            raise value
        return kind, value

    def kill(self) -> None:
        """End the process, if there is one, whatever it is at."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()
            self.pipe.close()

    def bury(self) -> int | None:
        """The exit code of a process that is dead, or that closed its pipe and is killed now (None)."""
        process = self._process
        assert process is not None
        process.join(timeout=DYING)
        code = process.exitcode
        self.kill()
        return code


def told(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "no exit code"
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"
