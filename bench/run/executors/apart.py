"""Calls of plug-ins for a verb that is no run, in a process of their own: what ends it, or hangs, costs a line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from invbench.api import InvbenchError
from invbench.run.executors import worker
from invbench.run.executors.lane import DYING, told
from invbench.util.errors import portable
from invbench.util.startup import processes

Held = TypeVar("Held")
Answer = TypeVar("Answer")
Given = ParamSpec("Given")


class Apart(Generic[Held]):
    """A process for ``with``, started by the first call and again by the one after a call that ended it.

    opened  called in the process; what its context gives is the first argument of every call
    limit   seconds that a call may take, the opening included where it is the first
    here    make the calls in this process, as a debugger needs it; then nothing bounds them
    """

    def __init__(self, opened: Callable[[], AbstractContextManager[Held]], *, limit: float, here: bool) -> None:
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
        """What the function gives. Raises what it raises, and InvbenchError if it ends its process or takes too long."""
        if self._here:
            return function(self._value, *given, **named)
        if self._process is None:
            self._start()
        try:
            self._pipe.send((function, given, named))
            if not self._pipe.poll(self._limit):
                self._end(dying=0)
                raise InvbenchError(f"it took more than {self._limit:g} s")
            ended, value = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise InvbenchError(f"it ended its process with {told(self._end())}") from None
        if ended:
            raise value
        answer: Answer = value
        return answer

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


def _serve(pipe: Connection, opened: Callable[[], AbstractContextManager[Any]]) -> None:
    with opened() as held:
        while True:
            function, given, named = pipe.recv()
            try:
                answer = False, function(held, *given, **named)
            except (Exception, GeneratorExit, SystemExit) as error:
                answer = True, portable(error)
            pipe.send(answer)
