"""What a person sees of a run: bars on a terminal, one line a batch elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from invbench.util.errors import cut
from invbench.util.streams import escaped

ALL = "all"


class Pace:
    """How long what is left will take: each part at its own rate, in wall seconds, so that workers side by side count.

    The time between two results belongs to the part of the second one.
    """

    def __init__(self, images: Mapping[str, int], *, now: float) -> None:
        self.left = dict(images)
        self._seconds: dict[str, float] = {}
        self._images: dict[str, int] = {}
        self._last = now

    def done(self, part: str, images: int, *, now: float, computed: bool) -> None:
        """``images`` more of a part are finished; ``computed`` is False for those that were there already."""
        self.left[part] = self.left.get(part, 0) - images
        if computed:
            self._seconds[part] = self._seconds.get(part, 0.0) + now - self._last
            self._images[part] = self._images.get(part, 0) + images
        self._last = now

    def rate(self, part: str) -> float | None:
        """Wall seconds an image of a part; None if none of its images was computed yet."""
        return self._seconds[part] / self._images[part] if self._images.get(part) else None

    def eta(self, part: str) -> str:
        """The time that a part will still take, as text; empty if its rate is not known."""
        rate = self.rate(part)
        return "" if rate is None else f"{duration(rate * self.left[part])} left"

    def eta_of_all(self) -> str:
        """The same of all parts; "at least" where some with images left have no rate yet."""
        rates = {part: self.rate(part) for part, left in self.left.items() if left > 0}
        known = sum(rate * self.left[part] for part, rate in rates.items() if rate is not None)
        if not known:
            return ""
        return f"{'at least ' if None in rates.values() else ''}{duration(known)} left"


def duration(seconds: float) -> str:
    """Seconds as text: "48 s", "3:20 min", "2:05 h"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02d} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02d} h"


class Progress:
    """Counts images over all cells; ``stage`` and ``done`` may be called often, they are cheap.

    On a terminal: a bar for all images, one for each method that has begun, with its own rate and the time that it will
    still take, and the stage and step of the batch at hand. Colours follow NO_COLOR.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._stream: TextIO | None = _terminal() if enabled else None
        self._lines = enabled and self._stream is None
        self._total, self._count, self._cell, self._method = 0, 0, "", ""
        self._pace = Pace({}, now=0.0)
        self._tasks: dict[str, TaskID] = {}
        self._console = Console(file=self._stream, highlight=False, markup=False) if self._stream else None
        self._bars: Bars | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
        if self._stream is not None:
            self._stream.close()

    def begin(self, total: int, *, methods: Mapping[str, int] | None = None) -> None:
        """Start counting to ``total`` images, over all cells; ``methods``: how many of them each method has."""
        self._total = total
        self._pace = Pace(methods or {ALL: total}, now=time.monotonic())
        if self._console is not None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("images"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[rest]}", markup=False),
            )
            self._bars = Bars(
                *columns, console=self._console, redirect_stdout=False, redirect_stderr=False, refresh_per_second=5
            )
            self._bars.start()
            self._tasks[ALL] = self._bars.add_task(ALL, total=total, rest="")

    def cell(self, name: str, *, method: str = ALL) -> None:
        """Name the cell that the next results are of, and its method as in :meth:`begin`."""
        self._cell, self._method = name, method
        if self._bars is not None and method == ALL:
            self._bars.update(self._tasks[ALL], description=escaped(name))
        elif self._bars is not None and method not in self._tasks:
            left = self._pace.left.get(method, 0)
            self._tasks[method] = self._bars.add_task(escaped(method), total=left, rest="")

    def stage(self, name: str) -> None:
        """The stage that begins now, or the step within it."""
        if self._bars is not None:
            rest = ", ".join(filter(None, [self._pace.eta_of_all(), escaped(name)]))
            self._bars.update(self._tasks[ALL], rest=rest)

    def done(self, images: int, *, seconds: float | None = None, failed: int = 0) -> None:
        """``images`` more are finished; ``seconds`` is the method's time for each, None where nothing was computed."""
        self._count += images
        self._pace.done(self._method or ALL, images, now=time.monotonic(), computed=seconds is not None)
        if seconds is not None and self._lines:
            parts = [f"{self._cell}: {self._count}/{self._total} images", f"{seconds:.2f} s/image"]
            parts += [f"{failed} failed rows"] if failed else []
            self.say(", ".join([*parts, *filter(None, [self._pace.eta_of_all()])]))
        if self._bars is not None:
            self._bars.update(self._tasks[ALL], advance=images, rest=self._pace.eta_of_all())
            if self._method in self._tasks and self._method != ALL:
                rate = "" if seconds is None else f"{seconds:.2f} s/image"
                rest = ", ".join(filter(None, [rate, self._pace.eta(self._method), f"{failed} failed rows" if failed else ""]))
                self._bars.update(self._tasks[self._method], advance=images, rest=rest)

    def say(self, line: str) -> None:
        """A line of its own, above the bars. A long one is cut; what it quotes is whole in the run folder."""
        line = cut(line)
        if self._console is not None:
            self._console.print(escaped(line), soft_wrap=True)
        elif self._lines:
            print(line, file=sys.stderr, flush=True)


def _terminal() -> TextIO | None:
    """A stream to the terminal on standard error; None where it is none, or one that tells no width.

    It is a stream of its own, since ``sys.stderr`` shows control characters instead of passing them on.
    """
    try:
        number = sys.stderr.fileno()
        if not sys.stderr.isatty() or os.get_terminal_size(number).columns == 0:
            return None
        return open(os.dup(number), "w", encoding=sys.stderr.encoding, errors="replace")
    except (OSError, ValueError):
        return None
