"""Writing files so that a reader sees the whole file or none, even if the writer is killed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from invbench.api import InvbenchError

WRITERS = 8  # number of threads that wait for the disk
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}  # errors of disks without locks
MARK = "plan.json"  # the file that makes a folder a run folder
FOREIGN = "foreign"  # the folder of a run folder in which foreign code writes, and leaves what it likes
LINK = "expected a folder of the run, found a link; nothing is written through it: remove it"
LEFT = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")  # temporaries of a killed process
_HASHED = re.compile(r"-[0-9a-f]{8}\Z")  # the ending of a changed name; an unchanged name must not have it
LONGEST_NAME = 120  # leaves room for "@edit+strength.png" and the temporary's marks in the usual 255 bytes


class WriteFailed(InvbenchError):
    """A file could not be written (full disk, read-only folder, ...); what was finished before is kept."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write one file: temporary file, fsync, rename, fsync of the folder. Raises :class:`WriteFailed`."""
    write_all({path: data})


def write_output(path: Path, data: bytes) -> None:
    """Write a file that the user names: links are followed, a device or FIFO is written directly, else :func:`write_atomic`.

    Raises :class:`WriteFailed`.
    """
    try:
        own = not path.is_symlink() and (not path.exists() or stat.S_ISREG(path.stat().st_mode))
        if not own:
            with open(path, "wb") as handle:
                handle.write(data)
    except OSError as error:
        raise WriteFailed(f"{path}: could not be written: {error.strerror or error}") from error
    if own:
        write_atomic(path, data)


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write many files as :func:`write_atomic` does; all are on the disk before any gets its name. Raises WriteFailed."""
    # The random name cannot be taken by a link before; files of a killed process are removed when the folder is locked again.
    temporaries = {path: path.with_name(f".{path.name[:60]}.{secrets.token_hex(8)}.tmp") for path in files}
    folders = {path.parent for path in files}
    try:
        for folder in folders:
            refuse_links(folder)
            folder.mkdir(parents=True, exist_ok=True)
        # Most of the time is waiting for the disk, and disks write many files at once, so several threads wait.
        with ThreadPoolExecutor(min(WRITERS, max(len(files), 1))) as writers:
            list(writers.map(_write_synced, temporaries.values(), files.values()))
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
        for folder in folders:
            _sync_folder(folder)
    except OSError as error:
        where = error.filename or next(iter(files))
        raise WriteFailed(f"{where}: could not be written: {error.strerror or error}") from error
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink()


def refuse_links(folder: Path) -> None:
    """Raise WriteFailed if a link below a run folder leads to ``folder``: a foreign link could lead anywhere.

    A run folder is one with a plan; it may be a link itself, or lie below one.
    """
    link: Path | None = None
    for one in (folder, *folder.parents):
        if link is not None and os.path.lexists(one / MARK):
            raise WriteFailed(f"{link}: {LINK}")
        if one.is_symlink():
            link = one


def file_name(name: str) -> str:
    """A safe file name for ``name``: only letters, digits and ``._+=-``, not hidden, not too long.

    A name that had to be changed, or that looks like a changed one, gets eight digits of its hash, so that two names never
    get the same file.
    """
    safe = re.sub(r"[^A-Za-z0-9._+=-]", "_", name).lstrip(".")[:LONGEST_NAME]
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    return safe if safe == name and safe and not _HASHED.search(name) else f"{safe}-{digest[:8]}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for one writing process; the lock ends with the process, even if it is killed.

    On a disk without locks the work continues without one, with a note. Raises InvbenchError if another process holds it.
    """
    taken = f"{folder}: another process is writing into this run folder; wait for it or choose another --out"
    with held(folder / ".lock", taken=taken):
        for parent, folders, names in os.walk(folder):  # does not follow links
            for name in folders:
                if (link := Path(parent, name)).is_symlink():  # also in a run folder that has no plan yet
                    raise WriteFailed(f"{link}: {LINK}")
            if Path(parent) == folder and FOREIGN in folders:
                folders.remove(FOREIGN)
            for name in filter(LEFT.fullmatch, names):
                with suppress(OSError):
                    os.unlink(os.path.join(parent, name))
        yield


@contextmanager
def held(file: Path, *, taken: str) -> Iterator[None]:
    """As :func:`locked`, with the lock file ``file``; ``taken`` is the message if another process holds it."""
    if file.is_symlink():
        raise WriteFailed(f"{file}: expected a lock file, found a link; nothing is written through it: remove it")
    lock = FileLock(file, blocking=False, fallback_to_soft=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InvbenchError(taken) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise WriteFailed(f"{file.parent}: could not be written: {error.strerror or error}") from error
        print(f"note: {file.parent}: this disk has no locks ({error.strerror}): start no second call on it", file=sys.stderr)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def _write_synced(path: Path, data: bytes) -> None:
    try:
        with open(path, "xb") as handle:  # O_EXCL: fails if a file or a link exists
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        error.filename = str(path)  # the error of a failed write has no file name
        raise


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
