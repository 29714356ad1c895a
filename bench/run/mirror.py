"""A run folder at an address (``s3://bucket/run``): a copy on this disk, in which the run works, and what is finished goes up.

Pictures go before features, features before rows, so a row at the address has the files that it was scored from; each file is
whole there or not at all. The folder on this disk is a cache: a run that is continued elsewhere takes what the address has.
One run writes to an address at a time; shares of a run (``--shard``) have addresses of their own, for ``merge``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from invbench.api import Edit
from invbench.folder import OWN
from invbench.store import Part, Store
from invbench.util import remote
from invbench.util.files import FOREIGN, LEFT
from invbench.util.remote import Remote

KIND = "runs"
TABLES = ("rows", "latency", "curves", "statistics", "sets.parquet", "manifest.json", "plan.json")  # what tables are made of
LAST = ("plan.json", "features", "curves", "rows", "latency", "statistics", "sets.parquet", "manifest.json")  # after others
LOCAL = ("report", FOREIGN)  # pages link to the folder that they are in; what foreign commands exchange is theirs
FILES = 64  # that are read from the disk at a time


def is_of_run(name: str) -> bool:
    """Whether a relative path is one of a run's files that an address holds."""
    first = name.partition("/")[0]
    return first in OWN and first not in LOCAL


def is_of_tables(name: str) -> bool:
    """Whether it is one that tables need: no picture and no feature."""
    return name.partition("/")[0] in TABLES


def fetch(address: str, *, pictures: bool, say: Callable[[str], None] = lambda line: None) -> Path:
    """The run at an address, copied to this disk. Raises InvbenchError as :func:`invbench.util.remote.fetch` does."""
    return remote.fetch(address, kind=KIND, wanted=is_of_run if pictures else is_of_tables, say=say)


class Mirror:
    """The address of a run that is made here.

    path  the folder on this disk, with what the address has

    Raises InvbenchError where the address cannot be read.
    """

    def __init__(self, address: str, *, say: Callable[[str], None] = lambda line: None) -> None:
        self._remote = Remote(address)
        self.path = self._remote.folder(KIND)
        index = remote.read_index(self.path)
        if self._remote.listing(is_of_run):
            fetch(address, pictures=True, say=say)
            index = remote.read_index(self.path)
        elif index:  # the run was removed from the address: it is not put there again
            Store(self.path).clear()
            remote.write_index(self.path, index := {})
        self._sent = {name: (_stamp(self.path / name), one.sha256) for name, one in index.items()}

    def part(self, cell: str, part: Part) -> None:
        """Upload a part of a cell: its pictures and masks, its features, its rows. Raises WriteFailed."""
        store = Store(self.path)
        files = [self.path / "plan.json"]
        for row in part.rows:
            if row["status"] == "ok":
                edit = Edit(row["edit"], row["strength"]) if row.get("edit") is not None else None
                files += [store.picture(cell, row["image"], edit), *([store.mask(cell, row["image"])] if not edit else [])]
        files += [store.features_path(cell, part.name), store.curves_path(cell, part.name)]
        files += [store.rows_folder(cell) / f"{part.name}.parquet"]
        self._send(path.relative_to(self.path).as_posix() for path in files if path.is_file())

    def all(self) -> None:
        """Upload whatever differs, and remove what is gone here. Raises WriteFailed, and InvbenchError as :meth:`__init__`."""
        files = (path for path in self.path.rglob("*") if path.is_file() and not path.is_symlink())
        own = {path.relative_to(self.path).as_posix() for path in files if not LEFT.fullmatch(path.name)}
        own = {name for name in own if is_of_run(name)}
        self._send(own)
        self._remote.remove([name for name in self._sent if name not in own])
        self._sent = {name: sent for name, sent in self._sent.items() if name in own}
        if own:
            listed = self._remote.listing(is_of_run)
            same = {name: sent for name, sent in self._sent.items() if name in listed and listed[name].size == sent[0][1]}
            kept = {name: remote.Kept(stamp[1], listed[name].version, sha256) for name, (stamp, sha256) in same.items()}
            remote.write_index(self.path, kept)

    def _send(self, names: Iterable[str]) -> None:
        """Upload files whose content differs from what was sent; some are only written anew, with the same bytes."""
        stamps = {name: _stamp(self.path / name) for name in names}
        new = sorted((name for name, stamp in stamps.items() if self._sent.get(name, ((), ""))[0] != stamp), key=_place)
        for rank in range(len(LAST) + 1):
            some = [name for name in new if _place(name)[0] == rank]
            for first in range(0, len(some), FILES):
                chunk = {name: (self.path / name).read_bytes() for name in some[first : first + FILES]}
                digests = {name: remote.digest(data) for name, data in chunk.items()}
                self._remote.write({name: chunk[name] for name in chunk if self._sent.get(name, ((), ""))[1] != digests[name]})
                self._sent |= {name: (stamps[name], digests[name]) for name in chunk}


def of_out(out: Path | str) -> tuple[Path, Mirror | None]:
    """The folder of this disk for what a user gave with ``--out``: a path, or an address, whose mirror is opened."""
    if isinstance(out, Path):
        return out, None
    mirror = Mirror(out, say=lambda line: print(line, file=sys.stderr))
    return mirror.path, mirror


def _place(name: str) -> tuple[int, str]:
    """When a file goes up: those of LAST in their order, after all others."""
    first = name.partition("/")[0]
    return (LAST.index(first) + 1 if first in LAST else 0), name


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
