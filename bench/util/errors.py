"""The one place where an exception that leaves a verb becomes one line and one exit code."""

from __future__ import annotations

import errno
import pickle
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

from invbench.api import InvbenchError, printable
from invbench.util import interrupts
from invbench.util.files import WriteFailed

SETUP_ERROR, WRITE_ERROR, UNFORESEEN, INTERRUPTED, CLOSED_PIPE = 2, 3, 70, 130, 141
"""Exit codes with the same meaning in every verb; each verb defines 0 and 1. docs/exit_codes.md lists them."""
DISK = {
    *(errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EIO),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EMFILE, errno.ENFILE, errno.EBUSY, errno.ELOOP),
    getattr(errno, "EDQUOT", errno.ENOSPC),  # Windows does not define it
}
"""Errors of a disk that is full, read-only, without permission, or that cannot store a name."""
KEPT = "finished work is kept, the same command (without --fresh) continues it"
HALTED = f"interrupted; {KEPT}"
LONGEST_PATH = 200  # characters of a path in a message
LONGEST = 2000  # characters of a message


def told(error: BaseException) -> tuple[int, str]:
    """The exit code of an exception and the line for the user; the line is "" if the reader closed the pipe."""
    if _interrupted(error):
        return INTERRUPTED, HALTED
    if isinstance(error, WriteFailed):
        return WRITE_ERROR, f"invbench: error: {cut(str(error))}"
    if isinstance(error, InvbenchError):
        return SETUP_ERROR, f"invbench: error: {cut(str(error))}"
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return CLOSED_PIPE, ""
    if isinstance(error, OSError) and error.errno in DISK:
        where = cut(printable(error.filename or "output"), LONGEST_PATH)
        return WRITE_ERROR, f"invbench: error: {where}: {error.strerror or error}"
    what = cut(" ".join(printable(error, lines=True).split()) or "no message")
    return UNFORESEEN, f"invbench: unforeseen error: {_place(error)}{type(error).__name__}: {what} (--debug shows where from)"


def halted(error: WriteFailed | KeyboardInterrupt) -> int:
    """Print why a run ended whose finished work is kept. Returns the exit code."""
    code, line = told(error)
    print(line if line == HALTED else f"{line}\n{KEPT}", file=sys.stderr)
    return code


def cut(text: str, longest: int = LONGEST) -> str:
    """``text`` cut to about ``longest`` characters; a cut text states the length of the whole."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def portable(error: BaseException) -> Exception:
    """The exception itself if it is an Exception that another process can rebuild, else an InvbenchError with its text."""
    try:
        rebuilt = pickle.loads(pickle.dumps(error))
        if isinstance(rebuilt, Exception) and type(rebuilt) is type(error) and str(rebuilt) == str(error):
            return rebuilt
    except Exception:  # classes with arguments of their own raise anything
        pass
    return InvbenchError(f"{type(error).__name__}: {error}")


def trace(error: BaseException) -> str:
    """The traceback of an exception as text, for ``--debug``."""
    return "".join(traceback.format_exception(error))


def _interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is the cause: a library that is interrupted while it loads may raise another exception."""
    return interrupts.noted() or any(isinstance(one, KeyboardInterrupt | click.Abort) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _place(error: BaseException) -> str:
    """``file:line: `` of the innermost frame in a plug-in or in this project, not in a library."""
    libraries = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    ours = Path(__file__).resolve().parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        folders = Path(frame.filename).resolve().parents
        compiled = not frame.filename.endswith(".py")  # "<string>", or compiled source of a library
        if ours in folders or not (compiled or libraries.intersection(folders)):
            return f"{printable(frame.filename)}:{frame.lineno}: "
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""


def tell(error: BaseException, *, debug: bool) -> int:
    """Print the line of an exception to standard error, with ``debug`` after its traceback. Returns the exit code."""
    code, line = told(error)
    if debug:
        print(trace(error), file=sys.stderr, end="")
    if line:
        print(line, file=sys.stderr)
    return code
