"""The digest of the folder of a command: all its files but hidden ones, caches of Python and those that are to be ignored."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from invbench.api import InvbenchError, printable
from invbench.plugins.config import MethodChoice
from invbench.plugins.foreign import Foreign
from invbench.util.files import MARK
from invbench.util.provenance import digest

CACHES = ("__pycache__",)


def folder_digest(folder: Path, ignore: Sequence[str] = (), *, out: Path | None = None) -> str:
    """sha256 over the paths and bytes of the files below ``folder``; links are followed, each folder is entered once.

    Run folders, and ``out`` which becomes one, are no part of the code. Raises InvbenchError for a file that cannot be read.
    """
    return digest([[path, _file(folder / path)] for path in sorted(_paths(folder, ignore, out))])


def recipe(one: Foreign, *, out: Path) -> dict[str, object]:
    """What of a foreign method can change its results: its files, its commands and their surroundings."""
    told = one.model_dump(include={"invert", "edit", "edits", "env"})
    return told | {"folder": folder_digest(one.folder, one.ignore, out=out)}


def expect_programs(methods: Iterable[MethodChoice]) -> None:
    """Raise InvbenchError if a command of a foreign method is not on this machine."""
    for id, one in ((choice.id, choice.foreign) for choice in methods if choice.foreign is not None):
        for key in ("invert", "edit"):
            words = getattr(one, key)
            if words and one.program(key) is None:
                raise InvbenchError(f"methods.{id}.{key}: expected a program of this machine, found {printable(words[0])!r}")


def _paths(folder: Path, ignore: Sequence[str], out: Path | None) -> Iterator[str]:
    seen = set[str]() if out is None else {os.path.realpath(out)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        inside = os.path.relpath(parent, folder)
        real = os.path.realpath(parent)
        if real in seen or MARK in names:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(one for one in folders if one not in CACHES and not _left_out(inside, one, ignore))
        yield from (os.path.normpath(os.path.join(inside, one)) for one in names if not _left_out(inside, one, ignore))


def _left_out(inside: str, name: str, ignore: Sequence[str]) -> bool:
    path = os.path.normpath(os.path.join(inside, name))
    return name.startswith(".") or any(fnmatch.fnmatch(path, pattern) for pattern in ignore)


def _file(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a device or FIFO is not opened
            return "no file"
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        return "a link to nothing"
    except OSError as error:
        raise InvbenchError(f"{path}: cannot be read, and it belongs to a method's folder: {error.strerror}") from error
