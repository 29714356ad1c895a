"""The splits: fixed seeds, fixed faces, stored sha256 of every picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from .extras import Extras, sample_extras
from .factors import K as FACTOR_COUNT
from .factors import factors_from_z, sample_factors
from .render import Rendered, render

HASHES = Path(str(files("invbench.datasets.procfaces"))) / "sha256.json"


@dataclass(frozen=True)
class Recipe:
    """Seed and size of a split, and whether its pictures carry out-of-domain extras."""

    seed: int
    count: int
    ood: bool


RECIPES: dict[str, Recipe] = {
    "val": Recipe(640_001, 500, False),
    "test": Recipe(640_002, 200, False),
    "test-ood": Recipe(640_003, 200, True),
}


@dataclass(frozen=True)
class Split:
    """names and sha256 (of the raw RGB bytes): N strings; u: float64 [N, K]; extras: N entries, None in-domain."""

    names: list[str]
    u: np.ndarray
    extras: list[Extras | None]
    sha256: list[str]


def split(name: str) -> Split:
    """The faces of "val" (500), "test" (200) or "test-ood" (200), with the stored hashes of their pictures.

    Raises KeyError for another name, and ValueError if the stored hashes do not fit the split.
    """
    names, u, extras = faces(name)
    hashes = json.loads(HASHES.read_text())
    stored = hashes.get(name, [])
    if len(stored) != len(names):
        raise ValueError(f"{HASHES.name}: expected {len(names)} hashes of split {name!r}, found {len(stored)}")
    return Split(list(names), u, list(extras), list(stored))


@cache
def faces(name: str) -> tuple[tuple[str, ...], np.ndarray, tuple[Extras | None, ...]]:
    """Names, factors (read-only) and extras of a split, made from its seed."""
    if name not in RECIPES:
        raise KeyError(f"split {name!r}: expected one of {', '.join(RECIPES)} (train is rendered by train_batches)")
    recipe = RECIPES[name]
    rng = np.random.default_rng(recipe.seed)
    u = sample_factors(rng, recipe.count)
    u.setflags(write=False)
    extras = tuple(sample_extras(rng, row) if recipe.ood else None for row in u)
    return tuple(f"{name}-{i:04d}" for i in range(recipe.count)), u, extras


def render_split(name: str, indices: Sequence[int] | None = None) -> Rendered:
    """Render pictures of a split (all by default) and check each against its stored hash.

    Raises IndexError for an index outside the split, and ValueError naming the picture, the stored and the found hash
    if its bytes differ.
    """
    wanted = split(name)
    chosen = list(range(len(wanted.names))) if indices is None else [int(i) for i in indices]
    for i in chosen:
        if not 0 <= i < len(wanted.names):
            raise IndexError(f"split {name!r}: expected an index from 0 to {len(wanted.names) - 1}, found {i}")
    rendered = render(wanted.u[chosen], extras=[wanted.extras[i] for i in chosen])
    for i, image in zip(chosen, rendered.images):
        found = image_sha256(image)
        if found != wanted.sha256[i]:
            raise ValueError(f"{wanted.names[i]}: expected sha256 {wanted.sha256[i]} ({HASHES.name}), found {found}")
    return rendered


def image_sha256(image: np.ndarray) -> str:
    """sha256 of the raw bytes of a uint8 [H,W,3] picture."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def write_hashes() -> None:
    """Render every split and rewrite the stored hashes: only after a deliberate change of the renderer."""
    hashes = {}
    for name in RECIPES:
        _, u, extras = faces(name)
        hashes[name] = [image_sha256(image) for image in render(u, extras=extras).images]
    HASHES.write_text(json.dumps(hashes, indent=0) + "\n")


def train_batches(seed: int, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray, Rendered]]:
    """Endless training batches: z float64 [batch, K], its factors u [batch, K], and their rendering. No extras, ever.

    Equal seeds give equal streams; the splits' own generators are seeded apart. Raises ValueError if batch < 1.
    """
    if batch < 1:
        raise ValueError(f"batch: expected at least 1, found {batch}")
    return _train_batches(seed, batch)


def _train_batches(seed: int, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray, Rendered]]:
    rng = np.random.default_rng([64, seed])
    while True:
        z = rng.standard_normal((batch, FACTOR_COUNT))
        u = factors_from_z(z)
        yield z, u, render(u)
