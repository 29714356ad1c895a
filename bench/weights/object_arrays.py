"""Read a NumPy file of one pickled dictionary (``np.save(path, {...})``) without running anything that is in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from invbench.api import InvbenchError
from invbench.weights import tf_pickles
from invbench.weights.network_pickles import read_records
from invbench.weights.pickle_records import is_record

DEEPEST, LONGEST = 3, 1000  # of dictionaries in dictionaries; of lists and texts


def holds_object(path: Path) -> bool:
    """Whether the file is a NumPy array of one object."""
    with open(path, "rb") as handle:
        try:
            shape, dtype = _header(handle)
        except (ValueError, EOFError, OSError):
            return False
    return shape == () and dtype.hasobject


def load(path: Path) -> dict[str, Any]:
    """The dictionary: arrays of numbers as tensors, plain values, lists of them, and dictionaries.

    Raises InvbenchError naming the file for anything else, and for names that arrays do not need.
    """
    try:
        with open(path, "rb") as handle:
            _header(handle)
            record = read_records(handle, os.fstat(handle.fileno()).st_size)
        stored = record.state if is_record(record, *tf_pickles.ARRAY) else None
        if not isinstance(stored, list) or len(stored) != 5 or not isinstance(stored[4], list) or len(stored[4]) != 1:
            raise InvbenchError("expected an array of one dictionary, found another object")
        found = _plain(stored[4][0], "the array", 0)
    except InvbenchError as error:
        raise InvbenchError(f"{path}: {error}") from None
    except Exception as error:  # damaged or hostile bytes may raise anything; the file cannot be read
        raise InvbenchError(f"{path}: expected a whole array, found a damaged one: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise InvbenchError(f"{path}: expected an array of one dictionary, found {type(found).__name__}")
    return found


def plain(record: Any) -> Any:
    """What :func:`invbench.weights.network_pickles.read_records` gives, as arrays of numbers (tensors), plain values, lists of
    them, and dictionaries. Raises InvbenchError for anything else.
    """
    return _plain(record, "the file", 0)


def _header(handle: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(handle)
    return shape, dtype


def _plain(value: Any, name: str, depth: int) -> Any:
    if isinstance(value, dict) and depth < DEEPEST:
        return {str(key): _plain(one, str(key), depth + 1) for key, one in value.items()}
    if isinstance(value, list) and len(value) <= LONGEST and depth <= DEEPEST:
        return [_plain(one, name, depth + 1) for one in value]
    if isinstance(value, bool | int | float | type(None)) or isinstance(value, str) and len(value) <= LONGEST:
        return value
    return tf_pickles.array(value, name)
