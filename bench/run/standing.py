"""Which rows of a run folder stand when a run is continued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invbench import schema
from invbench.run.plan import Cell
from invbench.scoring.scorer import Scorer
from invbench.store import Part, Store


def of(cell: Cell, store: Store, scorer: Scorer) -> tuple[set[str], int, int]:
    """Keys of the rows that are valid, the number of outdated rows set aside, and of rows whose pictures are gone.

    The latter are dropped and computed again, as failed rows are.
    """
    wanted, names = set(cell.keys()), {entry.name for entry in cell.entries}
    edits = {None, *((edit.name, edit.strength) for edit in cell.asked)}
    done, failed, outdated, gone = dict[str, str](), [], [], dict[str, str]()
    for part, row in ((one, row) for one in store.parts(cell.id) for row in one.rows):
        edit = (row["edit"], row["strength"]) if "edit" in row else None
        asked = row["image"] in names and edit in edits
        if row["recipe"] != cell.recipe or (asked and (row["key"] not in wanted or _is_old_trip(part, row, scorer))):
            outdated.append(row["key"])
        elif asked and row["status"] != "ok":
            failed.append(row["key"])
        elif row["status"] == "ok" and not store.stands(row, cell.id):
            gone[row["key"]] = row["image"]
        else:
            done[row["key"]] = row["image"]
    beside = cell.together({*gone.values()}) - {*gone.values()}
    again = {key for key, image in done.items() if image in beside and key in wanted}
    store.set_aside(cell.id, [*failed, *gone, *again], keep=False)
    return {*done} - again, store.set_aside(cell.id, outdated, keep=True), len(gone)


def _is_old_trip(part: Part, row: Mapping[str, Any], scorer: Scorer) -> bool:
    """Whether a row is of a round trip whose metrics changed: it is computed again, since its latents are not stored."""
    changed = any(part.metrics.get(id) != recipe for id, recipe in scorer.round_trips.items())
    return changed and "edit" in row and schema.is_round_trip(row["edit"])
