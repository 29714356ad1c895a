"""What a name that does not exist is answered with, and where the package lies. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

PACKAGE = Path(str(files("invbench")))  # sources, suites, weights, lists: files on a disk, never within an archive


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """One sentence for a name that does not exist: what was found, the nearest known name, and all that are known."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {str(name)!r}{hint} (known: {', '.join(names) or 'none'})"
