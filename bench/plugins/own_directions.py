"""Sources of edit directions that a user fitted or added: files under ``INVBENCH_HOME/directions/SUITE/``.

    NAME.safetensors   a network of directions, as those of the zoo
    NAME.json          its record: class, sha256, where it comes from, figures
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from invbench.util.cache import home

PREFIX = "directions_"  # of the role of a source's network
LINEAR = "invbench.methods.directions.positions:EditDirections"
NAME = r"[a-z0-9][a-z0-9_-]*"  # of a source


def folder(suite: str) -> Path:
    """Where the sources of a suite are kept; the folder may not exist yet."""
    return home() / "directions" / suite


def tables(suite: str) -> dict[str, dict[str, Any]]:
    """Role -> table of the network, for each source of a user in the suite.

    A record that cannot be read stops nobody who does not use the source: its network then says what is wrong with it.
    """
    found = {}
    for path in sorted(folder(suite).glob("*.json")):
        if re.fullmatch(NAME, path.stem):
            found[PREFIX + path.stem] = {"class": class_of(path), "weights": str(path.with_suffix(".safetensors"))}
    return found


def class_of(path: Path) -> str:
    """The class of a source by its record; that of linear directions if it cannot be read."""
    try:
        named = json.loads(path.read_text(encoding="utf-8"))["class"]
    except (OSError, ValueError, KeyError, TypeError):
        named = None
    return named if isinstance(named, str) and re.fullmatch(r"[\w.]+:\w+", named) else LINEAR
