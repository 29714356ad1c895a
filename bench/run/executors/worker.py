"""The worker process: it takes requests from a pipe, does tasks on a bench of its own and tells what it is doing.

Requests are ("batch", method), ("estimate", (method, batch)) and ("task", :class:`Order`). Messages are ("ready", seconds since
the start, by purpose), ("batch", images), ("estimate", :class:`invbench.run.estimate.Estimate` or None), ("stage", name),
("began", call), ("ended", whether it succeeded), ("done", :class:`invbench.run.work.Done`) and ("error", exception).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from invbench.plugins.config import MethodChoice, RunSettings
from invbench.run import estimate
from invbench.run.calls import Ended, Outgrown, Watch
from invbench.run.estimate import Estimate
from invbench.run.session import Session
from invbench.run.work import Bench, Done, Place, Task
from invbench.util.errors import portable
from invbench.util.memory import keep_freed_memory

STAGES_APART = 0.2  # seconds between two messages about stages; they are for the eye
FIRST_TO_GO = "1000"  # Linux: where memory is short the system ends a worker, not the run


@dataclass(frozen=True)
class Order:
    """A task, calls that it may not make (:class:`invbench.run.calls.Watch`), methods that are broken, and known ``fits``."""

    task: Task
    refused: Mapping[Hashable, Ended | Outgrown]
    broken: Mapping[Place, str]
    fits: Mapping[tuple[str, str], int]


def main(pipe: Connection, serve: Callable[..., None], *asked: Any) -> None:
    """The process: ``serve(pipe, *asked)`` until the pipe is closed; an exception is sent as the message "error"."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent decides
    Thread(target=_end_with_parent, name="parent", daemon=True).start()
    with suppress(OSError):  # not Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    keep_freed_memory()
    with suppress(EOFError, OSError):
        try:
            serve(pipe, *asked)
        except Exception as error:
            told = portable(error)
            told.add_note(traceback.format_exc())
            pipe.send(("error", told))


def serve(pipe: Connection, settings: RunSettings, device: str, workers: int, started: float) -> None:
    """Do the tasks of a run. ``started``: when the parent asked for the process, in seconds since the epoch."""
    with Session.of(settings, device=device, workers=workers) as session:
        bench = Bench.open(settings, session, workers=workers)
        pipe.send(("ready", (time.time() - started, session.ledger.taken())))
        while True:
            kind, asked = pipe.recv()
            if kind == "batch":
                pipe.send(("batch", bench.batches([asked])[asked.id, asked.preset]))
            elif kind == "estimate":
                choice, batch = asked
                pipe.send(("estimate", _estimate(settings, session, choice, batch)))
            else:
                pipe.send(("done", _do(asked, bench, session, pipe)))


def _estimate(settings: RunSettings, session: Session, choice: MethodChoice, batch: int) -> Estimate | None:
    if choice.foreign is not None:  # a command is not started for an estimate
        return None
    try:
        return estimate.of(settings, choice, session, batch=batch)
    except Exception:  # of a method, whose tasks tell it; or it does not fit as a whole batch
        return None


def _do(order: Order, bench: Bench, session: Session, pipe: Connection) -> Done:
    began, last = time.monotonic(), 0.0

    def on_stage(name: str) -> None:
        nonlocal last
        if time.monotonic() - last > STAGES_APART:
            last = time.monotonic()
            pipe.send(("stage", name))

    watch = Watch(lambda call: pipe.send(("began", call)), lambda succeeded: pipe.send(("ended", succeeded)), order.refused)
    bench.fits |= order.fits
    bench.break_methods(order.broken)
    result = bench.do(order.task, on_stage=on_stage, watch=watch)
    return Done(
        order.task,
        result,
        fits=dict(bench.fits),
        failures=bench.take_failures(),
        seconds=session.ledger.taken(),
        busy=time.monotonic() - began,
    )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
