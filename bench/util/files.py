"""Writing files so that a reader sees the whole file or none, whatever kills the writer."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from invbench.api import InvbenchError

WRITERS = 8  # threads that wait for the disk
LONGEST_NAME = 120  # leaves room for "@edit+strength.png" and the temporary's marks in the usual 255 bytes


class WriteFailed(InvbenchError):
    """A file could not be written (full disk, read-only folder, ...); what was finished before is kept."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write one file: temporary, fsync, rename, fsync of the folder. Raises :class:`WriteFailed`."""
    write_all({path: data})


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write many files as :func:`write_atomic` does. Either all get their names, or (on an error) none that had none yet."""
    # One fixed temporary a target: what a killed process left is overwritten by the next try, not piled up.
    temporaries = {path: path.with_name(f".{path.name}.tmp") for path in files}
    folders = {path.parent for path in files}
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        # Waiting for the disk is most of the time, and disks take many files in one go: threads wait together.
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


def file_name(name: str) -> str:
    """A name that is safe as a file name: letters, digits and ``._+=-`` only, not hidden, not too long.

    A name that had to be changed gets eight digits of its hash, so that two names never meet in one file.
    """
    safe = re.sub(r"[^A-Za-z0-9._+=-]", "_", name).lstrip(".")[:LONGEST_NAME]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writing process; the lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / ".lock", "w")  # noqa: SIM115 - held until the block ends
    except OSError as error:
        raise WriteFailed(f"{folder}: could not be written: {error.strerror or error}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvbenchError(
                f"{folder}: another process is writing into this run folder; wait for it or choose another --out"
            ) from None
        yield


def _write_synced(path: Path, data: bytes) -> None:
    try:
        with open(path, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        error.filename = str(path)  # a failed write knows its descriptor only
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
