"""Names that a user writes: lists of them, folders among them, those that do not exist. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

PACKAGE = Path(str(files("invbench")))  # sources, suites, weights, lists; always files on a disk, never in an archive


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for an unknown name, one sentence: the name, the nearest known name, and all known names."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {str(name)!r}{hint} (known: {', '.join(names) or 'none'})"


def listed(text: str) -> tuple[str, ...]:
    """``a,b,c`` -> ("a", "b", "c"). Commas in the name of an existing folder (the longest) do not separate."""
    pieces, names = text.split(","), list[str]()
    while pieces:
        taken = next((n for n in range(len(pieces), 0, -1) if _existing_folder(",".join(pieces[:n]))), 0)
        names.append(",".join(pieces[:taken]) if taken else pieces[0].strip())
        pieces = pieces[max(taken, 1) :]
    return tuple(filter(None, names))


def says_folder(name: str) -> bool:
    """Whether a name means a folder: names of datasets have no slash."""
    return "/" in name or name in (".", "..", "~")


def is_folder(name: str) -> bool:
    """Whether a name means a folder, and one of exactly this name exists."""
    return says_folder(name) and os.path.isdir(os.path.expanduser(name))


def _existing_folder(item: str) -> bool:
    """Whether an item is such a folder, or NAME:COUNT with one."""
    name, colon, count = item.rpartition(":")
    return is_folder(item) or bool(colon) and count.isdecimal() and is_folder(name)


def signed(strength: float) -> str:
    """A strength with its sign, for file names: "+3", "-1.5". Different numbers give different texts."""
    short = f"{strength:+g}"
    return short if float(short) == strength else f"{strength:+}"
