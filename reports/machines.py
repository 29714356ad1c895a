"""The machines on which rows were timed: times and memory of one machine never stand for those of another."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from invbench import schema

Cell = tuple[str, str, str]
CELL = ["dataset", "method", "preset"]
UNKNOWN = "a machine that the rows do not name"
APART = "seconds and memory are of different machines and cannot be compared between them"


def unmixed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows; those made elsewhere than most of their cell's have no times and memory."""
    measures = [name for name in rows.columns if schema.is_measure(name)]
    mine = _machines(rows)
    elsewhere = _timed(rows) & (mine != _most(rows, mine).reindex(pd.MultiIndex.from_frame(rows[CELL])).to_numpy())
    if not elsewhere.any():
        return rows
    return rows.assign(**{name: rows[name].mask(elsewhere) for name in measures})


def of_cells(rows: pd.DataFrame) -> dict[Cell, str]:
    """The machine of each cell that has times: that of most of its rows, of equally many the first by name."""
    found: dict[Cell, str] = {key: str(machine) for key, machine in _most(rows, _machines(rows)).items()}  # type: ignore[misc]
    return found


def statements(rows: pd.DataFrame) -> list[str]:
    """What has to be said about the times of one dataset's rows; nothing where all are of one machine."""
    by_machine: dict[str, list[str]] = defaultdict(list)
    own = rows.assign(machine=_machines(rows))[_timed(rows)].groupby(CELL)["machine"]
    parts = []
    for (dataset, method, preset), machine in of_cells(rows).items():
        name, found = f"{method}.{preset}", own.get_group((dataset, method, preset))
        by_machine[machine].append(name)
        count = int((found == machine).sum())
        if count < len(found):
            parts.append(f"seconds and memory of {name}: of {count} of {len(found)} rows, made on {machine}")
    told = "; ".join(f"{machine}: {', '.join(cells)}" for machine, cells in sorted(by_machine.items()))
    return [f"{APART}: {told}", *parts] if len(by_machine) > 1 else parts


def _timed(rows: pd.DataFrame) -> pd.Series:
    seconds = [name for name in rows.columns if schema.is_seconds(name)]
    return (rows["status"] == "ok") & (rows["machine"].notna() | rows[seconds].notna().any(axis=1))


def _machines(rows: pd.DataFrame) -> pd.Series:
    return rows["machine"].fillna(UNKNOWN)


def _most(rows: pd.DataFrame, machines: pd.Series) -> pd.Series:
    """By cell: the machine of most of its timed rows."""
    timed = rows.loc[_timed(rows), CELL].assign(machine=machines)
    counted = timed.groupby([*CELL, "machine"], observed=True).size().rename("count").reset_index()
    counted = counted.sort_values([*CELL, "count", "machine"], ascending=[True, True, True, False, True])
    return counted.drop_duplicates(CELL).set_index(CELL)["machine"]
