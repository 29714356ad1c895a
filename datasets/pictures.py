"""Base of datasets of stored pictures: members of a root, verified bytes, a geometry, named subsets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from invbench.api import Edit, Inspection, InvbenchError, Member, Sample
from invbench.datasets.decode import decode_bytes, read_bytes, stored_size
from invbench.datasets.geometry import Geometry
from invbench.datasets.search import SUFFIXES, search

LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")
SUBSETS = files("invbench.datasets") / "lists" / "subsets.json"


@dataclass(frozen=True)
class Found:
    """The result of searching a root: members in order, and missing, layout, notes (see ``invbench.api.StoredDataset``)."""

    members: Sequence[Member]
    layout: str = ""
    missing: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)


class Pictures:
    """Stored pictures with names. Subclasses search the root; this class reads.

    root      the folder that holds the files
    found     the pictures, in the order of the dataset
    geometry  the resize or crop of every picture
    subset    name of a list in ``datasets/lists/subsets.json``: only its pictures, in its order; "" = all

    Raises InvbenchError if a picture of the subset is not among those found.
    """

    def __init__(self, root: str | Path, found: Found, *, geometry: Geometry, subset: str = "") -> None:
        self.root = Path(root)
        self.geometry = geometry
        self.layout, self.missing, self.notes = found.layout, found.missing, found.notes
        self.members = _choose(found.members, subset) if subset else list(found.members)
        self.names = [member.name for member in self.members]

    def read(self, index: int) -> Sample:
        """Decode one picture. Raises InvbenchError if it is missing, corrupt, changed since prepared, or of a wrong size."""
        member = self.members[index]
        picture = self._picture(member, self._bytes(member))
        return Sample(picture, member.name, hashlib.sha256(picture.tobytes()).hexdigest())

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        """None: the true edited picture of a photograph is unknown."""
        return None

    def inspect(self, index: int) -> Inspection:
        """See :class:`invbench.api.StoredDataset`. A published md5 of pixels is compared for lossless files only."""
        member = self.members[index]
        data = self._bytes(member)
        height, width, form = stored_size(data, self.where(member))
        self._picture(member, data)
        checked = self._check_md5(member, data, form)
        return Inspection(len(data), hashlib.sha256(data).hexdigest(), height, width, form, checked)

    def check(self, index: int) -> int:
        """See :class:`invbench.api.StoredDataset`."""
        return len(self._bytes(self.members[index]))

    def stamp(self, index: int) -> str:
        """See :class:`invbench.api.StoredDataset`: size and time of the file."""
        return file_stamp(self.root / self.members[index].file)

    def stored(self, member: Member) -> bytes:
        """The stored bytes of a picture; a subclass whose pictures are not files overrides this."""
        return read_bytes(self.root / member.file)

    def cut(self, picture: np.ndarray, member: Member) -> np.ndarray:
        """The part of a decoded picture, uint8 [H, W, 3], that the geometry is applied to; here the whole picture."""
        return picture

    def where(self, member: Member) -> str:
        """The name of a picture in error messages."""
        return str(self.root / member.file)

    def _bytes(self, member: Member) -> bytes:
        data = self.stored(member)
        if member.sha256:
            found = hashlib.sha256(data).hexdigest()
            if found != member.sha256:
                raise InvbenchError(
                    f"{self.where(member)}: changed since it was prepared: expected sha256 {member.sha256}, found {found}"
                )
        return data

    def _picture(self, member: Member, data: bytes) -> np.ndarray:
        where = self.where(member)
        return self.geometry.apply(self.cut(decode_bytes(data, where), member), where)

    def _check_md5(self, member: Member, data: bytes, form: str) -> bool:
        kind, _, expected = member.md5.partition(":")
        if not expected or (kind == "chw" and form not in LOSSLESS):
            return False
        if kind == "chw":
            data = np.ascontiguousarray(decode_bytes(data, self.where(member)).transpose(2, 0, 1)).tobytes()
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != expected.lower():
            what = "pixels" if kind == "chw" else "file"
            raise InvbenchError(f"{self.where(member)}: expected the published md5 {expected} of the {what}, found {found}")
        return True


def pictures_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """The image files of a folder (``deep``: and of its subfolders), by suffix, sorted by path: see :mod:`.search`."""
    return list(search(folder, deep=deep, by_content=False).files)


def first_folder(root: Path, names: Sequence[str]) -> Path | None:
    """The first of the folders ``root/name`` that holds pictures (not in subfolders); None if none does."""
    return next((root / name for name in names if (root / name).is_dir() and has_pictures(root / name)), None)


def has_pictures(folder: Path) -> bool:
    """Whether a folder holds an image file, by suffix, that is not hidden."""
    return any(path.suffix.lower() in SUFFIXES and path.name[0] != "." for path in folder.iterdir())


def folder(root: str | Path) -> Path:
    """The root of a dataset. Raises InvbenchError if it is not a folder."""
    path = Path(root)
    try:
        kind = "" if path.is_dir() else "a file" if path.exists() else "nothing"
    except OSError as error:  # a path that is too long, for one
        kind = error.strerror or str(error)
    if kind:
        raise InvbenchError(f"{path}: expected a folder of pictures, found {kind}")
    return path


def nothing_found(root: Path, layouts: Sequence[str]) -> InvbenchError:
    """The error for a root in which no known layout was recognised."""
    listed = "".join(f"\n  {layout}" for layout in layouts)
    return InvbenchError(f"{root}: expected one of these layouts, found none of them:{listed}")


def by_number(paths: Sequence[Path]) -> dict[int, Path]:
    """Pictures by the number at the end of their name (``7.jpg``, ``00007.png``, ``imgHQ00007.png`` are 7).

    Raises InvbenchError for a name without a number, and for two with the same.
    """
    found: dict[int, Path] = {}
    for path in paths:
        digits = path.stem[len(path.stem.rstrip("0123456789")) :]
        if not digits:
            raise InvbenchError(f"{path}: expected a name that ends in a number, like 00007.png")
        if int(digits) in found:
            raise InvbenchError(f"{path}: expected every number once, found {int(digits)} in {found[int(digits)].name} too")
        found[int(digits)] = path
    return found


def file_stamp(path: Path) -> str:
    """Size in bytes and modification time in nanoseconds of a file; "" if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


@cache
def subsets() -> dict[str, list[str]]:
    """Names of pictures by subset, as stored in this package."""
    return json.loads(SUBSETS.read_text(encoding="utf-8"))


def _choose(members: Sequence[Member], subset: str) -> list[Member]:
    if subset not in subsets():
        raise InvbenchError(f"{SUBSETS}: no subset {subset!r} (known: {', '.join(sorted(subsets()))})")
    known = {member.name: member for member in members}
    wanted = subsets()[subset]
    lacking = [name for name in wanted if name not in known]
    if lacking:
        raise InvbenchError(
            f"{subset}: {len(lacking)} of its {len(wanted)} pictures are not among the {len(members)} prepared ones: "
            f"{', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}"
        )
    return [known[name] for name in wanted]
