"""Match the files of a folder of external pictures with the images and edits that they show.

    NAME.png                the reconstruction of the image NAME of the dataset
    age_+3/NAME.png         its edit "age" at strength 3 (also age_3, age_+3.0); age_-1.5/ likewise
    NAME@age+3.png          the same in one folder, as run folders have it

NAME is the image's name, or where the originals are files the path of its file below their folder (:class:`_Names`). Which
files are pictures says ``invbench.datasets.search``; several that claim one image are all refused.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from invbench.api import SUM, Edit, InvbenchError, printable
from invbench.plugins.registry import load_callable
from invbench.schema import signed
from invbench.util.files import file_name

NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_SUBFOLDER = re.compile(rf"(.+)_([+-]?{NUMBER})")
_TAG = re.compile(rf"(.+)@(.+?)([+-]{NUMBER})", re.DOTALL)
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Folder:
    """The result of :func:`scan`.

    files    (edit or None, name of an image) -> the files that match it; more than one is ambiguous
    edits    edits that have a picture, in order of name and strength
    strange  one line, with the reason, for each picture and sub-folder that matches no image, and one on files that are not
             pictures
    beyond   number of files that belong to images that were not requested
    """

    path: Path
    files: Mapping[tuple[Edit | None, str], tuple[Path, ...]]
    edits: tuple[Edit, ...]
    strange: tuple[str, ...]
    beyond: int = 0

    def pick(self, edit: Edit | None, name: str) -> tuple[Path | None, str]:
        """(path, "") of an image's file, or (None, reason)."""
        found = self.files.get((edit, name), ())
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"ambiguous: {', '.join(self._relative(path) for path in found)}"
        what = "picture" if edit is None else f"{edit.name}{signed(edit.strength)}"
        return None, f"no {what} of this name in {self.path}"

    def digest(self) -> str:
        """sha256 over the names and bytes of all files that are used."""
        total = hashlib.sha256()
        for path in sorted({path for paths in self.files.values() for path in paths}):
            with open(path, "rb") as handle:
                name = self._relative(path).encode("utf-8", "surrogateescape")
                total.update(name + b"\0" + hashlib.file_digest(handle, "sha256").digest())
        return total.hexdigest()

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def scan(
    path: Path, names: Sequence[str], edits: Iterable[str], *, count: int | None = None, paths: Sequence[str] = ()
) -> Folder:
    """Match the files of a folder with the first ``count`` (None = all) of the images ``names`` and the edits ``edits``.

    paths  of the originals below their folder, where they are files
    Raises InvbenchError if the path is not a folder, or if none of its files belongs to an image.
    """
    if not path.is_dir():
        raise InvbenchError(f"{path}: expected a folder of pictures, found {'a file' if path.exists() else 'nothing'}")
    known, allowed = _Names(names, paths), set(edits)
    searched = load_callable("invbench.datasets.search:search")(path)
    found: dict[tuple[Edit | None, str], list[Path]] = defaultdict(list)
    strange, folders = [searched.left_out] if searched.left_out else [], dict[str, list[str]]()
    for file in searched.files:
        inside = file.relative_to(path).as_posix()
        edit, name, reason = _claim(inside, known, allowed)
        top, slash, _ = inside.partition("/")
        if name is not None:
            found[edit, name].append(file)
        elif slash and edit is None:
            folders.setdefault(top, []).append(printable(f"{inside}: {reason}"))
        else:
            strange.append(printable(f"{inside}: {reason}"))
    used = {file.relative_to(path).parts[0] for files in found.values() for file in files}
    empty = [item.name for item in path.iterdir() if item.is_dir() and item.name[0] != "." and not any(item.iterdir())]
    for top in sorted({*folders, *(name for name in empty if _edit(name, allowed) is None)}):
        told = f"EDIT_STRENGTH with an edit of the suite ({', '.join(sorted(allowed)) or 'none'})"
        whole = [f"{printable(top)}/: expected {told}, or a folder that the originals have"]
        strange += folders.get(top, whole) if top in used else whole
    if not found:
        raise InvbenchError(
            f"{path}: expected pictures named like the images of the dataset, found none{f'; {strange[0]}' if strange else ''}"
        )
    wanted = set(names[:count])
    beyond = sum(len(files) for (_, name), files in found.items() if name not in wanted)
    found = {key: files for key, files in found.items() if key[1] in wanted}
    order = sorted({edit for edit, _ in found if edit is not None}, key=lambda edit: (edit.name, edit.strength))
    return Folder(path, {key: tuple(files) for key, files in found.items()}, tuple(order), tuple(strange), beyond)


def is_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG by its first bytes; its suffix does not matter."""
    with open(path, "rb") as handle:
        return handle.read(len(_JPEG)) == _JPEG


class _Names:
    """Which image a path names. Rules are tried from the most to the least specific; a path that fits two images names none.

    1. the path of the original, with its suffix        a/photo.jpg
    2. the image's name, also as a file name            a__photo
    3. the path of the original without its suffix      a/photo
    4. the whole path of the original and one more      a/photo.jpg.png
    5. the same after Unicode normalisation (NFC): macOS disks store "ö" as two characters
    """

    def __init__(self, names: Sequence[str], paths: Sequence[str]) -> None:
        own = list(zip(names, paths, strict=True)) if paths else []
        whole = _unique((path, name) for name, path in own)
        bare = _unique((_bare(path), name) for name, path in own)
        plain = _unique((alias, name) for name in names for alias in {name, file_name(name)})
        self._whole = [whole, _normal(whole)]
        self._bare = [plain, bare, whole, _normal(plain), _normal(bare), _normal(whole)]

    def find(self, path: str) -> tuple[str | None, str]:
        """(name, "") of the image, or (None, reason)."""
        looks = [(self._whole[0], path), *((table, _bare(path)) for table in self._bare[:3])]
        normal = unicodedata.normalize("NFC", path)
        looks += [(self._whole[1], normal), *((table, _bare(normal)) for table in self._bare[3:])]
        for table, key in looks:
            if key in table:
                first, *others = table[key]
                return (None, f"expected the name of one image, found that of {1 + len(others)}") if others else (first, "")
        return None, "no image of this name"


def _claim(inside: str, known: _Names, allowed: set[str]) -> tuple[Edit | None, str | None, str]:
    """(edit, image, "") that a file shows, by its path in the folder; (edit, None, reason) if it shows no image."""
    top, slash, rest = inside.partition("/")
    edit = _edit(top, allowed) if slash else None
    name, reason = known.find(inside)
    if name is not None or edit is None:
        match = _TAG.fullmatch(_bare(inside)) if name is None else None
        if match and _is_edit(match[2], allowed) and math.isfinite(float(match[3])):
            of, told = known.find(f"{match[1]}{PurePosixPath(inside).suffix}")
            return (Edit(match[2], float(match[3])), of, "") if of is not None else (None, None, told)
        return None, name, reason
    for path in (rest, PurePosixPath(rest).name):
        name, reason = known.find(path)
        if name is not None:
            break
    return edit, name, reason


def _edit(folder: str, allowed: set[str]) -> Edit | None:
    """The edit that a sub-folder is named after, or None."""
    match = _SUBFOLDER.fullmatch(folder)
    finite = match and _is_edit(match[1], allowed) and math.isfinite(float(match[2]))
    return Edit(match[1], float(match[2])) if match and finite else None


def _is_edit(name: str, allowed: set[str]) -> bool:
    """Whether a name is that of an edit, or of a sum of edits."""
    return all(part in allowed for part in name.split(SUM))


def _bare(path: str) -> str:
    """``path`` without its suffix."""
    pure = PurePosixPath(path)
    return path[: -len(pure.suffix)] if pure.suffix else path


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Key -> its distinct names, in order."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for key, name in pairs:
        found[key][name] = None
    return {key: list(names) for key, names in found.items()}


def _normal(table: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return _unique((unicodedata.normalize("NFC", key), name) for key, names in table.items() for name in names)
