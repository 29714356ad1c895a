"""The end of a program: everything is waited for and written, then the process ends with its exit code and nothing else."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from invbench.util import streams


def end(code: int, *, tell: Callable[[BaseException], int]) -> NoReturn:
    """End the process with ``code``, or with ``tell(error)`` where its last steps raise an error.

    Before that, it does what Python promises at the end: it waits for threads that are no daemons, calls the functions of
    ``atexit`` and writes the buffers of open files. It leaves out the destruction of libraries: torch, Arrow and DuckDB
    destroy their threads and memory in no certain order there, which aborted a process (SIGABRT) whose work was done, and an
    exit code that says "killed" of finished work is wrong.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls, thread pools included
        atexit._run_exitfuncs()
    except BaseException as error:  # Ctrl-C while a thread is waited for
        code = tell(error)
    _write_open_files()
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError as error:
            streams.drop(number)
            code = tell(error)
    os._exit(code)


def _write_open_files() -> None:
    """Write what waits in the buffers of files that nobody closed, text before the bytes below it."""
    standard = {id(one) for stream in (sys.stdout, sys.stderr) for one in (stream, getattr(stream, "buffer", None))}
    for kind in (io.TextIOWrapper, io.BufferedWriter):
        for one in gc.get_objects():
            if issubclass(type(one), kind) and id(one) not in standard:
                with suppress(Exception):  # closed, detached, or a full disk: the interpreter would not say so either
                    one.flush()
