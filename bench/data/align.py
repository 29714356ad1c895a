"""``invbench datasets align``: photographs -> faces cropped as in FFHQ, a contact sheet and a list of faceless pictures."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from invbench.api import InvbenchError, printable
from invbench.plugins.registry import load_class
from invbench.util.files import write_all, write_atomic
from invbench.util.images import encode_png
from invbench.util.progress import Progress

DETECTOR = "invbench.metrics.nets.face_detector:FaceDetector"
CROP = "invbench.datasets.align:FaceCrop"
FOLDER = "invbench.datasets.folder:Folder"
SEEN = 1280  # pixels of the longer side of the detector's input: enough for small faces, in less than 1 s per picture
THUMBNAIL = 200  # pixels of the longer side
TABLE, SHEET, FACELESS = "align.csv", "contact_sheet.html", "no_face.txt"


@dataclass(frozen=True)
class Row:
    """The result of one photograph. ``scale``: pixels of the result per pixel of the photograph; above 1 it is enlarged."""

    file: str
    name: str
    status: str  # "ok", "no face", "failed"
    faces: int = 0
    probability: float = 0.0
    scale: float = 0.0
    reason: str = ""


def align(source: Path, target: Path, *, size: int, device: str = "cpu", progress: bool = True) -> list[Row]:
    """Write ``target/NAME.png`` with the largest face of each picture under ``source`` that has one, and TABLE, SHEET and
    FACELESS beside them.

    Raises InvbenchError if the source holds no picture, or the target holds files that no earlier call wrote.
    """
    _check_target(target)
    folder = load_class(FOLDER)(source)
    crop = load_class(CROP)(size)
    detector = load_class(DETECTOR)().eval().to(device)
    rows, cells = [], []
    with Progress(enabled=progress) as bar:
        bar.begin(len(folder.names))
        bar.cell(f"align to {size}")
        for note in folder.notes:
            bar.say(note)
        for index, name in enumerate(folder.names):
            row, thumbnail = _one(folder, index, name, crop, detector, target)
            bar.done(1)
            if row.status != "ok":
                bar.say(f"{row.file}: {row.status}{f': {row.reason}' if row.reason else ''}")
            rows.append(row)
            cells.append(_cell(row, thumbnail))
    faceless = "".join(f"{row.file}\n" for row in rows if row.status == "no face")
    write_all(
        {
            target / TABLE: _table(rows),
            target / SHEET: _sheet(rows, cells, size).encode(),
            target / FACELESS: faceless.encode(),
        }
    )
    return rows


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise InvbenchError(f"{target}: expected a folder, found a file")
    if target.is_dir() and any(target.iterdir()) and not (target / TABLE).exists():
        raise InvbenchError(f"{target}: expected an empty folder or one of an earlier call, found files and no {TABLE}")


def _one(folder: Any, index: int, name: str, crop: Any, detector: Any, target: Path) -> tuple[Row, bytes]:
    """One photograph: its row, and a thumbnail (JPEG bytes; empty if it could not be read)."""
    file = printable(folder.paths[index])
    try:
        picture = folder.read(index).picture
    except InvbenchError as error:
        return Row(file, name, "failed", reason=str(error)), b""
    try:
        faces, points, probability = _largest(detector, picture)
        if not faces:
            return Row(file, name, "no face"), _thumbnail(picture, None)
        corners = crop.corners(points)
        write_atomic(target / f"{name}.png", encode_png(crop.cut(picture, corners)))
    except InvbenchError as error:
        return Row(file, name, "failed", reason=str(error)), _thumbnail(picture, None)
    scale = crop.size / float(np.hypot(*(corners[3] - corners[0])))
    return Row(file, name, "ok", faces, round(probability, 4), round(scale, 3)), _thumbnail(picture, corners)


def _largest(detector: Any, picture: np.ndarray) -> tuple[int, np.ndarray, float]:
    """The number of faces, and the five points (in the photograph's pixels) and the probability of the largest."""
    height, width = picture.shape[:2]
    factor = min(1.0, SEEN / max(height, width))
    seen = picture
    if factor < 1:
        smaller = (max(round(width * factor), 1), max(round(height * factor), 1))
        seen = np.array(Image.fromarray(picture).resize(smaller, Image.Resampling.BILINEAR))
    found = detector.landmarks(seen[None])[0]
    if not len(found.points):
        return 0, np.empty((5, 2)), 0.0
    left, top, right, bottom = found.boxes.T
    best = int(((right - left) * (bottom - top)).argmax())
    return len(found.points), found.points[best] * [width / seen.shape[1], height / seen.shape[0]], found.probabilities[best]


def _thumbnail(picture: np.ndarray, corners: np.ndarray | None) -> bytes:
    image = Image.fromarray(picture)
    factor = THUMBNAIL / max(image.size)
    image = image.resize((max(round(image.width * factor), 1), max(round(image.height * factor), 1)))
    if corners is not None:
        path = [(float(x) * factor, float(y) * factor) for x, y in [*corners, corners[0]]]
        ImageDraw.Draw(image).line(path, fill=(255, 220, 0), width=2)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _table(rows: Sequence[Row]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return buffer.getvalue().encode()


def _cell(row: Row, thumbnail: bytes) -> str:
    shown = f'<img alt="photograph" src="data:image/jpeg;base64,{base64.b64encode(thumbnail).decode()}">' if thumbnail else ""
    if row.status == "ok":
        shown += f'<img alt="face" loading="lazy" height="{THUMBNAIL}" src="{html.escape(row.name, quote=True)}.png">'
    more = f", the largest of {row.faces} faces" if row.faces > 1 else ""
    note = f"scale {row.scale:.2f}{more}" if row.status == "ok" else f"{row.status}{f': {row.reason}' if row.reason else ''}"
    kind = row.status.replace(" ", "-")
    return f'<figure class="{kind}">{shown}<figcaption>{html.escape(row.file)}<br>{html.escape(note)}</figcaption></figure>'


def _sheet(rows: Sequence[Row], cells: Sequence[str], size: int) -> str:
    good = sum(row.status == "ok" for row in rows)
    order = sorted(range(len(rows)), key=lambda index: rows[index].status == "ok")  # problems come first
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Aligned faces</title>
<style>
:root {{ color-scheme: light dark; font: 14px system-ui, sans-serif }}
main {{ display: flex; flex-wrap: wrap; gap: 12px }}
figure {{ margin: 0; padding: 8px; border: 1px solid #8884; border-radius: 6px }}
figure.no-face, figure.failed {{ border-color: #d33 }}
figcaption {{ max-width: {2 * THUMBNAIL}px; overflow-wrap: anywhere }}
</style>
<h1>{good} of {len(rows)} pictures aligned to {size} x {size}</h1>
<p>The frame is the crop. A scale above 1 means that the face was enlarged. Pictures without a face come first.</p>
<main>
{"".join(cells[index] + chr(10) for index in order)}</main>
</html>
"""
