"""Two measured runs row by row: rows of both, rows of only one, and the paired differences that can be tested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from invbench import schema
from invbench.compare.baseline import CELL, KEYS, Measured, listed

Array = NDArray[np.float64]
_OF_EDITS = (schema.EDIT, schema.CONSISTENCY, schema.EDIT_ALONE)  # columns that rows of edits fill


@dataclass(frozen=True)
class Paired:
    """The rows that both runs have for the same pictures, in the same order; ``notes`` lists the others.

    cell, image, block   [rows] numbers of (method, preset, dataset), of these with the image, of these with the edit
    """

    run: pd.DataFrame
    baseline: pd.DataFrame
    cell: NDArray[np.intp]
    image: NDArray[np.intp]
    block: NDArray[np.intp]
    notes: tuple[str, ...]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """bool [rows]: finished in both."""
        return ((self.run["status"] == "ok") & (self.baseline["status"] == "ok")).to_numpy()


@dataclass(frozen=True)
class Difference:
    """A metric of a method on the images of a dataset, for reconstructions (``edit`` "") or for one edit.

    baseline, run   means over the images
    worse           [n] by how much the run is worse, image by image; a mean over the strengths of an edit
    size            mean size of the value in both runs
    """

    method: str
    preset: str
    dataset: str
    edit: str
    metric: str
    baseline: float
    run: float
    worse: Array
    size: float


@dataclass(frozen=True)
class Cost:
    """Time or memory of a method: logarithms [n] of the ratios run / baseline, one for each batch (or image) of both runs.

    baseline, run   medians over them; seconds an image, or bytes
    """

    method: str
    preset: str
    measure: str
    baseline: float
    run: float
    log_ratio: Array


@dataclass(frozen=True)
class Failures:
    """Images of a cell that failed (in the inversion or an edit) among those in both runs; ``new`` names, with a reason."""

    cell: str
    n: int
    baseline: int
    run: int
    new: tuple[str, ...]


def pair(run: Measured, baseline: Measured) -> Paired:
    """Pair rows by method, preset, dataset, image, edit and strength, and by the sha256 of the image."""
    a, b, notes = run.rows, baseline.rows, _only_metrics(run, baseline)
    if not a[KEYS].equals(b[KEYS]):
        notes = [*_only(run, baseline), *notes]
        places = pd.MultiIndex.from_frame(b[KEYS]).get_indexer(pd.MultiIndex.from_frame(a[KEYS]))
        a, b = a[places >= 0].reset_index(drop=True), b.iloc[places[places >= 0]].reset_index(drop=True)
    # A picture that one run could not read has no hash there; it must still be counted as failed.
    other = (a["sha256"] != b["sha256"]) & (a["sha256"] != "") & (b["sha256"] != "")
    if other.any():
        notes += _other_pictures(a[other])
        a, b = a[~other].reset_index(drop=True), b[~other].reset_index(drop=True)
    cell = _numbers([a[name] for name in CELL])
    return Paired(a, b, cell, _numbers([cell, a["image"]]), _numbers([cell, a["edit"]]), tuple(notes))


def _numbers(columns: Sequence[Any]) -> NDArray[np.intp]:
    """A number for each row; rows that are equal in all columns share it."""
    codes = np.zeros(len(columns[0]), dtype=np.intp)
    for column in columns:
        found, values = pd.factorize(column)
        codes = codes * max(len(values), 1) + found
    return pd.factorize(codes)[0]


def quality(paired: Paired, better: Mapping[str, str]) -> tuple[list[Difference], list[str]]:
    """Differences of the metrics ``better`` (id -> "lower" or "higher") that both runs hold, and notes on rows left out.

    Where a metric covers an image in one run only, its coverage is compared as well, as a metric of its own that is 1 for an
    image that is covered. Two infinite values at the good end do not differ, at the bad end they are no values; an infinite
    value beside a finite one is left out here (where it is the run's, and worse, :func:`failures` counts it).
    """
    ids = [id for id in better if id in paired.run and id in paired.baseline]
    ok = paired.ok
    unit = _numbers([paired.block[ok], paired.image[ok]])  # an image in a block: over the strengths that both runs have
    block_of = paired.block[ok][np.unique(unit, return_index=True)[1]]
    means: dict[str, Array] = {}  # [units, 4]: worse, run, baseline, size; one metric after the other, to save memory
    notes = []
    for id in ids:
        a = paired.run[id].to_numpy(np.float64)[ok]
        b = paired.baseline[id].to_numpy(np.float64)[ok]
        sign = 1.0 if better[id] == "lower" else -1.0
        infinite = np.isinf(a) | np.isinf(b)
        with np.errstate(invalid="ignore"):
            worse = np.where(infinite & (a == b), np.where(sign * a < 0, 0.0, np.nan), sign * (a - b))
        worse[np.isinf(worse)] = np.nan
        alone = int((infinite & (a != b) & ~np.isnan(a) & ~np.isnan(b)).sum())
        if alone:
            notes.append(f"{id}: {alone} rows left out, infinite in one run and finite in the other")
        means[id] = _unit_means(worse, a, b, unit)
        if (np.isnan(a) != np.isnan(b)).any():
            asked = ~(np.isnan(a) & np.isnan(b))
            here, there = (np.where(asked, ~np.isnan(values), np.nan) for values in (a, b))
            means[f"{id} covered"] = _unit_means(there - here, here, there, unit)
    if not means or not ok.any():
        return [], notes
    heads = paired.run[[*CELL, "edit"]].groupby(paired.block).first()
    blocks = heads.loc[pd.unique(block_of)].sort_values([*CELL, "edit"])
    found = []
    for block, head in blocks.iterrows():
        method, preset, dataset, edit = map(str, head)
        own = np.flatnonzero(block_of == block)
        for name, table in means.items():
            parts = table[own].T
            values = parts[0][~np.isnan(parts[0])]
            if len(values):
                now, was, size = map(_mean, parts[1:])
                found.append(Difference(method, preset, dataset, edit, name, was, now, values, size))
    return found, notes


def _unit_means(worse: Array, run: Array, baseline: Array, unit: NDArray[np.intp]) -> Array:
    """The means over each unit of ``worse`` and, where it has a value, of the finite values of both runs and of their size."""
    run, baseline = (np.where(np.isfinite(one) & ~np.isnan(worse), one, np.nan) for one in (run, baseline))
    table = pd.DataFrame(np.stack([worse, run, baseline, (np.abs(run) + np.abs(baseline)) / 2], axis=1))
    return table.groupby(unit, sort=False).mean().to_numpy()


def costs(paired: Paired, measures: Iterable[str]) -> tuple[list[Cost], list[str]]:
    """Ratios of the times and memory ``measures`` (column names) by method, and notes on what could not be compared.

    The images of a batch share its time, so the unit is the batch: one ratio for each batch with the same images in both
    runs, over all datasets. An edit's time is that of all its strengths. In the latency pass (``latency.*``) each picture
    is a unit.
    """
    wanted = [name for name in measures if name in paired.run and name in paired.baseline]
    ok, edited = paired.ok, (paired.run["edit"] != "").to_numpy()
    here, there = ok & ~edited, ok & edited
    if not here.any():
        return [], []
    tables = []
    for rows in (paired.run, paired.baseline):
        images = rows.loc[here, ["method", "preset", "batch", *wanted]].reset_index(drop=True)
        for name in (name for name in _OF_EDITS if name in wanted):
            edits = rows.loc[there, name].groupby(paired.image[there]).sum(min_count=1)
            images[name] = edits.reindex(paired.image[here]).to_numpy()
        tables.append(images)
    alone = [*filter(schema.is_latency, wanted)]
    together = [name for name in wanted if name not in alone]
    found = _ratios(tables, alone, np.arange(len(tables[0])), np.ones(len(tables[0]), dtype=bool))
    if schema.INVERT not in together:
        return found, []
    # All rows of a batch hold exactly the same time.
    batch = _numbers([paired.cell[here], *(table[schema.INVERT] for table in tables)])
    size = np.bincount(batch)[batch]
    whole = np.logical_and.reduce([size == table["batch"].to_numpy() for table in tables])
    notes = []
    if not whole.all():
        notes.append(f"times of {(~whole).sum()} of {len(whole)} inversions are not compared: their batches differ")
    return found + _ratios(tables, together, batch, whole), notes


def _ratios(
    tables: Sequence[pd.DataFrame], names: Sequence[str], unit: NDArray[np.intp], chosen: NDArray[np.bool_]
) -> list[Cost]:
    """Costs by method from the run's and the baseline's rows of images, with a mean for each unit."""
    if not names or not chosen.any():
        return []
    methods = tables[0].loc[chosen, ["method", "preset"]].groupby(unit[chosen]).first()
    means = [table.loc[chosen, list(names)].groupby(unit[chosen]).mean().to_numpy(np.float64) for table in tables]
    found = []
    for (method, preset), places in methods.groupby(["method", "preset"]).indices.items():
        for column, name in enumerate(names):
            now, was = (table[places, column] for table in means)
            both = (now > 0) & (was > 0)  # stages that a method does not have are NaN
            if both.any():
                medians = float(np.median(was[both])), float(np.median(now[both]))
                found.append(Cost(str(method), str(preset), name, *medians, np.log(now[both] / was[both])))
    return found


def failures(paired: Paired, better: Mapping[str, str]) -> list[Failures]:
    """Cells in which an image failed, in either run.

    A value of the metrics ``better`` (as in :func:`quality`) that is infinitely bad beside a finite one is a failure, too, and
    so are all values that one run lacks where it has none in a cell and the other has some.
    """
    bad = pd.DataFrame({side: rows["status"] != "ok" for side, rows in (("run", paired.run), ("baseline", paired.baseline))})
    reason = paired.run["reason"].astype(object)
    for id, end in better.items():
        if id in paired.run and id in paired.baseline:
            sides = {"run": paired.run[id].to_numpy(np.float64), "baseline": paired.baseline[id].to_numpy(np.float64)}
            for side, other in (("run", "baseline"), ("baseline", "run")):
                lost = paired.ok & _lost(sides[side], sides[other], np.inf if end == "lower" else -np.inf, paired.block)
                bad[side] |= lost
                if side == "run":
                    reason = reason.mask(lost & (reason == ""), f"{id}: no value, or an infinite one, and one in the baseline")
    if not bad.to_numpy().any():
        return []
    heads = paired.run[[*CELL, "image"]].groupby(paired.image).first()
    images = heads.join(bad.groupby(paired.image).any())
    reasons = reason[bad["run"]].groupby(paired.image[bad["run"]]).first()
    found = []
    for cell, block in images.groupby(CELL):
        if not block[["run", "baseline"]].to_numpy().any():
            continue
        new = block[block["run"] & ~block["baseline"]]
        told = tuple(f"{image}: {reasons[number]}" for number, image in new["image"].items())
        was, now = int(block["baseline"].sum()), int(block["run"].sum())
        found.append(Failures(".".join(map(str, cell)), len(block), was, now, told))
    return found


def _lost(mine: Array, other: Array, worst: float, block: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Where ``mine`` is infinitely bad and ``other`` is not, or has no value in a whole block in which ``other`` has some."""
    held = np.bincount(block, weights=~np.isnan(mine)) > 0 if len(block) else np.zeros(0, dtype=bool)
    return ~np.isnan(other) & (other != worst) & ((mine == worst) | ~held[block])


def _only(run: Measured, baseline: Measured) -> list[str]:
    """Cells, images and edits that only one of the two holds."""
    sides = {"baseline": baseline.rows, "run": run.rows}
    notes = []
    cells = {side: set(rows[CELL].drop_duplicates().itertuples(index=False, name=None)) for side, rows in sides.items()}
    shared = cells["run"] & cells["baseline"]
    for side, other in (("baseline", "run"), ("run", "baseline")):
        if cells[side] - cells[other]:
            notes.append(f"only in the {side}: {listed('.'.join(cell) for cell in cells[side] - cells[other])}")
    for what, columns in (("image", ["image"]), ("edit", ["edit", "strength"])):
        held = {side: _held(rows, columns) for side, rows in sides.items()}
        for side, other in (("baseline", "run"), ("run", "baseline")):
            missing = defaultdict(list)
            for cell in shared:
                missing[frozenset(held[side][cell] - held[other][cell])].append(".".join(cell))
            for names, where in missing.items():
                if names:
                    count = f"{len(names)} {what}{'s' if len(names) > 1 else ''}"
                    notes.append(f"only in the {side}: {count} of {listed(where)}: {listed(names)}")
    return notes


def _only_metrics(run: Measured, baseline: Measured) -> list[str]:
    sides = {"baseline": baseline.rows, "run": run.rows}
    metrics = {side: {name for name in rows.columns if schema.is_metric(name)} for side, rows in sides.items()}
    notes = []
    for side, other in (("baseline", "run"), ("run", "baseline")):
        if metrics[side] - metrics[other]:
            notes.append(f"only in the {side}: metrics {listed(metrics[side] - metrics[other])}")
    return notes


def _held(rows: pd.DataFrame, columns: list[str]) -> dict[tuple, set[str]]:
    found: dict[tuple, set[str]] = defaultdict(set)
    for *cell, name in rows[[*CELL, *columns]].drop_duplicates().assign(name=_name).itertuples(index=False, name=None):
        found[tuple(cell[:3])].add(name)
    return found


def _name(rows: pd.DataFrame) -> pd.Series:
    return rows["image"] if "image" in rows else rows["edit"] + [schema.signed(s) if s else "" for s in rows["strength"]]


def _other_pictures(rows: pd.DataFrame) -> list[str]:
    return [
        f"{dataset}: {len(images)} images left out, other pictures under the same names: {listed(images)}"
        for dataset, images in rows.groupby("dataset")["image"].agg(set).items()
    ]


def _mean(values: Array) -> float:
    """Mean of the finite values; infinite if there is none (the PSNR of identical pictures)."""
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if len(finite) else float("inf")
