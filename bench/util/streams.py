"""Standard streams as a program of ours needs them: open, able to take every text, and deaf to control characters of names."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TextIO

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""All control characters but tab, newline and carriage return (bars need it), and what turns the direction of text."""


def prepare() -> None:
    """Make the three streams of this process safe; call it before anything else opens a file.

    A closed stream becomes the null device (else the next file that is opened takes its number, and what is printed goes into
    it). What an encoding lacks is replaced. Control characters, as names from strange folders may hold, are written as
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
    """Let a stream whose reader is gone, or whose disk is full, lead to the null device, so that its last flush is quiet."""
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
    if not isinstance(stream, io.TextIOWrapper):  # somebody's own stream
        return stream
    encoding, lines = stream.encoding, stream.line_buffering
    stream.flush()
    return _Plain(stream.detach(), encoding=encoding, errors="replace", line_buffering=lines)
