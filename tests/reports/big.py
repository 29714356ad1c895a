"""A run folder of any size, without pictures; by default that of the whole embedded suite: 2 x 200 images, 7 methods, 24 edits.

``python -m tests.reports.big FOLDER`` writes one of 2,824 images and 15 methods, a million rows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from invbench.schema import ROWS
from invbench.store import Store
from invbench.util import sealed

METHODS = {"sg2_w": 0.05, "sg2_wplus": 0.03, "psp": 0.04, "e4e": 0.045, "pti": 0.012, "sam": 0.02, "dhr": 0.008}
EDITS = {"age": 5.0, "yaw": 5.0, "smile": 0.1, "eye_openness": 0.1}
STRENGTHS = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
INVERSION = [f"quality{i}@native" for i in range(10)]
EDIT = ["id_kept@native", "leakage@native", *(f"kept{i}@native" for i in range(8))]


DATASETS = ("procfaces-test", "procfaces-test-ood")
MANY = METHODS | {f"method{i:02d}": 0.06 + 0.004 * i for i in range(8)}


def make_big_run(
    folder: Path, *, images: int = 200, methods: Mapping[str, float] = METHODS, datasets: Sequence[str] = DATASETS
) -> Store:
    """Write the run; the first two images fail for the method psp. ``methods``: id -> error of its reconstructions."""
    store, rng = Store(folder), np.random.default_rng(0)
    cells = {}
    for dataset in datasets:
        hard = rng.lognormal(0, 0.4, images)
        for method, level in methods.items():
            cell = f"{method}.paper.{dataset}"
            frame = _rows(method, dataset, level, hard, rng)
            path = store.path / "rows" / cell / "000000-a.parquet"
            path.parent.mkdir(parents=True)
            text = pa.Schema.from_pandas(frame.drop(columns=[n for n in ROWS.names if n in frame]), preserve_index=False)
            table = pa.Table.from_pandas(frame, schema=pa.schema([*ROWS, *text]), preserve_index=False)
            path.write_bytes(sealed.table_bytes(table))
            cells[cell] = {
                "method": method,
                "preset": "paper",
                "dataset": dataset,
                "recipe": "r",
                "consistency": [],
                "edits": [{"name": edit, "strength": strength} for edit in EDITS for strength in STRENGTHS],
                "images": [{"index": i, "name": f"{i:04d}", "sha256": None} for i in range(images)],
            }
    store.write_json("plan.json", {"suite": "procfaces", "cells": cells})
    specs = dict.fromkeys(INVERSION, ("inversion", "lower")) | dict.fromkeys(EDIT, ("edit", "higher"))
    specs |= {f"{edit}_change@native": ("edit", "none") for edit in EDITS}
    metrics = {
        id: {"id": id, "title": id, "entry": "m:C", "kind": kind, "better": better, "unit": "", "range": ""}
        for id, (kind, better) in specs.items()
    }
    edits = {name: {"unit": "", "per_strength": step, "strengths": STRENGTHS} for name, step in EDITS.items()}
    suite = {"id": "procfaces", "title": "as large as the whole suite"}
    store.write_json("manifest.json", {"metrics": metrics, "edits": edits, "finished": "now", "suite": suite})
    return store


def _rows(method: str, dataset: str, level: float, hard: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(hard)
    head = {"recipe": "r", "suite": "procfaces", "method": method, "preset": "paper", "dataset": dataset, "batch": 16}
    blocks = []
    for edit, strength in [(None, None), *((edit, strength) for edit in EDITS for strength in STRENGTHS)]:
        block = pd.DataFrame({"index": np.arange(n), "image": [f"{i:04d}" for i in range(n)]}).assign(**head)
        block["key"] = [f"{method}{dataset}{edit}{strength}{i}" for i in range(n)]
        block["edit"], block["strength"] = edit, np.nan if strength is None else strength
        block["picture"] = block["mask"] = block["machine"] = None
        failed = (np.arange(n) < 2) & (method == "psp")
        block["status"], block["reason"] = np.where(failed, "failed", "ok"), np.where(failed, "it broke", None)
        if edit is None:
            values = {id: level * hard * rng.lognormal(0, 0.1, n) for id in INVERSION} | {"seconds.invert": np.full(n, level)}
        else:
            values = {id: 1 - level * abs(strength) * hard * rng.lognormal(0, 0.2, n) for id in EDIT}
            values[f"{edit}_change@native"] = strength * EDITS[edit] * (1 - level) + rng.normal(0, 0.01, n)
        blocks.append(block.assign(**{id: np.where(failed, np.nan, value) for id, value in values.items()}))
    return pd.concat(blocks, ignore_index=True)


if __name__ == "__main__":
    make_big_run(Path(sys.argv[1]), images=2824, methods=MANY, datasets=("celebahq-test",))
