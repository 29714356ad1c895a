"""The values of tables and pages, computed from a run's rows; all means in float64.

Methods are compared on the images that all of them cover (:mod:`invbench.reports.compare`); every mean has its counts.
Every figure of every table and page comes from the frames of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from invbench import schema
from invbench.api import STAGES, Edit, plain_edit
from invbench.reports import compare
from invbench.reports.compare import Compared
from invbench.reports.measures import Measure
from invbench.reports.run import EDIT_KEYS, KEYS, Run
from invbench.store import Store

MEMORY = (schema.DEVICE_PEAK, schema.RSS_PEAK)


def leaderboard(source: Store | Run) -> pd.DataFrame:
    """The leaderboard: one row per (dataset, method, preset), best first by the first metric that has a direction.

    Columns
        dataset, method, preset
        n_total, n_ok, n_failed             images planned, inverted, failed; the others have not been run
        <metric>                            inversion metrics: mean over the images that all compared methods cover, or over
                                            its own for a method that is not compared; set metrics: the value
        <metric>.n, <metric>.own            number of images in that mean; number of images that the method itself covers
        <metric>.compared                   False if it covers too few to be compared (``invbench.reports.compare.FEW``)
        <metric>.low, <metric>.high         its confidence interval
        <metric>.rank                       ranks of its tie groups as text; empty without a direction
        <metric>.place                      1 if it shares the first rank, 2 if its best rank is the second, else 0; 0 for
                                            all if no two methods can be told apart
        <metric>.inf, <metric>.finite       number of infinite values (PSNR of identical pictures), and mean of the others;
                                            <metric> itself is then infinite
        <metric>.bias                       bias of a set metric that states one
        seconds.<stage>, seconds.invert     mean seconds per image: stages of the inversion, the whole inversion
        seconds.edit                        mean seconds per edited image
        memory.device_peak, memory.rss_peak largest value over the images, in bytes
        machine                             the machine of these seconds and bytes; empty if there are none
    Raises InvbenchError if the folder holds no run.
    """
    run = Run.of(source)
    rows = run.rows
    inverted = rows[rows["edit"].isna()]
    planned = [{**{key: cell[key] for key in KEYS}, "n_total": len(cell["images"])} for cell in run.plan["cells"].values()]
    frame = pd.DataFrame(planned, columns=[*KEYS, "n_total"]).set_index(KEYS)
    frame = frame.join(counts(inverted, KEYS))
    frame = frame.join(figures(run.inversions, KEYS)).join(_set_values(run))
    ok = inverted[inverted["status"] == "ok"]
    stages = [schema.seconds(stage) for stage in STAGES if stage != "edit"]
    times = [name for name in (*stages, schema.INVERT) if name in rows]
    frame = frame.join(ok.groupby(KEYS)[times].mean())
    if schema.EDIT in rows:
        edited = rows.loc[rows["edit"].notna() & (rows["status"] == "ok"), [*KEYS, schema.EDIT]]
        frame = frame.join(edited.groupby(KEYS)[schema.EDIT].mean())
    memory = [name for name in MEMORY if name in rows]
    frame = frame.join(rows.loc[rows["status"] == "ok", [*KEYS, *memory]].groupby(KEYS)[memory].max())
    frame["machine"] = [run.machines.get(key, "") for key in frame.index]
    return finish(frame, run.specs, by=["dataset"])


def edits(source: Store | Run, *, strongest: bool = False) -> pd.DataFrame:
    """The edits: one row per (dataset, method, preset, edit, strength), with counts and figures as in the leaderboard.

    ``target`` is the change that the edit asks for, strength times the suite's ``per_strength`` (NaN if the manifest lacks
    it), in ``unit``. ``strongest`` keeps only the largest strength of each edit, which is much faster.
    """
    run = Run.of(source)
    times = [schema.EDIT] if schema.EDIT in run.rows else []
    rows = run.rows.loc[run.rows["edit"].notna(), [*EDIT_KEYS, "status", *times]]
    asked = [
        {**{key: cell[key] for key in KEYS}, "n_total": len(cell["images"])}
        | {"edit": edit["name"], "strength": float(edit["strength"])}
        for cell in run.plan["cells"].values()
        for edit in cell["edits"]
    ]
    frame = pd.DataFrame(asked, columns=[*EDIT_KEYS, "n_total"])
    if strongest:
        frame = frame[frame["strength"] == frame.groupby(["dataset", "edit"])["strength"].transform("max")].copy()
    known: Mapping[str, Mapping[str, Any]] = run.manifest.get("edits", {})
    frame["unit"] = [known.get(plain_edit(name), {}).get("unit", "") for name in frame["edit"]]
    per_strength = [float(known.get(plain_edit(name), {}).get("per_strength", np.nan)) for name in frame["edit"]]
    frame["target"] = frame["strength"].astype(float) * np.array(per_strength, dtype=np.float64)
    frame = frame.set_index(EDIT_KEYS).join(counts(rows, EDIT_KEYS))
    frame = frame.join(figures(run.strongest_edits if strongest else run.edits, EDIT_KEYS))
    if times:
        frame = frame.join(rows[rows["status"] == "ok"].groupby(EDIT_KEYS)[schema.EDIT].mean())
    return finish(frame, run.specs, by=["dataset", "edit", "strength"])


def latency(source: Store | Run) -> pd.DataFrame:
    """The latency pass: one row per (method, preset, machine) that it timed; empty if there was none.

    Columns
        method, preset, machine, dataset
        warmup                                     number of images that went first and were not recorded
        n, n_ok                                    number of images; number of those that did not fail
        edit_name, strength                        the edit that was timed, if any
        invert, <stage>, edit                      median seconds of an image that comes alone: the whole inversion, its stages,
                                                   the whole edit; each with <name>.low and <name>.high, the quartiles
    Times of a recipe that the plan no longer has are left out; of several passes, the one with the most images is used.
    """
    run = Run.of(source)
    rows = run.store.latency()
    rows = rows[rows["recipe"].isin({cell.get("recipe") for cell in run.plan["cells"].values()})]
    found = []
    for (method, preset, machine), every in rows.groupby(["method", "preset", "machine"], sort=True):
        one = every[every["key"] == every["key"].value_counts(sort=True).index[0]]
        inverted, edited = one[one["edit"].isna()], one[one["edit"].notna()]
        line = {"method": method, "preset": preset, "machine": machine, "dataset": one["dataset"].iloc[0]}
        line |= {"warmup": one["warmup"].iloc[0], "n": len(inverted), "n_ok": int((inverted["status"] == "ok").sum())}
        line |= {"edit_name": edited["edit"].iloc[0], "strength": edited["strength"].iloc[0]} if len(edited) else {}
        times = {"invert": inverted[schema.ALONE]}
        times |= {stage: inverted[schema.latency(stage)] for stage in STAGES[:-1] if schema.latency(stage) in inverted}
        times |= {"edit": edited[schema.ALONE]}
        for name, seconds in times.items():
            if seconds.notna().any():
                low, median, high = np.nanquantile(seconds.astype(np.float64), [0.25, 0.5, 0.75])
                line |= {name: median, f"{name}.low": low, f"{name}.high": high}
        found.append(line)
    frame = pd.DataFrame(found)
    head = [name for name in frame if name.partition(".")[0] not in {*STAGES, "invert"}]
    timed = [f"{name}{part}" for name in ("invert", *STAGES) for part in ("", ".low", ".high") if name in frame]
    return frame[[*head, *timed]]


def failures(source: Store | Run) -> pd.DataFrame:
    """Failed rows by (dataset, method, preset, reason): ``rows`` is their number, ``images`` the image names, in order."""
    rows = Run.of(source).rows
    rows = rows[rows["status"] != "ok"]
    found = [
        {**dict(zip([*KEYS, "reason"], key)), "rows": len(group), "images": list(dict.fromkeys(group["image"]))}
        for key, group in rows.groupby([*KEYS, "reason"], sort=True, dropna=False)
    ]
    return pd.DataFrame(found, columns=[*KEYS, "reason", "rows", "images"])


def unavailable(source: Store | Run) -> dict[str, str]:
    """Metric -> why it has no value in this run: weights missing, too few images, errors on single images, no coverage."""
    run = Run.of(source)
    manifest = run.manifest
    reasons = {str(id): str(reason) for id, reason in manifest.get("unavailable", {}).items()}
    for id, note in manifest.get("metric_failures", {}).items():
        reasons[str(id)] = f"failed on {note['count']} images: {note['reason']}"
    for id, group in run.sets[run.sets["reason"].notna()].groupby("metric"):
        lines = [f"{row.dataset}: {row.reason}" for row in group.itertuples()]
        reasons[str(id)] = "; ".join(dict.fromkeys(lines))
    edits = [Edit(edit["name"], 0.0).plain for cell in run.plan["cells"].values() for edit in cell["edits"]]
    asked = {part.name for edit in edits for part in edit.parts}
    for spec in run.specs_of("inversion", "edit"):
        if spec.kind == "edit" and not (asked & set(spec.edits) if spec.edits else asked):
            continue  # its edits were not requested
        if spec.id not in reasons and (spec.id not in run.rows or run.rows[spec.id].isna().all()):
            reasons[spec.id] = "covers no image of this run"
    return reasons


def places(frame: pd.DataFrame, spec: Measure) -> pd.Series:
    """1 for the best values of a set metric, 2 for the second best, 0 for all others; equal values share a place.

    ``frame`` holds comparable rows: those of one dataset. A value over fewer images than another method's gets no place: a
    method must not win by failing on the hard images, and set metrics depend on the number of images.
    """
    place = pd.Series(0, index=frame.index)
    if spec.better == "none" or spec.id not in frame or frame[spec.id].notna().sum() < 2:
        return place
    covered = frame[f"{spec.id}.n"].fillna(0)
    found = compare.best_two(frame.loc[covered == covered.max(), spec.id].to_dict(), spec.better)
    place[list(found)] = list(found.values())
    return place


def counts(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Numbers of rows that succeeded and failed, columns ``n_ok`` and ``n_failed``, indexed by ``keys``."""
    ok = rows["status"] == "ok"
    table = pd.DataFrame({"n_ok": ok.groupby([rows[key] for key in keys]).sum()})
    table["n_failed"] = (~ok).groupby([rows[key] for key in keys]).sum()
    return table.astype(int)


def figures(found: Iterable[Compared], keys: list[str]) -> pd.DataFrame:
    """The columns of the metrics as :func:`leaderboard` lists them, indexed by ``keys``."""
    records: dict[tuple[object, ...], dict[str, Any]] = {}
    for one in found:
        dataset, *rest = one.block.place
        id = one.block.metric
        infinite = any(mean.interval.infinite for mean in one.means.values())
        for method, mean in one.means.items():
            record = records.setdefault((dataset, *method, *rest), {})
            place = min(mean.ranks, default=0) if one.decided else 0
            record |= {
                id: mean.interval.value,
                f"{id}.n": mean.interval.n,
                f"{id}.own": mean.own,
                f"{id}.compared": mean.compared,
                f"{id}.low": mean.interval.low,
                f"{id}.high": mean.interval.high,
                f"{id}.rank": compare.rank_text(mean.ranks),
                f"{id}.place": place if place < 3 else 0,
            }
            if infinite:
                record |= {f"{id}.inf": mean.interval.infinite, f"{id}.finite": mean.finite}
    index = pd.MultiIndex.from_tuples(list(records), names=keys) if records else _no_keys(keys)
    return pd.DataFrame(list(records.values()), index=index)


def _set_values(run: Run) -> pd.DataFrame:
    blocks = []
    for spec in run.specs_of("set"):
        one = run.sets[run.sets["metric"] == spec.id].set_index(KEYS)
        frame = pd.DataFrame({spec.id: one["value"].astype(np.float64), f"{spec.id}.n": one["n"]})
        frame[f"{spec.id}.own"] = one["n"]
        frame[f"{spec.id}.compared"] = one["n"] == one.groupby("dataset")["n"].transform("max")
        for name in ("low", "high", "bias"):
            if name in one and one[name].notna().any():
                frame[f"{spec.id}.{name}"] = one[name].astype(np.float64)
        place = [places(group, spec) for _, group in frame.groupby("dataset")]
        frame[f"{spec.id}.place"] = pd.concat(place) if place else 0
        blocks.append(frame)
    return pd.concat(blocks, axis=1) if blocks else pd.DataFrame(index=_no_keys(KEYS))


def _no_keys(keys: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([[]] * len(keys), names=keys)


def finish(frame: pd.DataFrame, specs: Mapping[str, Measure], *, by: list[str]) -> pd.DataFrame:
    """Make counts integers (missing: 0) and sort each group of ``by``: best first, methods that are not compared last."""
    frame = frame.reset_index()
    for name in frame:
        if name in {"n_ok", "n_failed"} or name.endswith((".n", ".own", ".inf", ".place")):
            frame[name] = frame[name].fillna(0).astype(int)
        elif name.endswith(".rank"):
            frame[name] = frame[name].fillna("")
        elif name.endswith(".compared"):
            frame[name] = frame[name].fillna(False).astype(bool)
    first = next((id for id, spec in specs.items() if spec.better != "none" and id in frame), None)
    frame = frame.sort_values(["method", "preset"], kind="stable")
    if first is not None:
        frame = frame.sort_values(first, ascending=specs[first].better == "lower", kind="stable", na_position="last")
        frame = frame.sort_values(f"{first}.compared", ascending=False, kind="stable")
    return frame.sort_values(by, kind="stable").reset_index(drop=True)
