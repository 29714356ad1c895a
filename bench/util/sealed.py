"""Files that say themselves whether a bit of them has changed: Parquet and safetensors with a digest of the whole file inside.

A metadata value of each file is ``invbench-sha256:`` and 64 hexadecimal digits: the sha256 of the file with zeros for these
digits. A file without the mark is of an older version and is taken as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from invbench.api import InvbenchError

_MARK = b"invbench-sha256:"
_ZEROS = b"0" * 64
_FIELD = "sha256"


def table_bytes(table: pa.Table, **how: object) -> bytes:
    """A Parquet file with checksums of its pages and of the whole; ``how`` as in ``pyarrow.parquet.ParquetWriter``."""
    # Beside Arrow's own copy of the schema, which would hold the mark a second time in another spelling.
    metadata = {**(table.schema.metadata or {}), _FIELD.encode(): _MARK + _ZEROS}
    plain, buffer = table.replace_schema_metadata(None), io.BytesIO()
    with pq.ParquetWriter(buffer, plain.schema, write_page_checksum=True, **how) as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata(metadata)
    return _sealed(buffer.getvalue())


def read_table(path: Path, *, what: str) -> pa.Table:
    """The table of one Parquet file, whatever its folders are called.

    Raises InvbenchError naming the file, ``what`` it should have been ("a part of a run") and what is wrong with it.
    """
    data = _checked(path, what)
    try:
        with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True) as file:
            table = file.read()
            metadata = {**(file.metadata.metadata or {}), **(table.schema.metadata or {})}
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InvbenchError(f"{path}: expected {what}, found an unreadable file: {_line(error)}") from error
    metadata.pop(_FIELD.encode(), None)
    metadata.pop(b"ARROW:schema", None)
    return table.replace_schema_metadata(metadata)


def tensors_bytes(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with a digest of the whole; the same bytes for the same content."""
    data = safetensors.numpy.save(dict(tensors), {**metadata, _FIELD: (_MARK + _ZEROS).decode()})
    # The library writes metadata in an order that changes from process to process.
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return _sealed(len(header).to_bytes(8, "little") + header + data[8 + size :])


def read_tensors(path: Path, *, what: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file. Raises InvbenchError as :func:`read_table` does."""
    data = _checked(path, what)
    try:
        tensors = safetensors.numpy.load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InvbenchError(f"{path}: expected {what}, found an unreadable file: {_line(error)}") from error
    return tensors, {name: value for name, value in metadata.items() if name != _FIELD}


def _sealed(data: bytes) -> bytes:
    at = data.rindex(_MARK + _ZEROS) + len(_MARK)
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(_ZEROS) :]


def _checked(path: Path, what: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvbenchError(f"{path}: expected {what}, found a file that cannot be read: {error.strerror}") from error
    if not data:
        raise InvbenchError(f"{path}: expected {what}, found an empty file")
    mark = data.rfind(_MARK)
    if mark >= 0:
        at = mark + len(_MARK)
        stated = data[at : at + len(_ZEROS)]
        found = hashlib.sha256(data[:at] + _ZEROS + data[at + len(_ZEROS) :]).hexdigest().encode()
        if found != stated:
            raise InvbenchError(f"{path}: expected {what}, found a damaged file: its sha256 is not the one that it states")
    return data


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
