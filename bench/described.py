"""The shapes of ``plan.json``, ``manifest.json`` and ``edit_sets.json``; another shape is one line that names the place.

Keys that older runs lack, or that only the run itself needs, may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invbench.util.provenance import digest
from invbench.util.shapes import ANY, COUNT, FLAG, INDEX, NULL, NUMBER, PLAIN, TEXT, Each, Maybe, one_of

_EDIT = {"name": TEXT, "strength": NUMBER}
_IMAGE = {"name": TEXT, "index": INDEX, "sha256": TEXT | NULL, "reason?": TEXT, "pixels?": INDEX, "key?": TEXT}
_CELL = {
    "method": TEXT,
    "preset": TEXT,
    "dataset": TEXT,
    "edits": Each(list, _EDIT),
    "images": Each(list, _IMAGE),
    "options?": Each(dict, ANY),
    "stepwise?": FLAG,
    "joint?": FLAG,
    "recipe?": TEXT,
    "batch?": COUNT,
    "consistency?": Each(list, _EDIT),
}
PLAN = {"suite": TEXT, "cells": Each(dict, _CELL)}

_NOTES = Each(dict, TEXT | NULL)
_FACTS = Each(dict, PLAIN)
_METHOD = {
    "title?": TEXT,
    "family?": TEXT,
    "paper?": TEXT,
    "venue?": TEXT,
    "embedder?": TEXT,
    "precision?": TEXT,
    "compile?": TEXT,
    "roles?": Each(list, TEXT),
    "options?": Each(dict, ANY),
}
_METRIC = {
    "id": TEXT,
    "kind": one_of("inversion", "edit", "set", "round_trip"),
    "title?": TEXT,
    "better?": one_of("lower", "higher", "none"),
    "unit?": TEXT,
    "range?": TEXT,
    "summary?": TEXT,
    "recipe?": TEXT,
    "protocol?": TEXT,
    "edits?": Each(list, TEXT),
    "roles?": Each(list, TEXT),
    "needs?": Each(list, TEXT),
}
_NAMED = {
    "unit?": TEXT,
    "per_strength?": NUMBER | NULL,
    "strengths?": Each(list, NUMBER),
    "compare_at?": Each(list, NUMBER),
    "region?": Each(list, TEXT),
}
_MACHINE = {"memory?": NUMBER | NULL, "cores?": PLAIN, "device?": PLAIN, "processor?": PLAIN, "system?": PLAIN, "gpu?": PLAIN}
_CALL = {
    "command?": TEXT | NULL,
    "started?": TEXT | NULL,
    "finished?": TEXT | NULL,
    "seed?": PLAIN,
    "configuration?": Maybe(_NOTES),
    "workers?": COUNT | NULL,
    "seconds?": Maybe(Each(dict, NUMBER)),
    "work?": Maybe(Each(dict, NUMBER)),
    "machine?": Maybe(_MACHINE),
    "machines?": Maybe(Each(list, _MACHINE)),
    "versions?": Maybe(_NOTES),
    "git?": Maybe(_FACTS),
}
MANIFEST = {
    "metrics": Each(dict, _METRIC),
    "methods?": Each(dict, _METHOD),
    "edits?": Each(dict, _NAMED),
    "suite?": {"id?": TEXT, "title?": TEXT},
    "protocols?": Each(dict, {"recipe?": TEXT, "title?": TEXT, "source?": TEXT}),
    "unavailable?": _NOTES,
    "metric_failures?": Each(dict, {"count": INDEX, "reason": TEXT}),
    "weights?": Each(dict, {"file?": TEXT | NULL, "sha256?": TEXT | NULL}),
    "datasets?": Each(dict, {}),
    "configuration?": _NOTES,
    "versions?": _NOTES,
    "git?": _FACTS,
    "machine?": _MACHINE,
    "machines?": Each(list, _MACHINE),
    "seconds?": Each(dict, NUMBER),
    "workers?": COUNT | NULL,
    "seed?": PLAIN,
    "started?": TEXT | NULL,
    "finished?": TEXT | NULL,
    "command?": TEXT | NULL,
    "precision?": TEXT | NULL,
    "protocol?": PLAIN,
    "work?": Each(dict, NUMBER),
    "runs?": Each(list, _CALL),
}

_SET = {
    "dataset": TEXT,
    "method": TEXT,
    "preset": TEXT,
    "form": TEXT,
    "edit": TEXT,
    "direction": NUMBER,
    "strength": NUMBER,
    "value": NUMBER | NULL,
    "originals": INDEX,
    "edits": INDEX,
    "features": INDEX,
    "reason": TEXT | NULL,
}
EDIT_SETS = {
    "forms": Each(dict, {"title": TEXT, "recipe": TEXT}),
    "without": Each(dict, TEXT),
    "rows": Each(list, _SET),
    "sources": Each(dict, Each(list, TEXT)),
    "pictures?": Each(dict, TEXT),
}


def pictures_digest(cell: Mapping[str, Any]) -> str:
    """Digest of what the pictures of a cell of ``plan.json`` are made from: recipe, images, sources of directions."""
    images = [(image["name"], image["sha256"], image.get("key")) for image in cell["images"]]
    return digest([cell.get("recipe"), images, cell.get("directions")])
