"""From factors to pictures, parsing maps and out-of-domain masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .extras import Extras, draw_objects, draw_pattern
from .factors import check_factors, edit_factors, physical
from .portrait import LABEL, draw_portrait
from .shapes import SIZE, Canvas

CHUNK = 32  # pictures drawn together: larger batches fall out of the cache


@dataclass(frozen=True)
class Rendered:
    """images uint8 [N,64,64,3] RGB; parsing uint8 [N,64,64] (indices of PARSING_CLASSES); ood_mask bool [N,64,64]."""

    images: np.ndarray
    parsing: np.ndarray
    ood_mask: np.ndarray


def render(u: np.ndarray, *, extras: Sequence[Extras | None] | None = None) -> Rendered:
    """Render faces.

    u: [N, K] in [0, 1] (rounded to 1/4096); extras: N out-of-domain extras, None for pictures without. The mask holds
    exactly the pixels that differ from the same picture without extras. In the parsing map "left" is the viewer's left;
    hat, microphone, hand and earrings are `occluder`, a patterned background stays `background`.
    Raises ValueError on a wrong shape, values outside [0, 1], or another number of extras than N.
    """
    u = check_factors(u)
    if extras is not None and len(extras) != len(u):
        raise ValueError(f"extras: expected one entry a picture ({len(u)}), found {len(extras)}")
    out = Rendered(
        np.empty((len(u), SIZE, SIZE, 3), np.uint8),
        np.empty((len(u), SIZE, SIZE), np.uint8),
        np.zeros((len(u), SIZE, SIZE), bool),
    )
    for start in range(0, len(u), CHUNK):
        part = slice(start, min(start + CHUNK, len(u)))
        values = {name: value[:, None, None] for name, value in physical(u[part]).items()}
        canvas, background = draw_portrait(values)
        out.images[part] = _quantise(_compose(canvas, background))
        out.parsing[part] = canvas.labels
        for i, extra in enumerate(extras[part] if extras is not None else ()):
            if extra is not None:
                _add_extras(out, start + i, canvas, background, i, extra)
    return out


def render_edited(u: np.ndarray, name: str, strength: float, *, extras: Sequence[Extras | None] | None = None) -> Rendered:
    """The true edited picture: `edit_factors`, then `render`; the extras stay as they are."""
    return render(edit_factors(u, name, strength), extras=extras)


def _compose(canvas: Canvas, background: np.ndarray) -> np.ndarray:
    return canvas.rgb + background * (np.float32(1) - canvas.coverage)


def _quantise(rgb: np.ndarray) -> np.ndarray:
    """float32 [3,N,H,W] in [0, 1] to uint8 [N,H,W,3], halves upwards."""
    levels = np.floor(np.clip(rgb, np.float32(0), np.float32(1)) * np.float32(255) + np.float32(0.5))
    return np.moveaxis(levels.astype(np.uint8), 0, -1)


def _add_extras(out: Rendered, index: int, canvas: Canvas, background: np.ndarray, row: int, extras: Extras) -> None:
    one = Canvas(1)
    one.rgb[:] = canvas.rgb[:, row : row + 1]
    one.coverage[:] = canvas.coverage[row]
    one.labels[:] = canvas.labels[row]
    behind = background[:, row : row + 1] if extras.pattern is None else draw_pattern(extras.pattern)
    one.rgb[:] = _compose(one, behind)
    one.coverage[:] = 1
    draw_objects(one, extras, LABEL["occluder"])
    picture = _quantise(one.rgb)[0]
    out.ood_mask[index] = (picture != out.images[index]).any(axis=-1)
    out.images[index] = picture
    out.parsing[index] = one.labels[0]
