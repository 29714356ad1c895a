"""The rows of external pictures: each is read, compared in size with its original, stored as PNG, or refused with a reason."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invbench import schema
from invbench.api import Edit, InvbenchError, printable
from invbench.plugins.registry import load_callable
from invbench.run import external_folder
from invbench.run.plan import Cell, Entry
from invbench.run.session import Tools
from invbench.run.shard import Row
from invbench.store import Part
from invbench.util.files import write_all
from invbench.util.images import encode_png
from invbench.util.provenance import digest


@dataclass(frozen=True)
class Rows:
    """The rows of the cell that a folder of pictures is. ``sizes``: (height, width) in pixels of usable originals, by index."""

    cell: Cell
    folder: external_folder.Folder
    tools: Tools
    sizes: Mapping[int, tuple[int, ...]]

    def batches(self) -> Iterator[list[Entry]]:
        """The images of the cell in groups of one size, each at most a batch."""
        for first in range(0, len(self.cell.entries), self.cell.batch):
            alike: dict[tuple[int, ...] | None, list[Entry]] = defaultdict(list)
            for entry in self.cell.entries[first : first + self.cell.batch]:
                alike[self.sizes.get(entry.index)].append(entry)
            yield from alike.values()

    def parts(self, entries: Sequence[Entry], known: Mapping[str, Part]) -> tuple[list[Part], Part]:
        """The rows of some images: those still to be evaluated, and those that failed."""
        name = f"{entries[0].index:06d}-{digest(self.cell.keys(entries))[:12]}"
        failed = f"{name}-failed"
        if name in known and all(self.tools.store.stands(row, self.cell.id) for row in known[name].rows):
            return [known[name]], known.get(failed, Part(failed, [], {}))
        rows = list(self._rows(entries))
        good, bad = ([row for row in rows if (row["status"] == "ok") is ok] for ok in (True, False))
        return ([Part(name, good, {})] if good else []), Part(failed, bad, {})

    def _rows(self, entries: Sequence[Entry]) -> Iterator[Row]:
        pictures = {}
        for entry in entries:
            inverted = ""
            for edit in (None, *self.cell.edits):
                path, picture, reason = self._picture(entry, edit)
                if edit is None:
                    inverted = reason
                elif inverted and not reason:
                    reason = f"no reconstruction to compare the edit with: {inverted}"
                row = _row(self.tools.suite, self.cell, entry, edit, reason=reason, path=path)
                if not reason and picture is not None:
                    data = encode_png(picture)
                    pictures[self.tools.store.picture(self.cell.id, entry.name, edit)] = data
                    row["picture"] = hashlib.sha256(data).hexdigest()
                yield row
        write_all(pictures)

    def _picture(self, entry: Entry, edit: Edit | None) -> tuple[Path | None, np.ndarray | None, str]:
        if entry.sha256 is None:
            return None, None, entry.reason
        path, reason = self.folder.pick(edit, entry.name)
        if path is None:
            return None, None, reason
        try:
            picture = load_callable("invbench.datasets.decode:decode")(path)
        except InvbenchError as error:
            return path, None, str(error)
        original = self.tools.datasets[self.cell.dataset].read(entry.index).picture
        if picture.shape != original.shape:
            (height, width), (h, w) = original.shape[:2], picture.shape[:2]
            return path, None, f"{path}: expected {width}x{height} pixels as the original, found {w}x{h}; nothing is resized"
        return path, picture, ""


def _row(suite: str, cell: Cell, entry: Entry, edit: Edit | None, *, reason: str, path: Path | None) -> Row:
    row: Row = {
        "key": cell.key(entry, edit),
        "recipe": cell.recipe,
        "suite": suite,
        "method": cell.method,
        "preset": cell.preset,
        "dataset": cell.dataset,
        "image": entry.name,
        "index": entry.index,
        "status": "failed" if reason else "ok",
        "batch": 0,
    }
    if edit is not None:
        row |= {"edit": edit.name, "strength": float(edit.strength)}
    if reason:
        row["reason"] = printable(reason, lines=True)
    elif path is not None:
        row[schema.JPEG] = float(external_folder.is_jpeg(path))
    return row
