"""The rows of a run for reports: few columns, names as categories, so that a million of them fit into little memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from invbench.columns import categories
from invbench.store import Store

UNUSED = ("key", "recipe", "suite")
_NAMES = ("dataset", "method", "preset", "image", "edit", "status")  # columns of few different texts


def read(store: Store) -> pd.DataFrame:
    """The rows of a run folder by dataset, method, preset, index, edit (reconstructions first) and strength.

    Names are categories in the order of their texts; numbers are float64 but for the counts. Raises InvbenchError naming a
    file that cannot be read.
    """
    table = store.rows_without(UNUSED)
    columns: dict[str, object] = {}
    for name in _NAMES:
        columns[name] = categories(table[name])
        table = table.drop_columns([name])
    numbers = {name: table[name].to_numpy() for name in ("index", "strength")}
    codes = {name: columns[name].codes for name in _NAMES}  # type: ignore[attr-defined]
    keys = [numbers["strength"], codes["edit"], numbers["index"], codes["preset"], codes["method"], codes["dataset"]]
    order = np.lexsort(keys)
    columns = {name: one.take(order) for name, one in columns.items()}  # type: ignore[attr-defined]
    for name in table.column_names:
        column = table[name]
        table = table.drop_columns([name])  # so that two copies of all are never held
        columns[name] = _column(column, order)
    return pd.DataFrame(columns, copy=False)


def _column(column: pa.ChunkedArray, order: np.ndarray) -> pd.Series | np.ndarray:
    if pa.types.is_string(column.type):
        return pd.Series(column.to_pandas().astype("str").array.take(order))
    return column.to_numpy()[order]
