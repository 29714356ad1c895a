"""Edit consistency: edit, invert the edited picture, edit back, and see how far that is from where it began.

e4e (Tov et al., SIGGRAPH 2021) calls it latent editing consistency; omertov/encoder4editing, metrics/LEC.py. For an image whose
inversion gave the latents w and the reconstruction y, an edit d of strength s:

    y+ = edit(inversion, +s), quantised as every picture is     w2 = latents of invert(y+)     w' = w2 - s d
    y' = edit(invert(y+), -s), quantised

A method that knows where its own edits lead comes back: w' = w and y' = y. It costs a second inversion of every image, so a run
does it only when it is asked to. Differences from the script: y+ is quantised (the script feeds back the float picture), and
outliers are images, where the script trims means of batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import Edit, Inversion, Method, MetricSpec
from invbench.run import calls
from invbench.util.clock import StageClock
from invbench.util.images import dequantise, quantise
from invbench.util.provenance import digest

VERSION = 1  # raised whenever the measures themselves change

Move = Callable[[Tensor, Edit], Tensor]


def _spec(name: str, title: str, unit: str, summary: str, reference: str) -> MetricSpec:
    where = {"entry": "invbench.run.round_trips:measures", "kind": "consistency", "better": "lower", "range": "[0, inf)"}
    about = {"title": title, "unit": unit, "summary": summary, "reference": reference}
    return MetricSpec(id=f"{name}@native", **where, **about)  # type: ignore[arg-type]


SPECS = (
    _spec(
        "consistency_w",
        "Edit consistency in W+",
        "length in W+",
        "There and back: mean over layers of the length of w - w'.",
        "omertov/encoder4editing: metrics/LEC.py, with another norm and without trimming",
    ),
    _spec(
        "consistency_lec",
        "Edit consistency in W+, norm of the script",
        "length in W+",
        "There and back: length of w - w' over all layers together; grows with the number of layers.",
        "omertov/encoder4editing: metrics/LEC.py",
    ),
    _spec(
        "consistency_mse",
        "Edit consistency in pictures",
        "squared intensity, black to white = 2",
        "There and back: MSE on [-1, 1] between the picture edited back and the first reconstruction.",
        "none: a measure of this harness",
    ),
)


@dataclass(frozen=True)
class Trip:
    """latents [N, L, D] of w', or None where nobody knows how the method moves latents; pictures uint8 [N, H, W, 3] of y'."""

    latents: Tensor | None
    pictures: np.ndarray


def mover(method: Method, directions: Any) -> Move | None:
    """How a method's edits move its latents [N, L, D]: by its own ``move_latents(latents, edit)`` where it has one, else as the
    suite's directions do; None where the method does not use these."""
    own = getattr(method, "move_latents", None)
    return own if own is not None else getattr(directions, "move", None)


def there_and_back(method: Method, inversion: Inversion, edit: Edit, clock: StageClock, *, move: Move | None) -> Trip:
    """From N inversions to where edit, inversion and inverse edit lead. Raises ValueError for output that cannot be used."""
    there = dequantise(quantise(calls.edit(method, inversion, edit, clock)), inversion.images.device)
    second = calls.invert(method, there, clock)
    inverse = Edit(edit.name, -edit.strength)
    pictures = quantise(calls.edit(method, second, inverse, clock))
    with torch.no_grad():
        return Trip(None if move is None else move(second.latents, inverse), pictures)


def measures(latents: Tensor, pictures: np.ndarray, trip: Trip) -> dict[str, np.ndarray]:
    """float64 [N] by the ids of SPECS, NaN where a trip has no latents.

    latents   [N, L, D] of the first inversion
    pictures  uint8 [N, H, W, 3], the first reconstruction
    """
    difference = (pictures.astype(np.float64) - trip.pictures.astype(np.float64)) / 127.5
    mse = np.square(difference).mean(axis=(1, 2, 3))
    by_layer = whole = np.full(len(pictures), np.nan)
    if trip.latents is not None:
        lengths = torch.linalg.vector_norm(latents.double() - trip.latents.double(), dim=2).cpu().numpy()  # [N, L]
        by_layer, whole = lengths.mean(axis=1), np.sqrt(np.square(lengths).sum(axis=1))
    return {spec.id: values for spec, values in zip(SPECS, (by_layer, whole, mse), strict=True)}


def describe() -> dict[str, dict[str, Any]]:
    """SPECS as the manifest has metrics."""
    return {spec.id: asdict(spec) | {"recipe": digest({"spec": asdict(spec), "version": VERSION})} for spec in SPECS}
