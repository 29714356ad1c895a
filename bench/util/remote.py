"""Folders on object stores (``s3://``, ``gs://``), through fsspec: copied into a cache folder, and written file by file.

What an address holds was written by others. So only files with plain relative names are taken, below a fresh folder, no more
bytes than were listed, and no more in all than fit on the disk; nothing is executed, and an address cannot chain to another.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError, printable
from invbench.util.cache import home
from invbench.util.files import WriteFailed, locked, write_all, write_atomic

STORES = {"s3": "s3fs", "gs": "gcsfs", "memory": "fsspec", "file": "fsspec"}  # protocol -> the package that reads it
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)", re.DOTALL)
SECRET = re.compile(r"//[^/@]*@")  # a user and password, which no message repeats
VERSIONS = ("ETag", "etag", "md5Hash", "generation", "mtime", "LastModified", "last_modified", "updated", "created")
UNFIT = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')  # characters that a name on some system cannot have
MOST_FILES = 2_000_000
LONGEST, DEEPEST = 200, 16  # bytes of a name, and names of a path
FREE = 0.9  # share of the free disk that a copy may take
TRANSFERS = 8  # at a time
CHUNK = 2**20


def is_address(text: str) -> bool:
    """Whether a text is ``PROTOCOL://...``, of whatever protocol."""
    return ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True)
class Remote:
    """A folder at an address. Raises InvbenchError for a protocol that is not in STORES, and one whose package is missing."""

    address: str

    def __post_init__(self) -> None:
        protocol, path = self._parts()
        if protocol not in STORES or "::" in self.address or not path.strip("/"):
            expected = ", ".join(f"{one}://" for one in STORES)
            raise InvbenchError(f"{self.told}: expected the address of a folder ({expected}), found another")
        self._files()

    @property
    def told(self) -> str:
        """The address for messages, on one line and without a password."""
        return printable(SECRET.sub("//", self.address))[:LONGEST]

    @property
    def name(self) -> str:
        """The last name of the address."""
        return self._root().rstrip("/").rpartition("/")[2]

    @property
    def digest(self) -> str:
        """The hash by which the address has its cache folder; the same on every machine."""
        return hashlib.sha256(self.address.rstrip("/").encode(errors="surrogateescape")).hexdigest()

    def folder(self, kind: str) -> Path:
        """The cache folder for this address: below ``INVBENCH_HOME``."""
        return home() / "remote" / kind / self.digest[:32]

    def listing(self, wanted: Callable[[str], bool]) -> dict[str, Listed]:
        """The files below the address by relative path, of those that are wanted; empty if there is none.

        Files whose names are not plain (:func:`is_plain`) are left out, whatever is wanted.
        Raises InvbenchError where the address cannot be listed.
        """
        files, root = self._files(), self._root()
        try:
            files.invalidate_cache()
            found = files.find(root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:  # libraries of stores raise errors of their own
            raise InvbenchError(f"{self.told}: could not be listed: {_reason(error)}") from error
        if len(found) > MOST_FILES:
            raise InvbenchError(f"{self.told}: expected at most {MOST_FILES} files, found {len(found)}")
        head = root.rstrip("/") + "/"
        every = {path[len(head) :]: info for path, info in found.items() if path.startswith(head)}
        return {name: Listed.of(info) for name, info in every.items() if is_plain(name) and wanted(name)}

    def read(self, name: str, size: int) -> bytes:
        """A file of ``size`` bytes. Raises InvbenchError where it cannot be read or has another size."""
        try:
            with self._files().open(self._root().rstrip("/") + "/" + name, "rb", cache_type="none") as file:
                parts, left = [], size + 1
                while left and (part := file.read(min(CHUNK, left))):
                    parts.append(part)
                    left -= len(part)
        except Exception as error:
            raise InvbenchError(f"{self.told}/{printable(name)}: could not be read: {_reason(error)}") from error
        data = b"".join(parts)
        if len(data) != size:
            found = f"{len(data)}" if len(data) < size else "more"
            raise InvbenchError(f"{self.told}/{printable(name)}: expected the {size} bytes that were listed, found {found}")
        return data

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files, each whole or not at all. Raises WriteFailed."""
        try:
            if self._parts()[0] == "file":  # on a disk a file is whole only if it is renamed into its place
                write_all({Path(self._root(), name): data for name, data in files.items()})
            else:
                store, head = self._files(), self._root().rstrip("/") + "/"
                with ThreadPoolExecutor(min(TRANSFERS, max(len(files), 1))) as threads:
                    list(threads.map(lambda one: store.pipe_file(head + one[0], one[1]), files.items()))
        except WriteFailed:
            raise
        except Exception as error:
            raise WriteFailed(f"{self.told}: could not be written: {_reason(error)}") from error

    def remove(self, names: Collection[str]) -> None:
        """Remove files. Raises WriteFailed."""
        try:
            for name in names:
                self._files().rm_file(self._root().rstrip("/") + "/" + name)
        except FileNotFoundError:
            pass
        except Exception as error:
            raise WriteFailed(f"{self.told}: could not be changed: {_reason(error)}") from error

    def _parts(self) -> tuple[str, str]:
        match = ADDRESS.fullmatch(self.address)
        return (match[1], match[2]) if match else ("", "")

    def _root(self) -> str:
        return str(self._files()._strip_protocol(self.address))

    def _files(self) -> Any:
        protocol = self._parts()[0]
        try:
            import fsspec

            return fsspec.filesystem(protocol)
        except ImportError as error:
            package = STORES[protocol]
            raise InvbenchError(f"{self.told}: expected the package {package} (pip install invbench[remote])") from error
        except Exception as error:
            raise InvbenchError(f"{self.told}: {_reason(error)}") from error


@dataclass(frozen=True)
class Listed:
    """A file as a store lists it: its bytes, and a text that changes with its content ("" = the store tells none)."""

    size: int
    version: str

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Listed:
        """From what fsspec tells of a file."""
        told = [f"{key}={info[key]}" for key in VERSIONS if info.get(key) is not None]
        return cls(int(info.get("size") or 0), " ".join(told))


def is_plain(name: str) -> bool:
    """Whether a relative path can be made below a folder, here and on other systems, and leads nowhere else."""
    parts = name.split("/")
    return len(parts) <= DEEPEST and all(
        part.strip(". ") and part[0] != "." and not UNFIT.search(part) and len(part.encode(errors="surrogatepass")) <= LONGEST
        for part in parts
    )


def fetch(address: str, *, kind: str, wanted: Callable[[str], bool], say: Callable[[str], None] = lambda line: None) -> Path:
    """Bring the cached copy of a folder up to date, and give the copy. Only what changed is read.

    kind    "runs" or "pictures": the folder of the cache
    wanted  which files, by relative path

    Raises InvbenchError where the address cannot be read or holds no wanted file, and where the disk has too little room.
    """
    remote = Remote(address)
    folder = remote.folder(kind)
    listed = remote.listing(wanted)
    if not listed:
        raise InvbenchError(f"{remote.told}: expected a bucket and folder with {kind} in it, found none")
    with locked(folder):
        known = read_index(folder)
        new = {name: one for name, one in listed.items() if _differs(folder / name, one, known.get(name))}
        _expect_room(remote, folder, new.values())
        if new:
            say(f"{remote.told}: {len(new)} files, {sum(one.size for one in new.values()) / 1e6:.3g} MB")
        for gone in [name for name in known if name not in listed and wanted(name)]:
            (folder / gone).unlink(missing_ok=True)
            del known[gone]
        names = list(new)
        for first in range(0, len(names), 4 * TRANSFERS):
            some = names[first : first + 4 * TRANSFERS]
            with ThreadPoolExecutor(TRANSFERS) as threads:
                read = list(threads.map(lambda name: remote.read(name, new[name].size), some))
            write_all({folder / name: data for name, data in zip(some, read)})
            known |= {name: Kept(new[name].size, new[name].version, digest(data)) for name, data in zip(some, read)}
            write_index(folder, known)
        write_index(folder, known)
    return folder


@dataclass(frozen=True)
class Kept:
    """A file of a cache folder as the address has it: size, version (:class:`Listed`), sha256 of the content."""

    size: int
    version: str
    sha256: str


def digest(data: bytes) -> str:
    """sha256 as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_index(folder: Path) -> dict[str, Kept]:
    """The files of a cache folder by relative path; empty if it is new or its index is damaged."""
    try:
        found = json.loads(_index(folder).read_text(encoding="utf-8"))
        return {name: Kept(int(one[0]), str(one[1]), str(one[2])) for name, one in found.items() if is_plain(name)}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}


def write_index(folder: Path, known: Mapping[str, Kept]) -> None:
    """Replace the index of a cache folder."""
    content = {name: [one.size, one.version, one.sha256] for name, one in sorted(known.items())}
    write_atomic(_index(folder), json.dumps(content).encode())


def _index(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")  # beside it: the folder holds what the address holds, and nothing else


def _differs(path: Path, listed: Listed, known: Kept | None) -> bool:
    same = known is not None and listed.version != "" and (known.size, known.version) == (listed.size, listed.version)
    return not (same and path.is_file() and path.stat().st_size == listed.size)


def _expect_room(remote: Remote, folder: Path, new: Iterable[Listed]) -> None:
    needed, free = sum(one.size for one in new), shutil.disk_usage(folder).free * FREE
    if needed > free:
        room = f"{folder} has room for {free / 1e9:.3g} GB"
        raise InvbenchError(f"{remote.told}: expected files that fit, found {needed / 1e9:.3g} GB, and {room}")


def _reason(error: BaseException) -> str:
    """The error of a store's library in one line, in our words where it is a common one."""
    kind = type(error).__name__
    if isinstance(error, PermissionError) or "Forbidden" in str(error) or "AccessDenied" in str(error):
        return "no right to do that"
    if isinstance(error, FileNotFoundError) or "NoSuchBucket" in str(error):
        return "no such bucket or folder"
    if "Credentials" in kind or "credentials" in str(error).lower():
        return "no credentials found: see the documentation of the store's package"
    return f"{kind}: {' '.join(printable(error, lines=True).split())[:300]}"
