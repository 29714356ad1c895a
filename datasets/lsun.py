"""LSUN (Yu et al., 2015; fyu/lsun): church, horse, cat and car, from the LMDB databases as they come or exported to folders.

Keys of a database are hashes, its values JPEG or WebP bytes; ``data.py export`` of fyu/lsun writes each as ``KEY.webp``. Both
have the same order, by key, and give the same samples, named by key.

No paper lists the pictures of horse, cat or car that it measured. ``random1000`` are the pictures whose key has the smallest
sha256 (of ``invbench:`` and the key), among those that the geometry accepts: the same for everybody with the whole category.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError, Member
from invbench.datasets.decode import read_bytes, stored_size
from invbench.datasets.geometry import Geometry
from invbench.datasets.pictures import Found, Pictures, file_stamp, folder, nothing_found, pictures_in

SPECS = [
    {
        "id": "lsun-church-val",
        "title": "LSUN church (outdoor), validation: 300",
        "class": "LSUN",
        "domain": "church",
        "size": 300,
        "options": {"category": "church_outdoor", "split": "val", "fit": "squeeze", "filter": "bilinear"},
        "summary": "squeezed to 256x256 without keeping the aspect (Pillow, bilinear), as the scripts of e4e and HyperInverter",
        "home": "lsun-church-val",
        "page": "https://www.yf.io/p/lsun",
        "licence": "for research; the photographs belong to their owners",
    },
    {
        "id": "lsun-church-val-crop",
        "title": "LSUN church (outdoor), validation, centre crop",
        "class": "LSUN",
        "domain": "church",
        "size": 300,
        "options": {"category": "church_outdoor", "split": "val", "fit": "crop", "filter": "lanczos"},
        "summary": "the middle square resized to 256x256 (Pillow, Lanczos), as the generator's training pictures",
        "home": "lsun-church-val",
        "page": "https://www.yf.io/p/lsun",
        "licence": "for research; the photographs belong to their owners",
    },
    {
        "id": "lsun-horse-random1000",
        "title": "LSUN horse, 1,000 drawn once",
        "class": "LSUN",
        "domain": "horse",
        "size": 1000,
        "options": {"category": "horse", "whole": 2_000_340, "draw": 1000, "fit": "squeeze", "filter": "bilinear"},
        "summary": "squeezed to 256x256 without keeping the aspect (Pillow, bilinear), as e4e's scripts do",
        "home": "lsun-horse-random1000",
        "page": "https://www.yf.io/p/lsun",
        "licence": "for research; the photographs belong to their owners",
    },
    {
        "id": "lsun-horse-random1000-crop",
        "title": "LSUN horse, 1,000 drawn once, centre crop",
        "class": "LSUN",
        "domain": "horse",
        "size": 1000,
        "options": {"category": "horse", "whole": 2_000_340, "draw": 1000, "fit": "crop", "filter": "lanczos"},
        "summary": "the middle square resized to 256x256 (Pillow, Lanczos), as the generator's training pictures",
        "home": "lsun-horse-random1000",
        "page": "https://www.yf.io/p/lsun",
        "licence": "for research; the photographs belong to their owners",
    },
    {
        "id": "lsun-cat-random1000",
        "title": "LSUN cat, 1,000 drawn once",
        "class": "LSUN",
        "domain": "cat",
        "size": 1000,
        "options": {"category": "cat", "whole": 1_657_266, "draw": 1000, "fit": "crop", "filter": "lanczos"},
        "summary": "the middle square resized to 256x256 (Pillow, Lanczos), as the generator's training pictures",
        "home": "lsun-cat-random1000",
        "page": "https://www.yf.io/p/lsun",
        "licence": "for research; the photographs belong to their owners",
    },
    {
        "id": "lsun-car-random1000",
        "title": "LSUN car, 1,000 drawn once of those that are large enough",
        "class": "LSUN",
        "domain": "cars",
        "size": 1000,
        "options": {
            "category": "car",
            "whole": 5_520_756,
            "draw": 1000,
            "height": 384,
            "width": 512,
            "fit": "lsun_wide",
            "filter": "lanczos",
        },
        "summary": "middle rows resized to 384x512 (HxW; Pillow, Lanczos), as create_lsun_wide of "
        "NVlabs/stylegan2 before its black bars; pictures under 512 columns or too flat are left out, as there",
        "home": "lsun-car-random1000",
        "page": "https://www.yf.io/p/lsun",
        "licence": "for research; the photographs belong to their owners",
    },
]

DATABASE = "data.mdb"
KEY = "#"  # between the file of a database and the key of a picture in it
SALT = b"invbench:"
MARGIN = 20  # candidates for each picture that is drawn: one car in six is large enough


class LSUN(Pictures):
    """A category, or ``draw`` pictures of it; ``members`` as in :class:`invbench.api.StoredDataset`.

    category                            "church_outdoor", "horse", "cat" or "car"
    split                               "train" or "val" of a scene; objects have none
    whole                               number of pictures in the category; ``prepare`` reports another count; 0 = not known
    draw                                number of pictures to draw; 0 = all
    height, width, fit, filter          see :class:`invbench.datasets.geometry.Geometry`
    """

    def __init__(
        self,
        root: str | Path,
        *,
        category: str,
        split: str = "",
        whole: int = 0,
        draw: int = 0,
        height: int = 256,
        width: int = 256,
        fit: str = "crop",
        filter: str = "lanczos",
        members: Sequence[Member] | None = None,
    ) -> None:
        geometry = Geometry(height, width, fit, filter)
        if members is None:
            found = search(folder(root), category, split, whole=whole, draw=draw, geometry=geometry)
        else:
            found = Found(members)
        super().__init__(root, found, geometry=geometry)

    def stored(self, member: Member) -> bytes:
        """The value of a key, or the bytes of an exported file."""
        return stored(self.root, member.file)

    def stamp(self, index: int) -> str:
        """Size and time of the file or of the whole database."""
        return file_stamp(self.root / self.members[index].file.partition(KEY)[0])


def search(root: Path, category: str, split: str, *, whole: int, draw: int, geometry: Geometry) -> Found:
    """The members of a category in a database or folder. Raises InvbenchError if there is neither."""
    stem = f"{category}_{split}" if split else category
    names = (f"{stem}_lmdb", stem, f"lsun/{stem}_lmdb", f"lsun/{stem}", ".")
    for place in (root / name for name in names):
        if (place / DATABASE).is_file():
            count, files = _entries(place), _keys(root, place)
            layout = f"{place.relative_to(root)}/ (LMDB)"
        elif place.is_dir() and (paths := pictures_in(place, deep=True)):
            count = len(paths)
            files = iter(sorted((path.stem, path.relative_to(root).as_posix()) for path in paths))
            layout = f"{place.relative_to(root)}/ (exported files)"
        else:
            continue
        missing = [f"{whole - count} of the category's {whole} pictures"] if 0 < count < whole else []
        notes = [f"expected {whole} pictures in the category, found {count}"] if 0 < whole < count else []
        chosen = _draw(root, files, draw, geometry) if draw else [Member(key, file) for key, file in files]
        return Found(chosen, layout, missing, notes)
    database = f"the database {stem}_lmdb/{DATABASE}, or in {stem}/"
    raise nothing_found(root, [database, f"the pictures exported to {stem}/, with or without subfolders"])


def stored(root: Path, file: str) -> bytes:
    """The bytes of ``folder/KEY.webp`` or of ``folder/data.mdb#KEY``. Raises InvbenchError if they do not exist."""
    path, _, key = file.partition(KEY)
    if not key:
        return read_bytes(root / path)
    environment = _environment((root / path).parent)
    with environment.begin(buffers=False) as transaction:
        value = transaction.get(key.encode())
    if value is None:
        raise InvbenchError(f"{root / file}: expected a picture under this key, found none")
    return bytes(value)


def rank(key: str) -> bytes:
    """The sort key of the draw."""
    return hashlib.sha256(SALT + key.encode()).digest()


def _draw(root: Path, files: Iterator[tuple[str, str]], draw: int, geometry: Geometry) -> list[Member]:
    chosen: list[Member] = []
    for key, file in heapq.nsmallest(draw * MARGIN, files, key=lambda item: rank(item[0])):
        if len(chosen) == draw:
            break
        if geometry.fit == "lsun_wide" and not _taken(root, file, geometry):
            continue
        chosen.append(Member(key, file))
    return sorted(chosen, key=lambda member: member.name)


def _taken(root: Path, file: str, geometry: Geometry) -> bool:
    try:
        height, width, _ = stored_size(stored(root, file), root / file)
    except InvbenchError:
        return False
    return geometry.takes(height, width)


def _entries(place: Path) -> int:
    return int(_environment(place).stat()["entries"])


def _keys(root: Path, place: Path) -> Iterator[tuple[str, str]]:
    database = (place / DATABASE).relative_to(root).as_posix()
    with _environment(place).begin() as transaction:
        for key in transaction.cursor().iternext(keys=True, values=False):
            name = key.decode("ascii", errors="replace")
            if not name.isalnum():
                raise InvbenchError(f"{place}: expected keys of letters and digits, as LSUN has, found {key!r}")
            yield name, f"{database}{KEY}{name}"


@cache
def _environment(place: Path) -> Any:
    """The open database of a folder: a process may open it once only. It does not survive a fork; our workers are spawned."""
    try:
        import lmdb
    except ImportError as error:
        raise InvbenchError(f"{place}: reading an LMDB database needs the package lmdb: {error}") from error
    try:
        return lmdb.open(str(place), readonly=True, lock=False, create=False, readahead=False)
    except lmdb.Error as error:
        raise InvbenchError(f"{place}: expected an LMDB database: {error}") from error
