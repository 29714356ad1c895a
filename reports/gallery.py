"""The page's gallery: input, reconstruction, difference, domain mask, edits and truth of the first images."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from invbench.api import Edit, InvbenchError
from invbench.reports.query import Run
from invbench.store import Store, file_digest
from invbench.util.files import write_atomic
from invbench.util.images import png_bytes

AMPLIFIED = 4  # factor on |input - reconstruction| in the gallery; the product is clipped at white


@dataclass(frozen=True)
class Strip:
    """One method's pictures of one image; a source is None if there is no picture. ``reason`` is the cause of a failure."""

    label: str
    inversion: str | None
    difference: str | None
    mask: str | None
    edits: dict[str, list[tuple[float, str | None]]]  # edit -> (strength, source), by strength
    reason: str = ""


@dataclass
class Panel:
    """One image of a dataset with the strips of all methods and the dataset's truth."""

    dataset: str
    image: str
    source: str | None
    truth: Strip | None = None
    strips: list[Strip] = field(default_factory=list)

    @property
    def masks(self) -> bool:
        """Whether any strip, or the truth, has a domain mask."""
        return any(strip.mask for strip in self.strips) or bool(self.truth and self.truth.mask)


class Pictures:
    """Sources of ``<img>`` for files of the run: relative links from the page's folder, or data URLs.

    ``left_out`` collects the files, by their paths in the run folder, that are not those that the run wrote.
    """

    def __init__(self, store: Store, page: Path, *, inline: bool) -> None:
        self.store, self.root, self.page, self.inline = store, store.path.resolve(), page.resolve(), inline
        self.left_out: list[str] = []
        self._expected: dict[Path, tuple[str | None, bool]] = {}
        self._known: dict[Path, bool] = {}

    def expect(self, path: Path, digest: str | None, *, pixels: bool = False) -> None:
        """Name the sha256 that a file must have, of its bytes or its ``pixels``; None: it only has to be readable."""
        self._expected[path] = digest, pixels

    def source(self, path: Path) -> str | None:
        """A link to a picture, or a data URL with its bytes. None if it is missing, changed, or outside the run folder."""
        if not self._shown(path):
            return None
        if self.inline:
            return _data(png_bytes(path))
        return quote(os.path.relpath(path.resolve(), self.page).replace(os.sep, "/"))

    def difference(self, original: Path, inversion: Path) -> str | None:
        """The amplified absolute difference of two pictures of equal size; written beside the page unless inlined."""
        if not (self._shown(original) and self._shown(inversion)):
            return None
        a, b = (_read(self.store, path).astype(np.int16) for path in (original, inversion))
        if a.shape != b.shape:
            return None
        buffer = io.BytesIO()
        Image.fromarray(np.minimum(np.abs(a - b) * AMPLIFIED, 255).astype(np.uint8)).save(buffer, format="PNG")
        if self.inline:
            return _data(buffer.getvalue())
        target = self.page / "difference" / inversion.parent.name / inversion.name
        write_atomic(target, buffer.getvalue())
        return self.source(target)

    def _shown(self, path: Path) -> bool:
        return path.is_file() and path.resolve().is_relative_to(self.root) and self._unchanged(path)

    def _unchanged(self, path: Path) -> bool:
        if path not in self._known:
            digest, pixels = self._expected.get(path, (None, True))
            found = self.store.pixel_digest(path) if pixels or digest is None else file_digest(path)
            self._known[path] = found is not None and digest in (None, found)
            if not self._known[path]:
                self.left_out.append(path.relative_to(self.store.path).as_posix())
        return self._known[path]


def panels(run: Run, board: pd.DataFrame, pictures: Pictures, *, count: int) -> list[Panel]:
    """The first ``count`` images of each dataset in the dataset's order, methods in the order of the leaderboard."""
    failed = run.rows[run.rows["edit"].isna() & (run.rows["status"] != "ok")]
    reasons = {(row.method, row.preset, row.dataset, row.image): str(row.reason) for row in failed.itertuples()}
    found: dict[tuple[str, str], Panel] = {}
    asked: dict[str, set[Edit]] = {}  # every method has the same columns, even for edits that it was not asked for
    for cell in run.plan["cells"].values():
        edits = {Edit(edit["name"], float(edit["strength"])) for edit in cell["edits"]}
        asked[cell["dataset"]] = asked.get(cell["dataset"], set()) | edits
    shown = {image["name"] for cell in run.plan["cells"].values() for image in _first(cell, count)}
    for row in run.rows[run.rows["image"].isin(shown) & (run.rows["status"] == "ok")].to_dict("records"):
        cell, edit = f"{row['method']}.{row['preset']}.{row['dataset']}", None
        if isinstance(row["edit"], str):
            edit = Edit(row["edit"], row["strength"])
        pictures.expect(run.store.picture(cell, row["image"], edit), _text(row["picture"]))
        if _text(row["mask"]):
            pictures.expect(run.store.mask(cell, row["image"]), row["mask"])
    for dataset in asked:
        for place, digest in run.store.truths(dataset).items():
            pictures.expect(run.store.path / place, digest, pixels=True)
    for row in board.to_dict("records"):
        id = f"{row['method']}.{row['preset']}.{row['dataset']}"
        cell = run.plan["cells"][id]
        for image in _first(cell, count):
            key = (row["dataset"], image["name"])
            pictures.expect(run.store.input(*key), image["sha256"], pixels=True)
            if key not in found:
                found[key] = Panel(*key, pictures.source(run.store.input(*key)), _truth(run, pictures, asked[key[0]], *key))
            reason = reasons.get((row["method"], row["preset"], *key), "")
            found[key].strips.append(_strip(run, pictures, id, asked[key[0]], row, image["name"], reason))
    return list(found.values())


def _first(cell: Mapping[str, Any], count: int) -> list[Mapping[str, Any]]:
    return sorted(cell["images"], key=lambda one: one["index"])[:count]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def size(run: Run) -> int | None:
    """Height in pixels of the run's pictures, from the first input; None if there is no input."""
    for cell in run.plan["cells"].values():
        for image in cell["images"]:
            path = run.store.input(cell["dataset"], image["name"])
            with suppress(InvbenchError):  # another one will do
                return _read(run.store, path).shape[0]
    return None


def _truth(run: Run, pictures: Pictures, asked: Iterable[Edit], dataset: str, image: str) -> Strip | None:
    """The true mask and the true edits of an image; None if the run folder holds neither."""
    mask = pictures.source(run.store.truth_mask(dataset, image))
    edits = _edits(asked, lambda edit: pictures.source(run.store.truth(dataset, image, edit)))
    known = mask is not None or any(source for strips in edits.values() for _, source in strips)
    return Strip("truth", None, None, mask, edits) if known else None


def _edits(asked: Iterable[Edit], source: Callable[[Edit], str | None]) -> dict[str, list[tuple[float, str | None]]]:
    found: dict[str, list[tuple[float, str | None]]] = {}
    for edit in sorted(asked, key=lambda one: (one.name, one.strength)):
        found.setdefault(edit.name, []).append((edit.strength, source(edit)))
    return found


def _strip(
    run: Run, pictures: Pictures, id: str, asked: Iterable[Edit], row: Mapping[str, Any], image: str, reason: str
) -> Strip:
    inversion = run.store.picture(id, image)
    edits = _edits(asked, lambda edit: None if reason else pictures.source(run.store.picture(id, image, edit)))
    if reason:
        return Strip(run.label(row["method"], row["preset"]), None, None, None, edits, reason)
    return Strip(
        run.label(row["method"], row["preset"]),
        pictures.source(inversion),
        pictures.difference(run.store.input(row["dataset"], image), inversion),
        pictures.source(run.store.mask(id, image)),
        edits,
    )


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _read(store: Store, path: Path) -> np.ndarray:
    """The picture as RGB, uint8 [H, W, 3]; a grey picture gets three equal channels."""
    picture = store.read_picture(path)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
