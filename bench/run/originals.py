"""The originals of a run: one picture per name, shared by every method in the folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from invbench.api import InvbenchError
from invbench.run.plan import Entry
from invbench.store import Store


def expect_same(earlier: Mapping[str, Any], dataset: str, entries: Iterable[Entry]) -> None:
    """Check that pictures are those that the run folder, by its plan ``earlier``, has under the same names.

    Raises InvbenchError naming the picture and both hashes, since rows of two pictures must not share a name. A picture that
    could not be used earlier has no values, so it may have changed.
    """
    had = {
        image["name"]: image["sha256"]
        for cell in earlier.get("cells", {}).values()
        if cell["dataset"] == dataset
        for image in cell["images"]
        if image["sha256"]
    }
    for entry in entries:
        if had.get(entry.name, entry.sha256) != entry.sha256:
            found = f"sha256 {entry.sha256}" if entry.sha256 else f"one that cannot be used ({entry.reason})"
            raise InvbenchError(
                f"{dataset}: {entry.name}: expected the original that this run folder has (sha256 {had[entry.name]}), "
                f"found {found}; choose another --out, or --fresh"
            )


def read(store: Store, dataset: str, name: str, sha256: str) -> np.ndarray:
    """uint8 [H, W, 3], the run folder's copy of an original. Raises InvbenchError if its sha256 is not ``sha256``."""
    picture = store.read_picture(store.input(dataset, name))
    found = hashlib.sha256(picture.tobytes()).hexdigest()
    if found != sha256:
        raise InvbenchError(f"{store.input(dataset, name)}: expected the original (sha256 {sha256}), found sha256 {found}")
    return picture
