"""Whether Ctrl-C was pressed: a library that is interrupted may raise an error of its own, in which nothing of it is left."""

from __future__ import annotations

import signal
from types import FrameType

_noted: list[int] = []


def note() -> None:
    """From now on note SIGINT, and raise KeyboardInterrupt as before; not where the signal is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def noted() -> bool:
    """Whether the signal came."""
    return bool(_noted)


def heed() -> None:
    """Raise KeyboardInterrupt if the signal came: Python drops the exception where it meets a destructor or a callback."""
    if _noted:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _noted.append(number)
    raise KeyboardInterrupt
