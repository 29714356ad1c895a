"""Writing files so that a reader sees the whole file or none, whatever kills the writer."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.api import InvbenchError

LONGEST_NAME = 120  # leaves room for "@edit+strength.png" and the temporary's marks in the usual 255 bytes


class WriteFailed(InvbenchError):
    """A file could not be written (full disk, read-only folder, ...); what was finished before is kept."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write one file: temporary, fsync, rename, fsync of the folder. Raises :class:`WriteFailed`."""
    write_all({path: data})


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write many files as :func:`write_atomic` does, with one fsync a folder instead of one a file's folder."""
    temporaries: dict[Path, Path] = {}
    current = Path()
    try:
        for folder in {path.parent for path in files}:
            current = folder
            folder.mkdir(parents=True, exist_ok=True)
        for path, data in files.items():
            # One fixed name a target: what a killed process left is overwritten by the next try, not piled up.
            current, temporaries[path] = path, path.with_name(f".{path.name}.tmp")
            _write_synced(temporaries[path], data)
        for path, temporary in temporaries.items():
            current = path
            os.replace(temporary, path)
        for folder in {path.parent for path in files}:
            _sync_folder(folder)
    except OSError as error:
        raise WriteFailed(f"{current}: could not be written: {error.strerror or error}") from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


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
    with open(path, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
