"""The page's gallery: input, reconstruction, difference, domain mask, edits and truth of the first images."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from invbench.api import Edit
from invbench.reports.query import Run
from invbench.util.files import write_atomic
from invbench.util.images import png_bytes, read_png

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
    """Sources of ``<img>`` for files of the run: relative links from the page's folder, or data URLs."""

    def __init__(self, root: Path, page: Path, *, inline: bool) -> None:
        self.root, self.page, self.inline = root.resolve(), page.resolve(), inline

    def source(self, path: Path) -> str | None:
        """A link to a picture, or a data URL with its bytes. None if the file is missing or lies outside the run folder."""
        if not self._inside(path):
            return None
        if self.inline:
            return _data(png_bytes(path))
        return quote(os.path.relpath(path.resolve(), self.page).replace(os.sep, "/"))

    def difference(self, original: Path, inversion: Path) -> str | None:
        """The amplified absolute difference of two pictures of equal size; written beside the page unless inlined."""
        if not (self._inside(original) and self._inside(inversion)):
            return None
        a, b = (_read(path).astype(np.int16) for path in (original, inversion))
        if a.shape != b.shape:
            return None
        buffer = io.BytesIO()
        Image.fromarray(np.minimum(np.abs(a - b) * AMPLIFIED, 255).astype(np.uint8)).save(buffer, format="PNG")
        if self.inline:
            return _data(buffer.getvalue())
        target = self.page / "difference" / inversion.parent.name / inversion.name
        write_atomic(target, buffer.getvalue())
        return self.source(target)

    def _inside(self, path: Path) -> bool:
        return path.is_file() and path.resolve().is_relative_to(self.root)


def panels(run: Run, board: pd.DataFrame, pictures: Pictures, *, count: int) -> list[Panel]:
    """The first ``count`` images of each dataset in the dataset's order, methods in the order of the leaderboard."""
    failed = run.rows[run.rows["edit"].isna() & (run.rows["status"] != "ok")]
    reasons = {(row.method, row.preset, row.dataset, row.image): str(row.reason) for row in failed.itertuples()}
    found: dict[tuple[str, str], Panel] = {}
    asked: dict[str, set[Edit]] = {}  # every method has the same columns, even for edits that it was not asked for
    for cell in run.plan["cells"].values():
        edits = {Edit(edit["name"], float(edit["strength"])) for edit in cell["edits"]}
        asked[cell["dataset"]] = asked.get(cell["dataset"], set()) | edits
    for row in board.to_dict("records"):
        id = f"{row['method']}.{row['preset']}.{row['dataset']}"
        cell = run.plan["cells"][id]
        for image in sorted(cell["images"], key=lambda one: one["index"])[:count]:
            key = (row["dataset"], image["name"])
            if key not in found:
                found[key] = Panel(*key, pictures.source(run.store.input(*key)), _truth(run, pictures, asked[key[0]], *key))
            reason = reasons.get((row["method"], row["preset"], *key), "")
            found[key].strips.append(_strip(run, pictures, id, asked[key[0]], row, image["name"], reason))
    return list(found.values())


def size(run: Run) -> int | None:
    """Height in pixels of the run's pictures, from the first input; None if there is no input."""
    for cell in run.plan["cells"].values():
        for image in cell["images"]:
            path = run.store.input(cell["dataset"], image["name"])
            if path.is_file():
                return _read(path).shape[0]
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


def _read(path: Path) -> np.ndarray:
    """The picture as RGB, uint8 [H, W, 3]; a grey picture gets three equal channels."""
    picture = read_png(path)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
