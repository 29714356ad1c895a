"""Tables of a run folder whose columns are those of :mod:`invbench.schema`: read with a check, and made of rows."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from invbench.api import InvbenchError
from invbench.schema import PLACE, SET, TIMED
from invbench.util import sealed


def read(path: Path, what: str, fields: pa.Schema, *, without: Container[str] = ()) -> pa.Table:
    """A file's table, but for the columns ``without``.

    Raises InvbenchError naming the file and ``what`` was expected if it is damaged, and as :func:`expect` does.
    """
    table = sealed.read_table(path, what=what, without=without)
    expect(table, _but(fields, without), f"{path}: expected {what}, found ")
    return table


def together(paths: Sequence[Path], what: str, *, empty: pa.Schema, without: Container[str] = ()) -> pa.Table:
    """The rows of many files, with the columns of all; a file that lacks a column has nulls there. Raises as :func:`read`."""
    tables = [read(path, what, empty, without=without).replace_schema_metadata(None) for path in paths]
    return pa.concat_tables([_but(empty, without).empty_table(), *tables], promote_options="default")


def expect(table: pa.Table, fields: pa.Schema, where: str) -> None:
    """Raise InvbenchError, ``where`` before it, unless the columns have the types of ``fields`` and all others are numbers.

    A column may be missing, as in older runs, or empty, but those of :data:`invbench.schema.PLACE`, which every row has.
    """
    names = table.schema.names
    if len({*names}) < len(names):
        raise InvbenchError(f"{where}two columns of one name")
    for name in names:
        found = table.schema.field(name).type
        known = fields.field(name).type if name in fields.names else None
        if not pa.types.is_null(found) and (found != known if known else not pa.types.is_floating(found)):
            raise InvbenchError(f"{where}{found} in the column {name}")
    for name in (*(name for name in PLACE if name in fields.names), *(TIMED if "warmup" in fields.names else ())):
        if name not in names or (name in fields.names and table.column(name).null_count):
            raise InvbenchError(f"{where}a row without {name}")
    if "edit" in names and len(table) - table.column("edit").null_count > _edits_with_strength(table):
        raise InvbenchError(f"{where}an edit without strength")
    if "metric" in fields.names and table.group_by(SET).aggregate([]).num_rows < len(table):
        raise InvbenchError(f"{where}a metric of a cell twice")


def _edits_with_strength(table: pa.Table) -> int:
    if "strength" not in table.schema.names:
        return 0
    both = pc.and_(pc.is_valid(table.column("edit")), pc.is_valid(table.column("strength")))
    return int(pc.sum(both).as_py() or 0)


def categories(column: pa.ChunkedArray) -> pd.Categorical:
    """A column of few different texts, as categories in the order of the texts."""
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    texts = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.array(sorted(range(len(texts)), key=texts.__getitem__), dtype=np.int64)
    place = np.empty(len(texts) + 1, dtype=np.int32)
    place[order], place[-1] = np.arange(len(texts)), -1
    codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(place[codes], categories=pd.Index(texts[order], dtype="str"))


def table_bytes(rows: Sequence[Mapping[str, Any]], fields: pa.Schema) -> bytes:
    """A file of rows that have these columns and others, which are numbers."""
    extra = sorted({name for row in rows for name in row} - set(fields.names))
    schema = pa.schema([*fields, *((name, pa.float64()) for name in extra)])
    return sealed.table_bytes(pa.Table.from_pylist([dict(row) for row in rows], schema=schema))


def _but(fields: pa.Schema, without: Container[str]) -> pa.Schema:
    return pa.schema([field for field in fields if field.name not in without])
