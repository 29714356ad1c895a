"""Pictures for every dataset of every suite, in official layouts."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from invbench.datasets.pictures import subsets
from tests.datasets import layouts

COUNT = 6
PHOTO = (480, 640)  # height and width of a photograph in LSUN


def photo(number: int, height: int, width: int) -> np.ndarray:
    """Soft blobs of colour with some grain, uint8 [H, W, 3]."""
    rng = np.random.default_rng(number)
    blobs = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    soft = np.asarray(blobs.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return (soft + rng.integers(-8, 9, (height, width, 1))).clip(0, 255).astype(np.uint8)


def face(number: int, height: int, width: int) -> np.ndarray:
    """The first is a face that detectors find; the others are blobs."""
    if number:
        return photo(number, height, width)
    return np.asarray(Image.fromarray(astronaut()[:300, 90:390]).resize((width, height), Image.Resampling.BICUBIC))


def celebahq(root: Path, *, split: str, names: list[str]) -> None:
    """A folder of the split, by index in CelebA-HQ: COUNT pictures, and links to the last of them for the other names."""
    _many([root / split / f"{int(name)}.jpg" for name in sorted(names)])


def ffhq(root: Path) -> None:
    """The official tree: one known subset, and COUNT pictures more."""
    numbers = sorted({int(name) for name in subsets()["ffhq-random1000"]} | set(range(65_000, 65_000 + COUNT)))
    _many([root / f"images1024x1024/{number - number % 1000:05d}/{number:05d}.png" for number in numbers])


def _many(paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < COUNT:
            Image.fromarray(face(number, 1024, 1024)).save(path, compress_level=1)
        elif number == COUNT:
            flat = layouts.write(path, 99, 1024, 1024)
        else:
            os.link(flat, path)


def lsun(root: Path, *, stem: str, database: bool) -> None:
    """A database, or the pictures exported from one."""
    if database:
        layouts.lsun_lmdb(root / f"{stem}_lmdb", [PHOTO] * COUNT)
    else:
        layouts.lsun_export(root / stem, [PHOTO] * COUNT)


TEST = sorted({name for id, names in subsets().items() if id.startswith("celebahq-test") for name in names})
WRITERS: dict[str, Callable[[Path], object]] = {
    "celebahq-test": partial(celebahq, split="test", names=TEST),
    "celebahq-val": partial(celebahq, split="val", names=["7", "12", "13", "17", "19", "29"]),
    "ffhq": ffhq,
    "stanford-cars-test": layouts.stanford_cars,
    "lsun-car-random1000": partial(lsun, stem="car", database=False),
    "lsun-church-val": partial(lsun, stem="church_outdoor_val", database=True),
    "lsun-horse-random1000": partial(lsun, stem="horse", database=True),
    "lsun-cat-random1000": partial(lsun, stem="cat", database=False),
    "afhq-wild-test": partial(layouts.afhq, version=1, counts={"wild": COUNT}),
    "afhqv2-wild-test": partial(layouts.afhq, version=2, counts={"wild": COUNT}),
}


def write(home: str, root: Path) -> Path:
    """The files of a dataset (the ``home`` of its spec) under ``root``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, "picture", photo)
        WRITERS[home](root)
    return root
