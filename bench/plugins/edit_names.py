"""Names of edits as a user writes them: NAME, NAME@SOURCE, sums of them, each with a strength or without."""

from __future__ import annotations

import math
from collections.abc import Iterable

from invbench.api import SOURCE, SUM, Edit, InvbenchError, plain_edit
from invbench.plugins.config import EditConfig, Suite
from invbench.plugins.registry import find
from invbench.util.names import unknown


def parsed(suite: Suite, items: Iterable[str]) -> tuple[Edit, ...]:
    """The edits of a run, each once. Raises InvbenchError for an unknown name, and for a strength that is no finite number."""
    edits: list[Edit] = []
    for item in items:
        if item == "none":
            continue
        name, colon, strength = item.partition(":")
        name, usual = named_edit(suite, name)
        try:
            strengths = [float(strength)] if colon else usual
        except ValueError:
            strengths = [math.nan]
        if not all(map(math.isfinite, strengths)):
            whole = f"; a sum has one strength for all its parts, after its last: {name}:3" if SUM in item else ""
            raise InvbenchError(f"edit {item!r}: expected NAME or NAME:STRENGTH, for example {name}:3{whole}")
        if not strengths:
            raise InvbenchError(f"edit {item!r}: its parts have no strength in common: expected one, for example {name}:3")
        edits += [Edit(name, value) for value in strengths]
    return tuple(dict.fromkeys(edits))


def named_edit(suite: Suite, name: str) -> tuple[str, list[float]]:
    """The name of an edit or of a sum (``smile+eye_openness``) as rows have it, and the strengths of a run that names none.

    Of a sum these are the strengths that all its parts have. Raises InvbenchError for an unknown part, and for one named twice.
    """
    parts = [part.strip() for part in name.split(SUM)]
    known = [find_edit(suite, part).strengths for part in parts]
    plain = [plain_edit(part) for part in parts]
    twice = next((part for part in plain if plain.count(part) > 1), None)
    if twice is not None:
        raise InvbenchError(f"edit {name!r}: expected each edit of a sum once, found {twice} twice")
    return SUM.join(parts), [strength for strength in known[0] if all(strength in one for one in known)]


def find_edit(suite: Suite, name: str) -> EditConfig:
    """The suite's record of an edit, ``age`` or ``age@ganspace``. Raises InvbenchError for an unknown attribute or source."""
    attribute, at, source = name.partition(SOURCE)
    config = find("edit", attribute, suite.edits)
    if at and source not in suite.sources:
        raise InvbenchError(f"edit {name!r}: suite {suite.id}: {unknown('source of directions', source, suite.sources)}")
    return config
