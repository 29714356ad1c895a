"""Runs of one suite over time: the mean of every metric, the seconds of every stage, and where the gate sees a regression.

A value is a mean over the images that all runs of its series cover with the same picture, so a line never moves because
other images were run. Each run is compared with the one before it by :func:`invbench.compare.gate.gate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invbench import schema
from invbench.compare.baseline import MACHINE, Measured, read
from invbench.compare.gate import Finding as Finding
from invbench.compare.gate import Outcome as Outcome
from invbench.compare.gate import gate
from invbench.util.files import MARK

PLACE = ["method", "preset", "dataset", "edit"]
PICTURE = ["image", "strength", "sha256"]
MARKED = ("regression", "better")  # verdicts of the gate that a history shows


@dataclass(frozen=True)
class Moment:
    """One run of a history: where it was read from, when it finished, its commit, and the machine of its times."""

    source: str
    when: str
    commit: str
    machine: str


@dataclass(frozen=True)
class Series:
    """One measure of one method over the moments.

    kind      "quality", "set" or "time"; times are over all datasets (``dataset`` "") and of ``machine`` only
    edit      "" for reconstructions; metrics of edits are means over the strengths
    n         number of images in each mean
    values    one for each moment, NaN where it has none; ``verdicts``: "regression", "better" or "" beside the moment before
    """

    kind: str
    method: str
    preset: str
    dataset: str
    edit: str
    measure: str
    n: int
    values: tuple[float, ...]
    verdicts: tuple[str, ...]
    machine: str = ""


@dataclass(frozen=True)
class History:
    """The runs of a suite in the order of time. ``outcomes[i]`` is that of the gate between moments i and i + 1."""

    suite: str
    moments: tuple[Moment, ...]
    series: tuple[Series, ...]
    outcomes: tuple[Outcome, ...]
    about: Mapping[str, Any]  # of the last moment: titles of its methods, its metrics


def found(paths: Sequence[Path]) -> list[Path]:
    """Run folders and baseline files as they are; a folder of baselines as the files in it, which may be none yet."""
    every: list[Path] = []
    for path in paths:
        is_folder = path.is_dir() and not (path / MARK).exists()
        every += sorted(path.glob("*.parquet")) if is_folder else [path]
    return every


def histories(paths: Sequence[Path]) -> list[History]:
    """The histories of the suites of these runs and baselines, of suites with two moments or more.

    Of two runs that finished at the same moment (a run and the baseline made of it), the first counts. Raises InvbenchError
    naming a path that is neither a run folder nor a baseline.
    """
    suites: dict[str, dict[str, Measured]] = {}
    for path in found(paths):
        one = read(path)
        suites.setdefault(str(one.about["suite"]), {}).setdefault(_when(one), one)
    return [_history(suite, [runs[when] for when in sorted(runs)]) for suite, runs in suites.items() if len(runs) > 1]


def _history(suite: str, runs: Sequence[Measured]) -> History:
    moments = tuple(Moment(one.source, _when(one), _commit(one), _machine(one)) for one in runs)
    outcomes = tuple(gate(after, before) for before, after in zip(runs, runs[1:]))
    marks = [{}, *(_marks(outcome.findings) for outcome in outcomes)]
    series = [*_quality(runs, marks), *_sets(runs), *_times(runs, moments, marks)]
    return History(suite, moments, tuple(series), outcomes, runs[-1].about)


def _marks(findings: Iterable[Finding]) -> dict[tuple[str, ...], str]:
    """(method, preset, dataset, edit, measure) -> verdict; a finding that pools datasets marks each."""
    return {
        (one.method, one.preset, dataset, one.edit, one.measure): one.verdict
        for one in findings
        if one.verdict in MARKED
        for dataset in one.dataset.split(" + ")
    }


def _quality(runs: Sequence[Measured], marks: Sequence[Mapping[tuple[str, ...], str]]) -> Iterator[Series]:
    specs = {id: one for run in runs for id, one in run.about["metrics"].items()}
    frames = [run.rows[run.rows["status"] == "ok"].set_index([*PLACE, *PICTURE]) for run in runs]
    for id, spec in specs.items():
        columns = {number: frame[id].dropna() for number, frame in enumerate(frames) if id in frame}
        if spec["kind"] == "set" or spec["better"] == "none" or not columns:
            continue
        table = pd.concat(columns, axis=1).reindex(columns=range(len(runs)))
        for (method, preset, dataset, edit), group in table.groupby(level=PLACE, sort=True):
            values, n = _means(group, "mean")
            verdicts = _verdicts(marks, (method, preset, dataset, edit, id))
            yield Series("quality", method, preset, dataset, edit, id, n, values, verdicts)


def _means(group: pd.DataFrame, how: str) -> tuple[tuple[float, ...], int]:
    """The value of each moment over the pictures that all moments of the group have, and the number of their images."""
    held = [column for column in group if group[column].notna().any()]
    common = group.dropna(subset=held)
    n = common.index.get_level_values("image").nunique()
    value = common.astype(np.float64).agg(how) if len(common) else pd.Series(math.nan, index=group.columns)
    return tuple(float(value[column]) for column in group), n


def _sets(runs: Sequence[Measured]) -> Iterator[Series]:
    """Set metrics depend on the number of images: only moments with as many as the last one that has a value are shown."""
    keys = ["method", "preset", "dataset", "metric"]
    tables = [run.sets.drop_duplicates(keys).set_index(keys) for run in runs]
    for key in sorted({key for table in tables for key in table.index}):
        found = [(float(table.loc[key, "value"]), int(table.loc[key, "n"])) if key in table.index else None for table in tables]
        n = next(one[1] for one in reversed(found) if one is not None)
        values = tuple(one[0] if one is not None and one[1] == n else math.nan for one in found)
        method, preset, dataset, metric = key
        yield Series("set", method, preset, dataset, "", metric, n, values, ("",) * len(runs))


def _times(
    runs: Sequence[Measured], moments: Sequence[Moment], marks: Sequence[Mapping[tuple[str, ...], str]]
) -> Iterator[Series]:
    names = sorted({name for run in runs for name in run.rows if schema.is_seconds(name)})
    frames = [run.rows[run.rows["status"] == "ok"].set_index([*PLACE, *PICTURE]) for run in runs]
    for machine in dict.fromkeys(one.machine for one in moments if one.machine):
        mine = [number for number, one in enumerate(moments) if one.machine == machine]
        for name in names:
            columns = {number: frames[number][name].dropna() for number in mine if name in frames[number]}
            if not columns:
                continue
            table = pd.concat(columns, axis=1).reindex(columns=range(len(runs)))
            for (method, preset), group in table.groupby(level=["method", "preset"], sort=True):
                values, n = _means(group, "median")
                place = (method, preset, "", "")
                yield Series("time", *place, name, n, values, _verdicts(marks, (*place, name)), machine)


def _verdicts(marks: Sequence[Mapping[tuple[str, ...], str]], key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one.get(key, "") for one in marks)


def _when(one: Measured) -> str:
    return str(one.about.get("finished") or one.about.get("started") or "")


def _commit(one: Measured) -> str:
    git = one.about.get("git") or {}
    return str(git.get("commit") or "")[:9] + ("+" if git.get("modified") else "")


def _machine(one: Measured) -> str:
    """The machine of a run's times; empty where they are of several."""
    if len(one.about.get("machines") or []) > 1:
        return ""
    machine = one.about.get("machine") or {}
    parts = {**machine, "memory": f"{round((machine.get('memory') or 0) / 2**30)} GiB"}
    words = {"cores": "cores", "threads": "threads"}
    return ", ".join(f"{parts[key]} {words.get(key, '')}".strip() for key in MACHINE if parts.get(key))
