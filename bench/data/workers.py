"""Calls on the pictures of a dataset in worker processes: ordered results, bounded prefetch, isolated errors.

Each worker builds the dataset itself and has one pipe. Call n goes to worker n modulo their number, so the order needs no
bookkeeping, and if a worker dies the picture that killed it is known: that call fails, and a new worker does the rest.
A worker ends when its parent is gone, since its pipe is then closed.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

from invbench.api import InvbenchError
from invbench.data.sources import Opening
from invbench.util.errors import portable
from invbench.util.startup import cores, processes

MOST = 8  # most workers by default: with more, decoding is seldom the bottleneck
DEATHS = 3  # after so many deaths in a row the pictures are not the cause: the other calls fail without new workers
POLL = 0.1  # seconds between checks whether the results are still wanted


def default_workers() -> int:
    """The cores that this process may use minus one, at least 1 and at most MOST."""
    return max(1, min(cores() - 1, MOST))


class Calls:
    """``getattr(dataset, method)(index)`` for each of ``indices``: iterate for (value, error) in their order.

    how      builds the dataset in each worker
    workers  processes, at least 1
    ahead    largest number of finished results that wait to be taken; each worker holds up to one more

    An exception in a call is the error of its picture, and so is the death of the worker during the call.
    Close it (or use ``with``) to end the workers early.
    """

    def __init__(self, how: Opening, method: str, indices: Sequence[int], *, workers: int, ahead: int) -> None:
        self._how, self._method, self._indices = how, method, indices
        self._count = min(max(1, workers), len(indices))
        self._results: Queue[tuple[Any, Exception | None]] = Queue(maxsize=max(1, ahead))
        self._stop = Event()
        self._taken = 0
        self._thread = Thread(target=self._feed, name="pictures", daemon=True)
        self._thread.start()

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Any, Exception | None]]:
        while self._taken < len(self._indices):
            yield self.take()

    def take(self) -> tuple[Any, Exception | None]:
        """The next result; waits for it. Raises IndexError if all were taken."""
        if self._taken == len(self._indices):
            raise IndexError("all results were taken")
        self._taken += 1
        while True:
            try:
                return self._results.get(timeout=1)
            except Empty:
                if not self._thread.is_alive() and self._results.empty():
                    return None, InvbenchError("the reading of pictures ended unexpectedly")

    def waiting(self) -> int:
        """Number of results that are finished and not taken."""
        return self._results.qsize()

    def close(self) -> None:
        """End the workers; results that were not taken are lost."""
        self._stop.set()
        self._thread.join()

    def _feed(self) -> None:
        own = [self._indices[first :: self._count] for first in range(self._count)]
        lanes = [_Lane(self._how, self._method, indices) for indices in own]
        try:
            for place in range(len(self._indices)):
                result = lanes[place % self._count].next(self._stop)
                while not self._stop.is_set():
                    try:
                        self._results.put(result, timeout=POLL)
                        break
                    except Full:
                        continue
                if self._stop.is_set():
                    return
        finally:
            for lane in lanes:
                lane.close()


class _Lane:
    """One worker and its calls, of which at most two are sent to it at a time."""

    def __init__(self, how: Opening, method: str, indices: Sequence[int]) -> None:
        self._how, self._method = how, method
        self._left, self._sent = deque(indices), deque[int]()
        self._deaths = 0  # in a row
        self._start()

    def next(self, stop: Event) -> tuple[Any, Exception | None]:
        """The result of the first open call; (None, None) if ``stop`` is set meanwhile."""
        self._send()
        try:
            while not self._pipe.poll(POLL):
                if stop.is_set():
                    return None, None
            ok, value = self._pipe.recv()
            self._deaths = 0
        except (EOFError, OSError):
            ok, value = False, self._died()
        self._sent.popleft()
        self._send()
        return (value, None) if ok else (None, value)

    def close(self) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        self._process = processes().Process(target=_work, args=(theirs, self._how, self._method), daemon=True)
        self._process.start()
        theirs.close()
        with suppress(OSError):  # the next recv finds a worker that is dead already
            for index in self._sent:
                self._pipe.send(index)

    def _send(self) -> None:
        while self._left and len(self._sent) < 2:
            self._sent.append(self._left.popleft())
            with suppress(OSError):
                self._pipe.send(self._sent[-1])

    def _died(self) -> InvbenchError:
        self._pipe.close()
        self._process.join()
        code = self._process.exitcode
        self._deaths += 1
        index = self._sent.popleft()
        if self._deaths < DEATHS:
            self._start()
        self._sent.appendleft(index)
        return InvbenchError(f"picture {index}: the process that read it ended with exit code {code}")


def _work(pipe: Connection, how: Opening, method: str) -> None:
    """The loop of a worker until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent decides
    try:
        call, broken = getattr(how.open(), method), None
    except Exception as error:  # reported for every picture: the parent may have opened the dataset without an error
        call, broken = None, error
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            index = pipe.recv()
            try:
                if call is None:
                    raise broken or RuntimeError("no dataset")
                answer = (True, call(index))
            except Exception as error:
                answer = (False, portable(error))
            pipe.send(answer)
