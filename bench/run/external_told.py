"""The lines that a call on external pictures ends with: what was left out, what failed, and what was not measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from invbench import schema
from invbench.api import printable
from invbench.run.external_folder import Folder
from invbench.store import Part

Reasons = Mapping[tuple[str, str], Sequence[str]]  # (what of an image, reason) -> the images that failed by it


def shared(reason: str, roots: Sequence[Any]) -> str:
    """A reason without the path of its picture below ``roots``, so that images with the same reason are reported together."""
    known = "|".join(re.escape(printable(root, lines=True)) for root in roots if root)
    return re.sub(rf"({known})/.*?: ", "", reason) if known else reason


def lines(
    folder: Folder, parts: Sequence[Part], *, images: int, reasons: Reasons, failures: Mapping[str, Any]
) -> Iterator[str]:
    """All lines of a folder but the last. ``failures``: of the scorer, by metric; ``images``: how many were asked for."""
    for line in folder.strange:
        yield f"left out: {line}"
    if folder.beyond:
        yield f"left out: {folder.beyond} pictures of images beyond the first {images}"
    for (label, reason), failed in reasons.items():
        yield f"failed: {label} of {len(failed)}: {', '.join(failed)}: {reason}"
    rows = [row for part in parts for row in part.rows]
    jpeg = sum(row.get(schema.JPEG, 0.0) == 1.0 for row in rows)
    if jpeg:
        yield f"{jpeg} of {len(rows)} pictures are JPEG: their compression is part of the scores"
    yield from _not_measured(parts, images=images)
    owed = {id for part in parts for id in part.failures}
    for id, note in failures.items():
        if id not in owed:
            yield f"metric {id} failed on {note['count']} images: {note['reason']}"


def _not_measured(parts: Sequence[Part], *, images: int) -> Iterator[str]:
    """One line for all images that the same metrics could not be computed on, for the same reasons."""
    alike: dict[tuple[tuple[str, str], ...], dict[str, None]] = {}
    for part in parts:
        if part.failures:
            without = alike.setdefault(tuple(sorted(part.failures.items())), {})
            without.update(dict.fromkeys(row["image"] for row in part.rows))
    for failures, names in alike.items():
        by_reason: dict[str, list[str]] = {}
        for id, reason in failures:
            by_reason.setdefault(reason, []).append(id)
        told = "; ".join(f"{', '.join(ids)} ({reason})" for reason, ids in by_reason.items())
        yield f"left out: {len(names)} of {images} images ({', '.join(names)}) by {len(failures)} metrics: {told}"
