"""Comparison of the round trips of edits, if a run measured them (``run --consistency``).

docs/edits.md describes the measures of an image. e4e's script leaves out values beyond the 1st and 99th percentile before it
takes the mean; this trimmed mean is given beside the plain one, for comparison with numbers of that script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from invbench import schema
from invbench.reports import compare
from invbench.reports.compare import Compared
from invbench.reports.query import counts, figures, finish
from invbench.reports.run import EDIT_KEYS, KEYS, Run
from invbench.store import Store

SCRIPT = "consistency_lec"  # the metric with the norm of e4e's script


@dataclass(frozen=True)
class Trips:
    """The comparison of methods; ``compared`` has the images behind each mean.

    ``frame`` has one row per (dataset, method, preset, edit, strength), the best first within each edit and strength:

    edit                           name of the edit, without the prefix of its rows
    n_total, n_ok, n_failed        images planned, finished, failed
    seconds                        mean seconds of a round trip, without the first inversion
    trimmed                        mean of SCRIPT between its percentiles 1 and 99, over all images that the method covers
    <metric>, <metric>.low, ...    figures of the consistency metrics, as in :func:`invbench.reports.query.leaderboard`
    """

    frame: pd.DataFrame
    compared: list[Compared]


def summary(source: Store | Run) -> Trips:
    """The round trips of a run; an empty frame if the run measured none.

    Raises InvbenchError if the folder holds no run.
    """
    run = Run.of(source)
    plan: dict[tuple[str, str, float], dict[compare.Method, Sequence[str]]] = {}
    asked = []
    for cell in run.plan["cells"].values():
        images = [image["name"] for image in sorted(cell["images"], key=lambda image: image["index"])]
        for edit in cell.get("consistency", ()):
            place = (cell["dataset"], edit["name"], float(edit["strength"]))
            plan.setdefault(place, {})[cell["method"], cell["preset"]] = images
            asked.append({key: cell[key] for key in KEYS} | {"edit": place[1], "strength": place[2], "n_total": len(images)})
    if not asked:
        return Trips(pd.DataFrame(columns=[*EDIT_KEYS, "n_total", "n_ok", "n_failed", "seconds", "trimmed"]), [])
    rows = run.rows[run.rows["edit"].isin({name for _, name, _ in plan})]
    metrics = [spec.id for spec in run.specs_of("round_trip")]
    found = compare.compare(compare.blocks(rows, plan, metrics=metrics, by=["dataset", "edit", "strength"]), run.better)
    frame = pd.DataFrame(asked).set_index(EDIT_KEYS).join(counts(rows, EDIT_KEYS))
    frame = frame.join(_costs(rows[rows["status"] == "ok"])).join(figures(found, EDIT_KEYS))
    frame = finish(frame, run.specs, by=["dataset", "edit", "strength"])
    return Trips(frame.assign(edit=frame["edit"].str.removeprefix(schema.ROUND_TRIP)), found)


def trimmed_mean(values: ArrayLike) -> float:
    """Mean of the values from the 1st percentile, rounded down to a value, to the 99th, rounded up; both are included.

    As in omertov/encoder4editing, metrics/LEC.py. NaN values are left out; the result is NaN if no values are left.
    """
    data = np.asarray(values, dtype=np.float64)
    data = data[~np.isnan(data)]
    if not len(data):
        return float("nan")
    low, high = np.percentile(data, 1, method="lower"), np.percentile(data, 99, method="higher")
    return float(data[(low <= data) & (data <= high)].mean())


def _costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean seconds and trimmed mean of each group of EDIT_KEYS."""
    script = next((id for id in rows.columns if id.partition("@")[0] == SCRIPT), None)
    groups = rows.groupby(EDIT_KEYS)
    frame = pd.DataFrame({"seconds": groups[schema.CONSISTENCY].mean() if schema.CONSISTENCY in rows else np.nan})
    frame["trimmed"] = np.nan if script is None else groups[script].apply(trimmed_mean)
    return frame
