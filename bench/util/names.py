"""The message for an unknown name, and the folder of the package. Imports nothing heavy."""

from __future__ import annotations

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
