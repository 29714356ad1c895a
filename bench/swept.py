"""The file of a sweep's folder, ``sweep.json``: which points it has, and what of them its table shows.

    sweep.json      the sweep as it was asked for last
    <point>/        a run folder (:mod:`invbench.folder`), of one method on one dataset
    sweep.html      its table and plots
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.util import sealed
from invbench.util.files import write_atomic
from invbench.util.shapes import COUNT, FLAG, NULL, NUMBER, TEXT, Each, Kind, expect

FILE, PAGE = "sweep.json", "sweep.html"
SECONDS = "seconds"  # as a sweep's axis: points stand at the seconds that they took

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_NAME = Kind("a plain name", lambda value: isinstance(value, str) and _PLAIN.fullmatch(value) is not None)  # of a folder
_POINT = {
    "name": _NAME,
    "label": TEXT,
    "line": TEXT,
    "x": NUMBER | NULL,
    "method": TEXT,
    "preset": TEXT,
    "settings": Each(list, TEXT),
    "reason": TEXT,  # why it cannot be measured; empty: it can
    "printed": Each(dict, TEXT),
}
SHAPE = {
    "name": TEXT,
    "title": TEXT,
    "source": TEXT,
    "about": TEXT,
    "axis": TEXT,
    "log": FLAG,
    "suite": TEXT,
    "dataset": TEXT,
    "images": COUNT | NULL,
    "metrics": Each(list, TEXT),
    "edits": Each(list, {"name": TEXT, "strength": NUMBER}),
    "points": Each(list, _POINT),
}


def read(folder: Path) -> dict[str, Any]:
    """The content of a sweep's file. Raises InvbenchError for a folder that holds no sweep."""
    path = folder / FILE
    if not path.is_file():
        raise InvbenchError(f"{path}: expected the folder of a sweep with this file in it, found none; see `invbench sweep -h`")
    content = sealed.read_json(path, what="the plan of a sweep")
    expect(content, SHAPE, f"{path}: sweep")
    return content


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Replace the file. Raises WriteFailed."""
    write_atomic(folder / FILE, sealed.json_bytes(dict(content)))
