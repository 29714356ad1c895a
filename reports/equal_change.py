"""Comparison of edits at an equal change of the attribute instead of an equal strength.

The same strength changes the attribute by a different amount in each method, and a method that hardly changes it keeps the
identity trivially. Here the edits of an image give a curve, the kept value as a function of the change, and the curve is
evaluated at a stated change, the same for all methods.

For one image, one edit and a change c > 0 (c < 0 is its mirror image) with strengths 0 = s0 < s1 < ... < sK:

    x_k    change of the attribute at strength s_k, as its metric measures it; x_0 = 0
    y_k    kept value at strength s_k; y_0 is the value of a picture compared with itself
    k      the first strength that reaches the change: x_k >= c, and x_j < c for all j < k
    value  y_{k-1} + (y_k - y_{k-1}) (c - x_{k-1}) / (x_k - x_{k-1})

The value lies between y_{k-1} and y_k. If strengths above 0 lower the metric, in the mean over all methods and images, those
below 0 serve for c > 0; only the sign differs. The value of an image is NaN, and the image is counted, if no strength on the
side of c reaches the change, since nothing is extrapolated, or if a point beside the crossing failed or was not covered.

Limits: the measured change includes the metric's noise, so the first point that seems to reach c may do so by chance; between
two strengths the curve is assumed to be a line; and a method's mean is over the images on which it reaches the change, which
may be the easy ones. Therefore the compared means are over the images on which all compared methods reach it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from invbench.api import SOURCE, plain_edit, sources_of
from invbench.reports import compare, kept
from invbench.reports.compare import Compared
from invbench.reports.measures import Measure
from invbench.reports.query import figures, finish
from invbench.reports.run import KEYS, Run
from invbench.store import Store

# Changes to compare at if the suite gives none, in units of the edit's ``per_strength``: -10, -5, +5 and +10 years.
STEPS = (-2.0, -1.0, 1.0, 2.0)
# metric name -> its value for a picture compared with itself
AT_REST = {"id_kept": 1.0, "id_kept_curricular": 1.0, "leakage": 0.0}
OWN_DIRECTIONS = "(own)"  # among the sources: the suite's own directions
GROUP = [*KEYS, "edit", "change"]


def at_change(strengths: ArrayLike, changes: ArrayLike, values: ArrayLike, *, change: float, at_rest: float) -> np.ndarray:
    """Kept values at which the curves of N images first reach ``change``; see the docstring of this module.

    strengths [S] in any order, without 0; changes and values [N, S], NaN if missing; change: not 0, in the unit of ``changes``;
    at_rest: the value at strength 0. Returns float64 [N], NaN if a curve does not reach the change. Raises ValueError for
    shapes that do not fit, a strength of 0, and a change that is 0 or not finite.
    """
    s, x, y = (np.asarray(one, dtype=np.float64) for one in (strengths, changes, values))
    if s.ndim != 1 or x.ndim != 2 or x.shape != y.shape or x.shape[1] != len(s):
        raise ValueError(f"expected strengths [S], changes and values [N, S], found {s.shape}, {x.shape} and {y.shape}")
    if change == 0 or not math.isfinite(change):
        raise ValueError(f"change: expected a finite number that is not 0, found {change}")
    if (s == 0).any():
        raise ValueError("strengths: expected numbers that are not 0 (at_rest is the value at 0), found 0")
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
    """The kept values of each edited image at each change: one row per (dataset, method, preset, edit, change, image).

    change      in ``unit``, the unit of ``measure``, the metric that measured it: the suite's ``compare_at`` of the edit,
                else STEPS
    strength    the interpolated strength that reaches the change; NaN if none does
    <metric>    each edit metric of AT_REST at that change; NaN if not covered

    An edit is left out if no metric of the run measures its change, or if the metric's unit differs from the edit's and the
    suite has no ``compare_at``.
    Raises InvbenchError if the folder holds no run.
    """
    run = Run.of(source)
    metrics = _kept(run)
    blocks = []
    for name, known in _asked(run):
        measure, asked = measure_of(run, plain_edit(name), known)
        if measure is None:
            continue
        columns = dict.fromkeys([*KEYS, "image", "strength", "status", measure.id, *metrics])
        rows = run.rows.loc[(run.rows["edit"] == name) & (run.rows["strength"] != 0), [*columns]]
        if rows.empty:
            continue
        sign = np.sign((rows["strength"] * rows[measure.id]).mean()) or 1.0
        for key, group in rows.groupby(KEYS):
            images, strengths, wide = _wide(group, [measure.id, *metrics])
            changes = wide[measure.id]
            for change in asked:
                block = {**dict(zip(KEYS, key)), "edit": name, "change": change, "unit": measure.unit, "measure": measure.id}
                block |= {"image": images}
                block["strength"] = at_change(
                    sign * strengths, changes, np.tile(strengths, (len(changes), 1)), change=change, at_rest=0.0
                )
                for id, rest in metrics.items():
                    block[id] = at_change(sign * strengths, changes, wide[id], change=change, at_rest=rest)
                blocks.append(pd.DataFrame(block))
    heads = [*GROUP, "unit", "measure", "image", "strength", *metrics]
    return pd.concat(blocks, ignore_index=True)[heads] if blocks else pd.DataFrame(columns=heads)


@dataclass(frozen=True)
class EqualChange:
    """The comparison of methods at equal change; ``compared`` has the images behind each mean.

    ``frame`` has one row per (dataset, method, preset, edit, change), the best first within each change:

    unit, measure                     as in :func:`per_image`
    n_total                           images that were edited, failures included
    n                                 images on which the method reaches the change
    strength                          mean of the strength that reaches the change
    <metric>, <metric>.low, ...       figures over the images on which all compared methods reach it, as in
                                      :func:`invbench.reports.query.leaderboard`
    """

    frame: pd.DataFrame
    compared: list[Compared]


def summary(source: Store | Run) -> EqualChange:
    """Compare the methods of a run at equal change. Raises InvbenchError if the folder holds no run."""
    run = Run.of(source)
    rows = per_image(run)
    metrics = [id for id in _kept(run) if id in rows]
    groups = rows.groupby(GROUP, sort=False)
    frame = groups.agg(
        unit=("unit", "first"),
        measure=("measure", "first"),
        n_total=("image", "size"),
        n=("strength", "count"),
        strength=("strength", "mean"),
    )
    plan: dict[tuple[str, str, float], dict[compare.Method, Sequence[str]]] = {}
    for (dataset, method, preset, edit, change), group in groups:
        plan.setdefault((dataset, edit, change), {})[method, preset] = list(group["image"])
    blocks = compare.blocks(rows.assign(status="ok"), plan, metrics=metrics, by=["dataset", "edit", "change"])
    found = kept.compared(run.store.path, "equal_change", blocks, run.better)
    frame = frame.join(figures(found, GROUP))
    return EqualChange(finish(frame, run.specs, by=["dataset", "edit", "change"]), found)


def by_source(source: Store | Run, *, strongest: bool = False) -> EqualChange:
    """For each method, the sources of directions of an attribute compared with each other at equal change.

    The frame has one row per (dataset, edit, change, source), as that of :func:`summary` has one per method: ``edit`` is the
    plain name, ``method`` the source (OWN_DIRECTIONS for the suite's), ``preset`` the method that edits, as "ID:PRESET". Empty
    for a run that names no source, and for attributes with a single one. Means are over the images on which all sources reach
    the change. ``strongest`` keeps the largest change of each attribute.
    """
    run = Run.of(source)
    rows = per_image(run) if any(SOURCE in name for name, _ in _asked(run)) else pd.DataFrame(columns=[*GROUP])
    sources = [", ".join(sources_of(name)) or OWN_DIRECTIONS for name in rows["edit"]]
    rows = rows.assign(source=sources, edit=[plain_edit(name) for name in rows["edit"]])
    if strongest:
        rows = rows[rows["change"] == rows.groupby(["dataset", "edit"])["change"].transform("max")]
    found: list[Compared] = []
    frames = []
    for (method, preset), own in rows.groupby(["method", "preset"], sort=False):
        several = own.groupby(["dataset", "edit"])["source"].transform("nunique") > 1
        own = own[several].assign(method=own["source"], preset=f"{method}:{preset}")
        if own.empty:
            continue
        metrics = [id for id in _kept(run) if id in own]
        groups = own.groupby(GROUP, sort=False)
        frame = groups.agg(
            unit=("unit", "first"), n_total=("image", "size"), n=("strength", "count"), strength=("strength", "mean")
        )
        plan: dict[tuple[str, str, float], dict[compare.Method, Sequence[str]]] = {}
        for (dataset, one, label, edit, change), group in groups:
            plan.setdefault((dataset, edit, change), {})[one, label] = list(group["image"])
        blocks = compare.blocks(own.assign(status="ok"), plan, metrics=metrics, by=["dataset", "edit", "change"])
        compared = compare.compare(blocks, run.better)
        frames.append(frame.join(figures(compared, GROUP)))
        found += compared
    if not frames:
        return EqualChange(pd.DataFrame(columns=[*GROUP, "unit", "n_total", "n", "strength"]), [])
    return EqualChange(finish(pd.concat(frames), run.specs, by=["dataset", "edit", "change", "preset"]), found)


def _asked(run: Run) -> list[tuple[str, Mapping[str, Any]]]:
    """The edits of a run by name, each with the manifest's record of its plain name."""
    edits = run.manifest.get("edits", {})
    names = dict.fromkeys(edit["name"] for cell in run.plan["cells"].values() for edit in cell["edits"])
    named = [name for name in names if SOURCE in name]
    return [*edits.items(), *((name, edits[plain_edit(name)]) for name in named if plain_edit(name) in edits)]


def _kept(run: Run) -> dict[str, float]:
    """Metric id -> value at rest, for the run's edit metrics that have one, in the order of tables."""
    named = {spec.id: spec.id.split("@")[0] for spec in run.specs_of("edit") if spec.id in run.rows}
    return {id: AT_REST[name] for id, name in named.items() if name in AT_REST}


def measure_of(run: Run, edit: str, known: Mapping[str, Any]) -> tuple[Measure | None, list[float]]:
    """The metric that measures the change of an edit, ``<edit>_change`` or the first of its family, and where to compare.

    ``known`` is the manifest's record of the edit. STEPS are in the edit's unit, so they need a metric with that unit.
    """
    family, asked = f"{edit}_change", [float(change) for change in known.get("compare_at", ()) if change]
    steps = [factor * float(known["per_strength"]) for factor in STEPS if known.get("per_strength")]
    for spec in run.specs_of("edit"):
        measured = spec.id in run.rows and run.rows[spec.id].notna().any()
        if measured and (spec.name == family or spec.name.startswith(f"{family}_")):
            if asked:
                return spec, asked
            if spec.unit == known.get("unit") and steps:
                return spec, steps
    return None, []


def _wide(rows: pd.DataFrame, ids: Sequence[str]) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Images, strengths, and for each metric the values [images, strengths] of one method's edits; NaN for failed rows."""
    images, strengths = list(rows["image"].unique()), np.sort(rows["strength"].unique()).astype(np.float64)
    at = pd.Index(images).get_indexer(rows["image"]), np.searchsorted(strengths, rows["strength"])
    tables = {}
    for id in ids:
        tables[id] = np.full((len(images), len(strengths)), np.nan)
        tables[id][at] = rows[id].astype(np.float64).where(rows["status"] == "ok")
    return images, strengths, tables
