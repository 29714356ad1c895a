"""Any folder of pictures as a dataset.

A run takes it by its path: ``invbench run --datasets ./my_faces``. To give it a name, declare it in a plug-in file and pass
the file to ``--plugin``::

    from invbench.datasets.folder import Folder

    SPECS = [{"id": "mine", "title": "My faces", "class": "Folder", "domain": "procfaces", "size": None,
              "options": {"root": "/data/faces", "resolution": 64}}]
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from invbench.api import Edit, InvbenchError, Sample, printable
from invbench.datasets.decode import decode
from invbench.datasets.pictures import folder
from invbench.datasets.search import SUFFIXES, is_run, search

LONGEST = 100  # characters of a name


class Folder:
    """The pictures under ``root``, in subfolders too, in the order of their paths; :mod:`.search` says which files these are.

    root        the folder
    resolution  pictures are resized to this many pixels a side (Lanczos), and must be square; None = taken as they are

    A name is the path without its suffix, with ``/`` written as ``__``. Names that would collide (also when upper and lower
    case are not distinguished), or that hold anything but letters, digits and ``._-``, get eight digits of their path's hash.
    ``paths`` are the paths relative to the root, by which external pictures are matched; ``notes`` holds a line on the files
    left out. Raises InvbenchError if ``root`` is not a folder, is a run folder, or holds no picture.
    """

    def __init__(self, root: str | Path, *, resolution: int | None = None) -> None:
        self.root = folder(root)
        self.resolution = resolution
        if is_run(self.root):
            raise InvbenchError(
                f"{root}: expected a folder of pictures, found a run folder; its originals are in "
                f"{self.root / 'inputs'}/DATASET"
            )
        found = search(self.root)
        told = f"left out of {printable(self.root)}: {found.left_out}" if found.left_out else ""
        self.files, self.notes = list(found.files), [told] if told else []
        if not self.files:
            raise InvbenchError(f"{root}: expected pictures ({', '.join(SUFFIXES)}), found none{told and f'; {told}'}")
        relative = [path.relative_to(self.root) for path in self.files]
        self.paths = [path.as_posix() for path in relative]
        self.names = _names(relative)

    def read(self, index: int) -> Sample:
        """Decode one picture. Raises InvbenchError if it cannot be decoded, or must be resized and is not square."""
        path = self.files[index]
        picture = decode(path)
        if self.resolution is not None and picture.shape[:2] != (self.resolution, self.resolution):
            height, width = picture.shape[:2]
            if height != width:
                raise InvbenchError(f"{path}: expected a square picture, found {width}x{height}")
            size = (self.resolution, self.resolution)
            picture = np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
        return Sample(picture, self.names[index], hashlib.sha256(picture.tobytes()).hexdigest())

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        """None: the true edited picture of a photograph is unknown."""
        return None


def _names(paths: list[Path]) -> list[str]:
    plain = ["__".join(path.with_suffix("").parts) for path in paths]
    times = Counter(name.casefold() for name in plain)
    names = []
    for path, name in zip(paths, plain, strict=True):
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[:LONGEST]
        if safe != name or times[name.casefold()] > 1:
            digest = hashlib.sha256(path.as_posix().encode(errors="surrogateescape")).hexdigest()
            safe = f"{safe}-{digest[:8]}"
        names.append(safe)
    return names
