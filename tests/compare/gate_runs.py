"""Runs as real ones look, made of random numbers: for the tests of the gate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from invbench.compare.baseline import Measured, tidy
from invbench.compare.gate import Outcome

METHODS = ("dhr", "pti", "e4e")
DATASETS = ("faces", "faces-ood")
STAGES = {"dhr": ("encode", "refine"), "pti": ("optimise", "refine"), "e4e": ("encode", "synthesise")}
MACHINE = {"processor": "Some processor", "cores": 2, "memory": 2**34, "device": "cpu", "gpu": None}


def make(
    seed: int,
    *,
    count: int = 200,
    batch: int = 16,
    methods: tuple[str, ...] = METHODS,
    noise: float = 0.01,
    jitter: float = 0.05,
    drift: float = 0.02,
    strengths: tuple[float, ...] = (-2.0, 2.0),
) -> Measured:
    """A run as a real one looks: hard and easy images (mse differs tenfold), times shared by the images of a batch.

    Everything is the same for every ``seed`` but the noise: ``noise`` of each value, ``jitter`` of the time of each batch, and
    ``drift`` of all times of the run. One batch in fifty takes twice its time.
    """
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    slower = np.exp(drift * rng.standard_normal())
    rows = []
    for number, method in enumerate(methods):
        for dataset in DATASETS:
            hard = fixed.lognormal(-5 + number, 0.6, count)
            change = fixed.normal(10, 3, (count, len(strengths)))
            for first in range(0, count, batch):
                images = range(first, min(first + batch, count))
                shaky = np.exp(jitter * rng.standard_normal(3)) * (2 if rng.random() < 0.02 else 1) * slower
                times = {f"seconds.{stage}": 0.1 * (1 + number) * shaky[i] for i, stage in enumerate(STAGES[method])}
                times["seconds.invert"] = sum(times.values())
                for index in images:
                    head = {"method": method, "preset": "paper", "dataset": dataset, "image": f"{index:04d}", "status": "ok"}
                    head |= {"sha256": f"{dataset}{index}", "reason": None, "batch": len(images), "memory.rss_peak": 1e9}
                    mse = hard[index] * np.exp(noise * rng.standard_normal())
                    alike = 0.95 - mse + 0.1 * noise * rng.standard_normal()
                    found = {"mse": mse, "psnr": 10 * np.log10(4 / mse), "id_proc": alike}
                    rows.append(head | {"edit": None, "strength": None} | found | times)
                    for place, strength in enumerate(strengths):
                        kept = 0.9 - 0.02 * change[index, place] * np.exp(noise * rng.standard_normal())
                        edit = {"edit": "age", "strength": strength, "id_kept": kept, "seconds.edit": 0.01 * shaky[2]}
                        rows.append(head | edit)
    return measured(pd.DataFrame(rows), methods)


def measured(rows: pd.DataFrame, methods: tuple[str, ...] = METHODS) -> Measured:
    metrics = {"mse": "lower", "psnr": "higher", "id_proc": "higher", "id_kept": "higher"}
    about = {
        "format": 1, "suite": "faces", "seed": 0, "precision": "float32", "protocol": 1, "started": "now", "finished": "then",
        "machine": MACHINE, "versions": {"torch": "2.15.0"}, "git": {"commit": "0123456789abcdef", "modified": False},
        "methods": {f"{method}.paper": {"title": method, "options": {"steps": 100}} for method in methods},
        "metrics": {id: {"title": id, "kind": "edit" if id == "id_kept" else "inversion", "better": better, "unit": "",
                         "recipe": "r"} for id, better in metrics.items()},
    }  # fmt: skip
    sets = pd.DataFrame(columns=["method", "preset", "dataset", "metric", "value", "n"])
    return Measured("run", tidy(rows, "run"), sets, about)


def change(source: Measured, method: str, **factors: float) -> Measured:
    """The same run with some columns of a method multiplied; dots in names are written as double underscores."""
    rows = source.rows.copy()
    for name, factor in factors.items():
        rows.loc[rows["method"] == method, name.replace("__", ".")] *= factor
    return replace(source, rows=rows)


def regressions(outcome: Outcome) -> set[tuple[str, str, str]]:
    return {(one.method, one.dataset, one.measure) for one in outcome.findings if one.verdict == "regression"}


def redraw(template: Measured, rng: np.random.Generator, *, noise: float, jitter: float, drift: float) -> Measured:
    """Another run of the same methods on the same images: other noise in every value, batch and in the run's speed."""
    rows = template.rows
    metrics = ("mse", "psnr", "id_proc", "id_kept")
    again = {name: rows[name] * np.exp(noise * rng.standard_normal(len(rows))) for name in metrics}
    batch = pd.factorize(rows["method"] + rows["dataset"] + (rows["image"].astype(int) // 4).astype(str))[0]
    for name in (name for name in rows if name.startswith("seconds.")):
        shaky = np.exp(jitter * rng.standard_normal(batch.max() + 1) + drift * rng.standard_normal())
        again[name] = rows[name] * (shaky * np.where(rng.random(len(shaky)) < 0.02, 2.0, 1.0))[batch]
    return replace(template, rows=rows.assign(**again).astype({name: np.float32 for name in again if "." not in name}))
