"""Calls of plug-ins for a verb that is no run, in a process of their own: what ends it, or hangs, costs a line."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from threading import Lock
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from invbench.api import InvbenchError
from invbench.run.executors import worker
from invbench.run.executors.lane import DYING, told
from invbench.util import streams
from invbench.util.errors import portable
from invbench.util.startup import processes

Held = TypeVar("Held")
Answer = TypeVar("Answer")
Given = ParamSpec("Given")
LONGEST = 1800.0  # seconds that the probe of a method may take


class Gone(InvbenchError):
    """A call ended its process, or took too long."""


class Apart(Generic[Held]):
    """A process for ``with``, started by the first call and again by the one after a call that ended it.

    opened  called in the process; what its context gives is the first argument of every call
    limit   seconds that a call may take, the opening included where it is the first; None: no limit
    here    make the calls in this process, as a debugger needs it; then nothing bounds them

    What a call writes to the standard output is written to this process's.
    """

    def __init__(self, opened: Callable[[], AbstractContextManager[Held]], *, limit: float | None, here: bool) -> None:
        self._opened, self._limit, self._here = opened, limit, here
        self._held: AbstractContextManager[Held] | None = None
        self._value: Held
        self._process: BaseProcess | None = None
        self._pipe: Connection

    def __enter__(self) -> Apart[Held]:
        if self._here:
            self._held = self._opened()
            self._value = self._held.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._held is not None:
            self._held.__exit__(kind, error, trace)
        self._end(dying=0)

    def call(self, function: Callable[Concatenate[Held, Given], Answer], *given: Given.args, **named: Given.kwargs) -> Answer:
        """What the function gives. Raises what it raises, and Gone if it ends its process or takes too long."""
        if self._here:
            return function(self._value, *given, **named)
        if self._process is None:
            self._start()
        until = None if self._limit is None else time.monotonic() + self._limit
        kind, value = self._answer((function, given, named), until)
        while kind == "said":
            sys.stdout.write(value)
            sys.stdout.flush()
            kind, value = self._answer(None, until)
        if kind == "error":  # while what is held was opened
            self._end()
        if kind in ("raised", "error"):
            raise value
        answer: Answer = value
        return answer

    def _answer(self, asked: Any, until: float | None) -> tuple[str, Any]:
        """Send what is asked, if anything, and take the next message. Raises Gone."""
        try:
            if asked is not None:
                self._pipe.send(asked)
            if not self._pipe.poll(None if until is None else max(0.0, until - time.monotonic())):
                self._end(dying=0)
                raise Gone(f"it took more than {self._limit:g} s")
            message: tuple[str, Any] = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise Gone(f"it ended its process with {told(self._end())}") from None
        return message

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        self._process = processes().Process(target=worker.main, args=(theirs, _serve, self._opened), name="apart")
        self._process.start()
        theirs.close()

    def _end(self, dying: float = DYING) -> int | None:
        """End the process, if there is one, after ``dying`` seconds. Returns its exit code; None if it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.join(timeout=dying)
        code = process.exitcode
        process.kill()
        process.join()
        self._pipe.close()
        return code


def alone(work: Callable[[], Answer], plugins: Sequence[str], *, here: bool) -> Answer:
    """``work()``, in a process of its own unless ``here``, if any ``plugins`` take part in it: their names, for a message.

    ``work`` is a function of a module, or a :func:`functools.partial` of one. Raises what it raises, and InvbenchError with the
    names if it ends its process.
    """
    with Apart(nullcontext, limit=None, here=here or not plugins) as apart:
        try:
            return apart.call(_do, work)
        except Gone as error:
            raise InvbenchError(f"{' or '.join(plugins)}: {error}") from None


@contextmanager
def blamed(whose: str) -> Iterator[None]:
    """Let every exception of a ``with`` block around calls of a plug-in be an InvbenchError that names it."""
    try:
        yield
    except InvbenchError as error:
        if str(error).startswith(whose.partition(" ")[0]):  # "method mine: ..." says it already
            raise
        raise InvbenchError(f"{whose}: {error}") from error
    except (Exception, GeneratorExit, SystemExit) as error:
        raise InvbenchError(f"{whose}: {type(error).__name__}: {error}") from error


def _do(held: None, work: Callable[[], Answer]) -> Answer:
    return work()


class _Said(io.TextIOBase):
    """A standard output that is sent through a pipe."""

    def __init__(self, send: Callable[[tuple[str, Any]], None]) -> None:
        self._send = send

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # click asks by writing bytes whether a stream takes them
            raise TypeError(f"expected text, found {type(text).__name__}")
        self._send(("said", text))
        return len(text)


def _serve(pipe: Connection, opened: Callable[[], AbstractContextManager[Any]]) -> None:
    one_at_a_time = Lock()

    def send(message: tuple[str, Any]) -> None:
        with one_at_a_time:
            pipe.send(message)

    streams.prepare()
    with redirect_stdout(_Said(send)), opened() as held:
        while True:
            function, given, named = pipe.recv()
            try:
                answer = "gave", function(held, *given, **named)
            except (Exception, GeneratorExit, SystemExit) as error:
                answer = "raised", portable(error)
            try:
                send(answer)
            except Exception as error:  # an answer that cannot be pickled
                send(("raised", portable(error)))
