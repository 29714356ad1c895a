"""Pictures between two pictures: what each method draws from interpolated inversions of both.

A method with ``interpolate(a, b, t) -> Inversion`` says itself what lies between two of its inversions (weights as well as
latents, for example); for one without, latents are interpolated linearly where they alone make its pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invbench.api import InvbenchError, Inversion, Method, Sample
from invbench.data import sources
from invbench.plugins.config import MethodChoice, RunSettings, Suite
from invbench.plugins.registry import Registry, strangers
from invbench.plugins.selection import choose_datasets
from invbench.run import calls, inversions
from invbench.run.executors.apart import Apart, blamed
from invbench.run.session import Session
from invbench.util.clock import StageClock
from invbench.util.images import dequantise, quantise

Between = Callable[[Inversion, Inversion, float], Inversion]
GAP = 4  # white pixels between pictures
WHITE = 255
SAME = 1e-3  # largest difference of two drawings of one inversion, on [-1, 1]


@dataclass(frozen=True)
class Row:
    """One method's pictures uint8 [H, W, 3] at ``shares`` from 0 (the first picture's inversion) to 1 (the second's)."""

    label: str
    shares: Sequence[float]
    pictures: Sequence[np.ndarray]


def find_picture(where: str, suite: Suite, registry: Registry) -> Sample:
    """A picture file, or DATASET/NAME. Raises InvbenchError if there is neither, or it does not have the suite's size."""
    path = Path(where).expanduser()
    if path.is_file():
        dataset = sources.open_dataset(choose_datasets(suite, [f"{path.parent}/"], registry, images=None)[0].spec)
        paths: Sequence[str] = getattr(dataset, "paths")  # noqa: B009 - a folder has it, other datasets have not
        if path.name not in paths:
            raise InvbenchError(f"{path}: expected a picture, found a file of another kind")
        return _sized(dataset.read(paths.index(path.name)), suite, where)
    id, slash, name = where.rpartition("/")
    if not slash or id not in {*suite.datasets, *registry.brought}:
        raise InvbenchError(f"{where}: expected a picture file or DATASET/NAME, found neither")
    dataset = sources.open_dataset(registry.datasets[id])
    if name not in dataset.names:
        near = ", ".join(dataset.names[:3])
        raise InvbenchError(f"{where}: {id} has no picture {name!r}; expected a name such as {near}")
    return _sized(dataset.read(list(dataset.names).index(name)), suite, where)


def draw(
    settings: RunSettings, registry: Registry, wheres: Sequence[str], *, count: int, here: bool = False
) -> tuple[list[Sample], list[Row]]:
    """The two pictures named by ``wheres``, and ``count`` pictures (2 or more) of each method of the settings between them.

    Plug-ins that are not of this package work in a process of their own, or ``here``. Raises InvbenchError for a picture that
    there is not, a method whose pictures cannot be interpolated, and where a method fails or ends its process.
    """
    brought = [registry.datasets[id] for where in wheres if (id := where.rpartition("/")[0]) in registry.brought]
    here = here or not (strangers(brought) or settings.strangers())
    opened = partial(Session, settings.suite, device=settings.device, readers=0)
    pair, rows = [], []
    with Apart(opened, limit=None, here=here) as apart:
        for where in wheres:
            with blamed(f"dataset {where.rpartition('/')[0]}"):
                pair.append(apart.call(_find, where, settings.suite, registry))
        for choice in settings.methods:
            with blamed(f"method {choice.id}:{choice.preset}"):
                rows.append(apart.call(row, choice, pair, count=count))
    return pair, rows


def _find(session: Session, where: str, suite: Suite, registry: Registry) -> Sample:
    return find_picture(where, suite, registry)


def row(session: Session, choice: MethodChoice, pair: Sequence[Sample], *, count: int) -> Row:
    """``count`` pictures of a method between two samples."""
    images = dequantise(np.stack([sample.picture for sample in pair]), session.device)
    shares = [float(share) for share in np.linspace(0, 1, count)]
    method = session.method(choice)
    with StageClock(session.device) as clock:
        inverted = calls.invert(method, images, clock)
    first, second = (inversions.select(inverted, [i]) for i in range(2))
    between = between_of(method, choice, session, inverted)
    drawn = [between(first, second, share).images for share in shares]
    return Row(f"{choice.id}:{choice.preset}", shares, list(quantise(torch.cat(drawn))))


def between_of(method: Method, choice: MethodChoice, session: Session, inverted: Inversion) -> Between:
    """How a method interpolates. Raises InvbenchError where its pictures need more than latents and it does not say how."""
    own: Between | None = getattr(method, "interpolate", None)
    if own is not None:
        return own
    generator: Any = session.networks["generator"]

    def latents_only(a: Inversion, b: Inversion, share: float) -> Inversion:
        latents = torch.lerp(a.latents, b.latents, share)
        with torch.no_grad():
            return Inversion(latents, generator.synthesis(latents))

    whole = latents_only(inverted, inverted, 0.0) if inverted.latents.shape[1] == generator.num_ws else None
    if whole is None or not torch.allclose(whole.images, inverted.images, rtol=0, atol=SAME):
        raise InvbenchError(f"method {choice.id}: its pictures need more than latents, and it has no interpolate(a, b, t)")
    return latents_only


def strip(pair: Sequence[Sample], found: Sequence[Row]) -> np.ndarray:
    """One picture uint8 [H, W, 3]: a line for each row, its pictures between the two originals."""
    lines = [joined([pair[0].picture, *row.pictures, pair[1].picture], axis=1) for row in found]
    return joined(lines, axis=0)


def joined(pictures: Sequence[np.ndarray], *, axis: int) -> np.ndarray:
    """Pictures of equal shape beside each other (axis 1) or below each other (0), a gap between them."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, WHITE, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=axis)


def _sized(sample: Sample, suite: Suite, where: str) -> Sample:
    height, width = suite.picture_size
    if sample.picture.shape[:2] != (height, width):
        found = sample.picture.shape
        raise InvbenchError(f"{where}: suite {suite.id}: expected {width}x{height} pixels, found {found[1]}x{found[0]}")
    return sample

