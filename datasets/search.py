"""Find the pictures of a folder, and describe its other files in one line.

Left out are hidden files and folders (a dot before the name), folders and files of systems and programs (SYSTEM), folders that
invbench wrote (run folders, aligned faces, pages), links to a folder that is searched already, and files that are not pictures
of a supported format. Linked folders are followed.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from invbench.api import printable

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".jif", ".jfi", ".mpo"),
    *(".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm"),
)
HEAD = 12  # first bytes that identify a picture under another suffix
MAGIC = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP", re.DOTALL)
COPIES = re.compile(r"~$|\.(bak|orig|old|tmp|temp|part|crdownload|download|swp|thm)$|_original$|-journal$", re.IGNORECASE)
SYSTEM = frozenset(
    [
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "$recycle.bin"),
        *("system volume information", "lost+found", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    ]
)
NAMED, LISTED = 3, 12  # files of a kind that are named, and suffixes where there are more files; the rest is counted
UNREAD = "file that is not read|files that are not read"
# What a run writes before and after its plan, the faces of `datasets align`, and a page that was copied out of its run.
RUN = (
    ("plan.json", ("rows", "images", "inputs")),
    (".lock", ("inputs", "truths", "truth_masks")),
    ("manifest.json", ("rows",)),
)
ALIGNED = ("align.csv", "contact_sheet.html")
PAGE = ("index.html", "static")


@dataclass(frozen=True)
class Search:
    """What a search found: the pictures in the order of their paths, and a line on all that was left out ("" = nothing)."""

    files: tuple[Path, ...]
    left_out: str


def search(root: Path, *, deep: bool = True, by_content: bool = True) -> Search:
    """The pictures of a folder.

    deep        include subfolders; else they are ignored
    by_content  also JPEG, PNG, GIF and WebP under another suffix, by their first bytes
    """
    walk = _Walk(root, deep, by_content)
    return Search(tuple(sorted(walk.files)), walk.told())


def is_run(folder: Path) -> bool:
    """Whether a folder is one that ``invbench run`` or ``invbench score`` writes, though it may have been interrupted."""
    return any((folder / file).is_file() and any((folder / name).is_dir() for name in names) for file, names in RUN)


class _Walk:
    """One search. Real folders are searched before links, so that a picture is named by its own folder."""

    def __init__(self, root: Path, deep: bool, by_content: bool) -> None:
        self._root, self._deep, self._by_content = root, deep, by_content
        self.files: list[Path] = []
        self._out: dict[str, list[str]] = defaultdict(list)
        real = root.resolve()
        self._seen = {place for folder in (real, *real.parents) if (place := _place(folder)) is not None}
        self._links: list[Path] = []
        self._folder(root)
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self._linked(link)

    def told(self) -> str:
        kinds = []
        for kind, names in self._out.items():
            one, more = kind.split("|")
            named = ", ".join(printable(name) for name in sorted(names)[:NAMED]) + ", ..." * (len(names) > NAMED)
            told = _by_suffix(names) if kind == UNREAD and len(names) > NAMED else named
            kinds.append(f"{len(names)} {one if len(names) == 1 else more} ({told})")
        return "; ".join(kinds)

    def _folder(self, folder: Path) -> None:
        below = []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.is_symlink() and entry.is_dir():
                        self._links += [folder / entry.name] if self._deep else []
                    elif entry.is_dir():
                        below.append(folder / entry.name)
                    else:
                        self._file(folder / entry.name, regular=entry.is_file())
        except OSError:
            self._leave("folder that cannot be read|folders that cannot be read", folder)
        for path in below if self._deep else []:
            if (place := _place(path)) not in self._seen and self._wanted(path):
                self._seen |= {place} if place is not None else set()
                self._folder(path)

    def _linked(self, link: Path) -> None:
        place = _place(link)
        if place is None or place in self._seen:
            self._leave("link to a folder that is taken or lies above|links to folders that are taken or lie above", link)
        elif self._wanted(link):
            self._seen.add(place)
            self._folder(link)

    def _wanted(self, folder: Path) -> bool:
        if _hidden(folder.name):
            self._leave("hidden or system folder|hidden or system folders", folder)
        elif is_run(folder):
            self._leave("run folder|run folders", folder)
        elif all((folder / name).exists() for name in ALIGNED):
            self._leave("folder of aligned faces|folders of aligned faces", folder)
        elif all((folder / name).exists() for name in PAGE):
            self._leave("page of a run|pages of runs", folder)
        else:
            return True
        return False

    def _file(self, path: Path, *, regular: bool) -> None:
        if not regular:
            self._leave("broken link or device|broken links or devices", path)
        elif _hidden(path.name):
            self._leave("hidden or system file|hidden or system files", path)
        elif path.suffix.lower() in SUFFIXES or (self._by_content and _is_picture(path)):
            self.files.append(path)
        else:
            self._leave(UNREAD, path)

    def _leave(self, kind: str, path: Path) -> None:
        self._out[kind].append(path.relative_to(self._root).as_posix())


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in SYSTEM


def _place(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_picture(path: Path) -> bool:
    """By the first bytes; copies that programs keep beside a picture are none."""
    if COPIES.search(path.name):
        return False
    try:
        with open(path, "rb") as handle:
            return MAGIC.match(handle.read(HEAD)) is not None
    except OSError:
        return False


def _by_suffix(names: list[str]) -> str:
    """``2 .heic, 1 .txt``, the most frequent first."""
    suffixes = Counter(os.path.splitext(name)[1].lower() or "without suffix" for name in names).most_common()
    listed = ", ".join(f"{count} {printable(suffix)}" for suffix, count in suffixes[:LISTED])
    return f"{listed}, ..." if len(suffixes) > LISTED else listed
