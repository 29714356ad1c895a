"""The pictures of a dataset as PNG files of a folder, for code that is no part of this project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from invbench.api import Dataset, InvbenchError, printable
from invbench.plugins.config import DatasetChoice, Suite
from invbench.run.plan import read_entry
from invbench.run.session import Session
from invbench.util.files import write_all
from invbench.util.images import encode_png

FILES = 32  # pictures that are written at a time


def export_choice(suite: Suite, choice: DatasetChoice, out: Path, *, say: Callable[[str], None]) -> tuple[int, int]:
    """Write the chosen pictures of a dataset of the suite, as :func:`export` does."""
    with Session(suite, device="cpu", readers=0) as session:
        return export(session.dataset(choice.spec), out, count=choice.count, say=say)


def export(dataset: Dataset, out: Path, *, count: int | None, say: Callable[[str], None]) -> tuple[int, int]:
    """Write the first ``count`` (None: all) pictures as ``out/NAME.png``. Returns how many were written, and how many not.

    ``say`` gets a line on each picture that cannot be read. ``invbench score`` finds pictures of these names again. Raises
    InvbenchError for a folder that holds anything, and for a name that is no path below a folder; WriteFailed.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvbenchError(f"{out}: expected a new or an empty folder, found {'files in it' if out.is_dir() else 'a file'}")
    indices = range(len(dataset.names))[:count]
    for index in indices:
        path = PurePosixPath(dataset.names[index])
        if path.is_absolute() or not path.name or {".", ".."} & {*path.parts} or str(path) != dataset.names[index]:
            raise InvbenchError(f"{dataset.names[index]!r}: expected a name that a file below {out} can have")
    failed = 0
    for first in range(0, len(indices), FILES):
        files: dict[Path, bytes] = {}
        for index in indices[first : first + FILES]:
            entry, picture = read_entry(dataset, index, None)
            if picture is None:
                failed += 1
                say(printable(f"{entry.name}: left out: {entry.reason}", lines=True))
            else:
                files[out / f"{entry.name}.png"] = encode_png(picture)
        write_all(files)
    return len(indices) - failed, failed
