"""What a person sees of a run: bars on a terminal, one line a batch elsewhere."""

from __future__ import annotations

import os
import sys

from tqdm import tqdm

from invbench.util.errors import cut


class Progress:
    """Counts images over all cells; ``stage`` and ``done`` may be called often, they are cheap."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._bars = enabled and _columns() > 0
        self._lines = enabled and not self._bars
        self._total, self._count, self._cell, self._rate = 0, 0, "", ""
        self._bar: tqdm | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, total: int) -> None:
        """Start counting to ``total`` images, over all cells."""
        self._total = total
        if self._bars:
            self._bar = tqdm(total=total, unit="image", file=sys.stderr, dynamic_ncols=True)

    def cell(self, name: str) -> None:
        """Name the cell that begins now."""
        self._cell = name
        if self._bar is not None:
            self._bar.set_description(name)

    def stage(self, name: str) -> None:
        """The stage that begins now."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{name} {self._rate}")

    def done(self, images: int, *, seconds: float | None = None, failed: int = 0) -> None:
        """``images`` more are finished; ``seconds`` is the method's time for each, None where nothing was computed."""
        self._count += images
        if seconds is not None:
            self._rate = f"{seconds:.2f} s/image"
            if self._lines:
                trouble = f", {failed} failed rows" if failed else ""
                self.say(f"{self._cell}: {self._count}/{self._total} images, {self._rate}{trouble}")
        if self._bar is not None:
            self._bar.update(images)

    def say(self, line: str) -> None:
        """A line of its own, above the bar. A long one is cut; what it quotes is whole in the run folder."""
        line = cut(line)
        if self._bars:
            tqdm.write(line, file=sys.stderr)
        elif self._lines:
            print(line, file=sys.stderr, flush=True)


def _columns() -> int:
    """Columns of the terminal on standard error; 0 where it is none, or one that tells no width."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    except (OSError, ValueError):
        return 0
