"""Standard streams that are open, accept every text, and show control characters instead of executing them."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TextIO

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""All control characters except tab, newline and carriage return (progress bars need it), and marks of text direction."""


def prepare() -> None:
    """Make the three standard streams of this process safe; call it before any other code opens a file.

    A closed stream becomes the null device; otherwise the next opened file would take its number and receive all printed text.
    Characters that the encoding lacks are replaced. Control characters, which file names may contain, are written as
    ``\\x1b``.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout, sys.stderr = _safe(sys.stdout, 1), _safe(sys.stderr, 2)


def escaped(text: str) -> str:
    """The text with its control characters written as ``\\x1b``."""
    return CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def drop(number: int) -> None:
    """Redirect the file descriptor ``number`` to the null device, so that its last flush raises no error.

    Used for a stream whose reader has closed the pipe, or whose disk is full.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number)
    os.close(null)


class _Plain(io.TextIOWrapper):
    def write(self, text: str) -> int:
        super().write(escaped(text))
        return len(text)


def _safe(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):  # a stream that a caller has put in place
        return stream
    encoding, lines = stream.encoding, stream.line_buffering
    stream.flush()
    return _Plain(stream.detach(), encoding=encoding, errors="replace", line_buffering=lines)
