"""A folder of pictures that some other code made: which of them is the reconstruction or the edit of which image.

    NAME.png                the reconstruction of the image NAME of the dataset
    age_+3/NAME.png         its edit "age" at strength 3 (also age_3, age_+3.0); age_-1.5/ likewise
    NAME@age+3.png          the same in one folder, as run folders have it

PNG, JPEG or WebP, by suffix; several files that claim one image are all refused.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from invbench.api import Edit, InvbenchError
from invbench.util.files import file_name

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_SUBFOLDER = re.compile(r"(.+)_([+-]?\d+(?:\.\d+)?)")
_TAG = re.compile(r"(.+)@(.+?)([+-]\d+(?:\.\d+)?)")
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Folder:
    """What was found.

    files    (edit or None, name of an image) -> the files that claim it, one where all is well
    edits    that have a picture, in order of name and strength
    strange  one line for each file and sub-folder that belongs to no image, with the reason
    beyond   how many files belong to images that were not asked for
    """

    path: Path
    files: Mapping[tuple[Edit | None, str], tuple[Path, ...]]
    edits: tuple[Edit, ...]
    strange: tuple[str, ...]
    beyond: int = 0

    def pick(self, edit: Edit | None, name: str) -> tuple[Path | None, str]:
        """The file of an image and "", or None and the reason."""
        found = self.files.get((edit, name), ())
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"ambiguous: {', '.join(self._relative(path) for path in found)}"
        what = "picture" if edit is None else f"{edit.name}{edit.strength:+g}"
        return None, f"no {what} of this name in {self.path}"

    def digest(self) -> str:
        """sha256 over the names and bytes of all files that are used."""
        total = hashlib.sha256()
        for path in sorted({path for paths in self.files.values() for path in paths}):
            with open(path, "rb") as handle:
                total.update(self._relative(path).encode() + b"\0" + hashlib.file_digest(handle, "sha256").digest())
        return total.hexdigest()

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def scan(path: Path, names: Sequence[str], edits: Iterable[str], *, count: int | None = None) -> Folder:
    """Match the files of a folder with the first ``count`` (None = all) of the images ``names`` and the edits ``edits``.

    Raises InvbenchError when the path is no folder, or when not one of its files belongs to an image.
    """
    if not path.is_dir():
        raise InvbenchError(f"{path}: expected a folder of pictures, found {'a file' if path.exists() else 'nothing'}")
    known = {alias: name for name in names for alias in (file_name(name), name)}
    allowed, strange = set(edits), list[str]()
    found: dict[tuple[Edit | None, str], list[Path]] = defaultdict(list)

    def take(file: Path, edit: Edit | None) -> None:
        where = file.relative_to(path).as_posix()
        if file.name.startswith(".") or file.is_dir():
            return
        if file.suffix.lower() not in SUFFIXES:
            strange.append(f"{where}: not a PNG, JPEG or WebP")
        elif file.stem in known:
            found[edit, known[file.stem]].append(file)
        else:
            match = _TAG.fullmatch(file.stem) if edit is None else None
            if match and match[1] in known and match[2] in allowed:
                found[Edit(match[2], float(match[3])), known[match[1]]].append(file)
            else:
                strange.append(f"{where}: no image of this name")

    for item in sorted(path.iterdir()):
        match = _SUBFOLDER.fullmatch(item.name) if item.is_dir() else None
        if not item.is_dir():
            take(item, None)
        elif match and match[1] in allowed and math.isfinite(float(match[2])):
            for file in sorted(item.rglob("*")):
                take(file, Edit(match[1], float(match[2])))
        elif not item.name.startswith("."):
            told = ", ".join(sorted(allowed)) or "none"
            strange.append(f"{item.name}/: expected EDIT_STRENGTH with an edit of the suite ({told})")
    if not found:
        told = f"; {strange[0]}" if strange else ""
        raise InvbenchError(f"{path}: expected pictures named like the images of the dataset, found none{told}")
    wanted = set(names[:count])
    beyond = sum(len(files) for (_, name), files in found.items() if name not in wanted)
    found = {key: files for key, files in found.items() if key[1] in wanted}
    order = sorted({edit for edit, _ in found if edit is not None}, key=lambda edit: (edit.name, edit.strength))
    return Folder(path, {key: tuple(files) for key, files in found.items()}, tuple(order), tuple(strange), beyond)


def is_jpeg(path: Path) -> bool:
    """By its first bytes, whatever its suffix says."""
    with open(path, "rb") as handle:
        return handle.read(len(_JPEG)) == _JPEG
