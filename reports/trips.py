"""Round trips of edits, where a run measured them (``run --consistency``): the methods beside each other.

What was measured of each image is in docs/edits.md. e4e's script leaves out what lies beyond the 1st and 99th percentile before
it takes the mean; that figure stands beside the plain means, for comparison with numbers by that script.
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

SCRIPT = "consistency_lec"  # the metric that has the script's norm


@dataclass(frozen=True)
class Trips:
    """Methods beside each other; ``compared`` has the images behind each mean.

    ``frame`` has one row per (dataset, method, preset, edit, strength), the best first within each edit and strength:

    edit                           without the prefix that its rows have
    n_total, n_ok, n_failed        images planned, back again, failed
    seconds                        mean seconds a round trip, without the first inversion
    trimmed                        mean of SCRIPT between its percentiles 1 and 99, over the images of the method itself
    <metric>, <metric>.low, ...    figures of the consistency metrics, as in :func:`invbench.reports.query.leaderboard`
    """

    frame: pd.DataFrame
    compared: list[Compared]


def summary(source: Store | Run) -> Trips:
    """What a run found of round trips; an empty frame where it was not asked for.

    Raises InvbenchError when the folder holds no run.
    """
    run = Run.of(source)
    plan: dict[tuple[str, str, float], dict[compare.Method, Sequence[str]]] = {}
    asked = []
    for cell in run.plan["cells"].values():
        images = [image["name"] for image in sorted(cell["images"], key=lambda image: image["index"])]
        for edit in cell["consistency"]:
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
    """Mean of the values between two of them: the 1st percentile, rounded down, and the 99th, rounded up (both kept).

    As omertov/encoder4editing, metrics/LEC.py. NaN is left out; NaN for nothing.
    """
    data = np.asarray(values, dtype=np.float64)
    data = data[~np.isnan(data)]
    if not len(data):
        return float("nan")
    low, high = np.percentile(data, 1, method="lower"), np.percentile(data, 99, method="higher")
    return float(data[(low <= data) & (data <= high)].mean())


def _costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean seconds, and the figure of the script."""
    script = next((id for id in rows.columns if id.partition("@")[0] == SCRIPT), None)
    groups = rows.groupby(EDIT_KEYS)
    frame = pd.DataFrame({"seconds": groups[schema.CONSISTENCY].mean() if schema.CONSISTENCY in rows else np.nan})
    frame["trimmed"] = np.nan if script is None else groups[script].apply(trimmed_mean)
    return frame
