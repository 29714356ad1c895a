"""Edits compared where they moved the attribute equally far, not where they were given the same strength.

The same strength moves the attribute by another amount in every method, and a method that hardly moves it keeps the identity
for free. Here each image's edits are read as a curve, what was kept against how far the attribute went, and the curve is read
at a stated change, the same for all methods.

For one image, one edit and a change c > 0 (c < 0 is its mirror image) with strengths 0 = s0 < s1 < ... < sK:

    x_k    change of the attribute that the judge measured at strength s_k; x_0 = 0
    y_k    what was kept at strength s_k; y_0 is the value of a picture compared with itself
    k      the first strength that gets there: x_k >= c, while all before stayed below c
    value  y_{k-1} + (y_k - y_{k-1}) (c - x_{k-1}) / (x_k - x_{k-1})

The value lies between y_{k-1} and y_k. An image has none (NaN, and it is counted) where no strength of the side of c gets
there, since nothing is extrapolated, or where a point beside the crossing failed or was not covered.

What it cannot do: the change is the judge's, noise included, and the first point that seems to get there may do so by that
noise; between two strengths the curve is taken for straight; and a method's mean is over the images where it gets there, which
may be the easy ones. So means are given a second time over the images where all methods get there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bench import stats
from bench.api import MetricSpec
from bench.store import Store
from reports.query import KEYS, Run

STEPS = (-2.0, -1.0, 1.0, 2.0)  # changes to compare at, in the edit's ``per_strength``: -10, -5, +5 and +10 years
# metric name -> its value for a picture compared with itself
AT_REST = {"id_kept": 1.0, "id_kept_curricular": 1.0, "leakage": 0.0}
GROUP = [*KEYS, "edit", "change"]
SEED = 0


def at_change(strengths: ArrayLike, changes: ArrayLike, values: ArrayLike, *, change: float, at_rest: float) -> np.ndarray:
    """Values where the curves of N images first reach ``change``; see the top of this file.

    strengths [S] in any order, without 0; changes and values [N, S], NaN where something is missing; change not 0, in the unit
    of ``changes``; at_rest: the value at strength 0. Returns float64 [N], NaN where a curve does not reach the change.
    Raises ValueError for shapes that do not fit, a strength of 0, and a change that is 0 or not finite.
    """
    s, x, y = (np.asarray(one, dtype=np.float64) for one in (strengths, changes, values))
    if s.ndim != 1 or x.ndim != 2 or x.shape != y.shape or x.shape[1] != len(s):
        raise ValueError(f"expected strengths [S], changes and values [N, S], found {s.shape}, {x.shape} and {y.shape}")
    if change == 0 or not math.isfinite(change):
        raise ValueError(f"change: expected a finite number that is not 0, found {change}")
    if (s == 0).any():
        raise ValueError("strengths: expected none of 0, whose value is at_rest")
    side = math.copysign(1.0, change)
    order = [i for i in np.argsort(np.abs(s), kind="stable") if s[i] * side > 0]
    n = len(x)
    x = np.column_stack([np.zeros(n), x[:, order] * side])
    y = np.column_stack([np.full(n, at_rest), y[:, order]])
    there = x >= abs(change)  # false for NaN
    last = there.argmax(1)
    rows = np.arange(n)
    x0, x1, y0, y1 = x[rows, last - 1], x[rows, last], y[rows, last - 1], y[rows, last]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = y0 + (y1 - y0) * (abs(change) - x0) / (x1 - x0)
    return np.where(there.any(1), found, np.nan)


def per_image(source: Store | Run) -> pd.DataFrame:
    """One row per (dataset, method, preset, edit, change, image) that was edited: what it kept at that change.

    change      in the edit's ``unit``; ``judge`` is the metric that measured it
    strength    the interpolated strength that reaches it; NaN where none does
    <metric>    each edit metric of AT_REST at that change; NaN where not covered

    An edit is left out where no metric of the run measures its change in the unit that the suite gives for it.
    Raises InvbenchError when the folder holds no run.
    """
    run = Run.of(source)
    metrics = _kept(run)
    blocks = []
    for name, known in run.manifest.get("edits", {}).items():
        judge, step = _judge(run, name, known.get("unit")), known.get("per_strength")
        rows = run.rows[(run.rows["edit"] == name) & (run.rows["strength"] != 0)]
        if judge is None or not step or rows.empty:
            continue
        for key, group in rows.groupby(KEYS):
            wide = {id: _wide(group, id) for id in [judge.id, *metrics]}
            changes = wide[judge.id]
            strengths = changes.columns.to_numpy(dtype=np.float64)
            for factor in STEPS:
                change = factor * float(step)
                of = {"changes": changes, "change": change}
                block = {**dict(zip(KEYS, key)), "edit": name, "change": change, "unit": known["unit"], "judge": judge.id}
                block |= {"image": changes.index}
                block["strength"] = at_change(strengths, values=np.tile(strengths, (len(changes), 1)), at_rest=0.0, **of)
                block |= {id: at_change(strengths, values=wide[id], at_rest=rest, **of) for id, rest in metrics.items()}
                blocks.append(pd.DataFrame(block))
    columns = [*GROUP, "unit", "judge", "image", "strength", *metrics]
    return pd.concat(blocks, ignore_index=True)[columns] if blocks else pd.DataFrame(columns=columns)


def summary(source: Store | Run, *, level: float = stats.LEVEL, resamples: int = stats.RESAMPLES) -> pd.DataFrame:
    """One row per (dataset, method, preset, edit, change), the best first within each change.

    unit, judge                       as in :func:`per_image`
    n_total                           images that were edited (or whose edit failed)
    n                                 images on which the method reaches the change
    strength                          mean of the strength that reaches it
    <metric>, .low, .high, .n         mean over the images covered, its interval, and how many these are
    <metric>.common, .common.n        mean over the images that all methods of the dataset cover at this change
    """
    run = Run.of(source)
    frame = per_image(run)
    metrics = [id for id in _kept(run) if id in frame]
    lines: list[dict[str, Any]] = []
    columns: list[pd.Series] = []
    for (dataset, edit, change), block in frame.groupby(["dataset", "edit", "change"]):
        shared = {id: _shared(block, id) for id in metrics}
        for (method, preset), group in block.groupby(["method", "preset"]):
            line = {"dataset": dataset, "method": method, "preset": preset, "edit": edit, "change": change}
            line |= {"unit": group["unit"].iloc[0], "judge": group["judge"].iloc[0]}
            line |= {"n_total": len(group), "n": int(group["strength"].notna().sum()), "strength": group["strength"].mean()}
            for id in metrics:
                common = group[group["image"].isin(shared[id])][id]
                line |= {f"{id}.common": common.mean(), f"{id}.common.n": len(common)}
            lines.append(line)
            columns += [group[id] for id in metrics]
    intervals = iter(stats.mean_intervals(columns, np.random.default_rng(SEED), level=level, resamples=resamples))
    for line in lines:
        for id, found in zip(metrics, intervals):  # as many as there are metrics
            line |= {id: found.value, f"{id}.low": found.low, f"{id}.high": found.high, f"{id}.n": found.n}
    result = pd.DataFrame(lines, columns=None if lines else [*GROUP, "unit", "judge", "n_total", "n", "strength"])
    if not metrics or result.empty:
        return result
    by = [metrics[0] + ".common", metrics[0]]
    falling = [run.specs[metrics[0]].better == "lower"] * 2
    result = result.sort_values(by, ascending=falling, kind="stable", na_position="last")
    return result.sort_values(["dataset", "edit", "change"], kind="stable").reset_index(drop=True)


def _kept(run: Run) -> dict[str, float]:
    """Metric id -> value at rest, for the run's edit metrics that have one, in the order of tables."""
    named = {spec.id: spec.id.split("@")[0] for spec in run.specs_of("edit") if spec.id in run.rows}
    return {id: AT_REST[name] for id, name in named.items() if name in AT_REST}


def _judge(run: Run, edit: str, unit: str | None) -> MetricSpec | None:
    """The metric that measures the change of an edit in the suite's unit: ``<edit>_change``, or the first of its family."""
    family = f"{edit}_change"
    found = [
        spec
        for spec in run.specs_of("edit")
        if (spec.id.split("@")[0] == family or spec.id.startswith(f"{family}_")) and spec.unit == unit and spec.id in run.rows
    ]
    return found[0] if found else None


def _wide(rows: pd.DataFrame, id: str) -> pd.DataFrame:
    """Values of a metric [images, strengths]; NaN in rows that failed."""
    values = rows[id].astype(np.float64).where(rows["status"] == "ok")
    return rows.assign(value=values).pivot(index="image", columns="strength", values="value")


def _shared(block: pd.DataFrame, id: str) -> Sequence[str]:
    """Images on which every method of a block has a value."""
    table = block.pivot(index="image", columns=["method", "preset"], values=id)
    return list(table.dropna().index)
