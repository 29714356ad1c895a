"""Files that contain their own checksum, so that every changed bit is detected: Parquet, safetensors and JSON.

A metadata value of each file (in JSON a value of the object) is ``invbench-sha256:`` and 64 hexadecimal digits: the sha256 of
the file with zeros in place of these digits. A file without it is damaged or foreign.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from invbench.api import InvbenchError

_MARK = b"invbench-sha256:"
_ZEROS = b"0" * 64
_FIELD = "sha256"
_STATED = re.compile(_MARK + rb"([0-9a-f]{64})")  # text in the file may also look like it


def table_bytes(table: pa.Table, **how: object) -> bytes:
    """The bytes of a Parquet file with checksums of its pages and of the whole; ``how``: options of pyarrow's ParquetWriter."""
    # Not within Arrow's copy of the schema, which would contain the mark a second time in another encoding.
    metadata = {**(table.schema.metadata or {}), _FIELD.encode(): _MARK + _ZEROS}
    plain, buffer = table.replace_schema_metadata(None), io.BytesIO()
    with pq.ParquetWriter(buffer, plain.schema, write_page_checksum=True, **how) as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata(metadata)
    return _sealed(buffer.getvalue())


def read_table(path: Path, *, what: str, without: Container[str] = ()) -> pa.Table:
    """The table of one Parquet file, but for the columns ``without``; names of folders add no columns.

    Raises InvbenchError naming the file, ``what`` was expected ("a part of a run") and the defect.
    """
    data = _checked(path, what)
    try:
        with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True) as file:
            table = file.read([name for name in file.schema_arrow.names if name not in without] if without else None)
            metadata = {**(file.metadata.metadata or {}), **(table.schema.metadata or {})}
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InvbenchError(f"{path}: expected {what}, found an unreadable file: {_line(error)}") from error
    metadata.pop(_FIELD.encode(), None)
    metadata.pop(b"ARROW:schema", None)
    return table.replace_schema_metadata(metadata)


def tensors_bytes(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file with a checksum of the whole; equal content gives equal bytes."""
    data = safetensors.numpy.save(dict(tensors), {**metadata, _FIELD: (_MARK + _ZEROS).decode()})
    # The library writes metadata in an order that differs between processes.
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return _sealed(len(header).to_bytes(8, "little") + header + data[8 + size :])


def read_tensors(path: Path, *, what: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file. Raises InvbenchError as :func:`read_table` does."""
    data = _checked(path, what)
    try:
        tensors = safetensors.numpy.load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InvbenchError(f"{path}: expected {what}, found an unreadable file: {_line(error)}") from error
    return tensors, {name: value for name, value in metadata.items() if name != _FIELD}


def json_bytes(content: Mapping[str, object]) -> bytes:
    """The bytes of a JSON object, keys sorted, with a checksum of the whole; ``content`` must not have the key ``sha256``."""
    marked = {**content, _FIELD: (_MARK + _ZEROS).decode()}
    return _sealed(json.dumps(marked, indent=1, sort_keys=True).encode() + b"\n")


def read_json(path: Path, *, what: str) -> dict[str, Any]:
    """The object of a JSON file. Raises InvbenchError as :func:`read_table` does."""
    try:
        content = json.loads(_checked(path, what))
    except (ValueError, RecursionError) as error:
        raise InvbenchError(f"{path}: expected {what}, found an unreadable file: {_line(error)}") from error
    if not isinstance(content, dict):
        raise InvbenchError(f"{path}: expected {what}, an object, found {type(content).__name__}")
    content.pop(_FIELD, None)
    return content


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
    stated = [found.start(1) for found in _STATED.finditer(data)]
    if not stated:
        raise InvbenchError(f"{path}: expected {what}, found a file that does not state its sha256: damaged or foreign")
    if not any(_digest(data, at) == data[at : at + len(_ZEROS)] for at in stated):
        raise InvbenchError(f"{path}: expected {what}, found a damaged file: its sha256 is not the one that it states")
    return data


def _digest(data: bytes, at: int) -> bytes:
    return hashlib.sha256(data[:at] + _ZEROS + data[at + len(_ZEROS) :]).hexdigest().encode()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
