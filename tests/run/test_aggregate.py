"""Set metrics of a run folder: any split into shards gives the same figures, and nothing is computed twice."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from invbench.api import SetValue
from invbench.metrics.sets import FidProc, KidProc, RecallProc
from invbench.run.aggregate import set_rows
from invbench.specs import MetricSpec
from invbench.store import Part, Store
from invbench.util.files import write_all
from invbench.util.images import dequantise, encode_png

COUNT = 120
FEATURE, RECIPE = "regressor@native", "recipe of the features"
RNG = np.random.default_rng(0)
ORIGINALS = RNG.integers(0, 256, (COUNT, 4, 4, 3), dtype=np.uint8)
OUTPUTS = (ORIGINALS + RNG.normal(0, 40, ORIGINALS.shape)).clip(0, 255).astype(np.uint8)
NAMES = [f"image-{index:03d}" for index in range(COUNT)]


class Colours(torch.nn.Module):
    """Features [N, 6] of pictures; ``seen`` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return torch.cat([images.mean((2, 3)), images.square().mean((2, 3))], 1)


@dataclass
class Tools:
    """What aggregation asks of a scorer, with three of the project's metrics."""

    network: Colours = field(default_factory=Colours)
    computed: list[str] = field(default_factory=list)
    feature_recipes: dict[str, str] = field(default_factory=lambda: {FEATURE: RECIPE})

    def __post_init__(self) -> None:
        classes = {"fid": FidProc, "kid": KidProc, "recall": RecallProc}
        self.sets = {name: cls({"regressor": self.network}) for name, cls in classes.items()}
        self.specs = {name: MetricSpec(name, "", "m:C", "set", "lower", "", "") for name in self.sets}
        self.recipes = dict.fromkeys(self.sets, "recipe of the metric")
        for name, metric in self.sets.items():
            metric.compute = self.counted(name, metric.compute)

    def counted(self, name, compute):
        def call(reference, measured):
            self.computed.append(name)
            return compute(reference, measured)

        return call

    def feature(self, name: str) -> str:
        return f"{self.sets[name].feature}@{self.specs[name].protocol}"

    def prepare(self, protocol: str, pictures: np.ndarray, *, original: bool) -> torch.Tensor:
        assert protocol == "native" and original
        return dequantise(pictures, torch.device("cpu"))


def make(path, parts: Sequence[np.ndarray], *, failed: Sequence[int] = ()) -> Store:
    """A run folder of one cell, whose images were worked through in ``parts`` (indices)."""
    store = Store(path)
    hashes = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in ORIGINALS]
    images = [{"index": i, "name": name, "sha256": sha256} for i, (name, sha256) in enumerate(zip(NAMES, hashes))]
    cell = {"method": "m", "preset": "p", "dataset": "d", "edits": [], "images": images}
    store.write_json("plan.json", {"suite": "s", "cells": {"m.p.d": cell}})
    write_all({store.input("d", name): encode_png(picture) for name, picture in zip(NAMES, ORIGINALS)})
    features = Colours().features(dequantise(OUTPUTS, torch.device("cpu"))).numpy()
    for number, part in enumerate(parts):
        names = [NAMES[index] for index in part]
        head = {"method": "m", "preset": "p", "dataset": "d"}
        rows = [
            head | {"key": NAMES[i], "image": NAMES[i], "index": int(i), "status": "failed" if i in failed else "ok"}
            for i in part
        ]
        kept = {FEATURE: features[part]}
        store.write_features("m.p.d", f"{number}", features=kept, images=names, recipes={FEATURE: RECIPE})
        store.write_part("m.p.d", Part(f"{number}", rows, {}))
    return store


def test_any_split_into_shards_gives_the_same_values(tmp_path):
    whole = set_rows(make(tmp_path / "whole", [np.arange(COUNT)]), Tools())
    assert [row["metric"] for row in whole] == ["fid", "kid", "recall"]
    assert all(row["value"] is not None and row["n"] == COUNT for row in whole)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.choice(np.arange(1, COUNT), rng.integers(1, 20), replace=False))
        split = np.split(rng.permutation(COUNT), cuts)
        assert set_rows(make(tmp_path / f"{seed}", split), Tools()) == whole


def test_values_have_intervals_and_bias_where_the_metric_knows_them(tmp_path):
    store = make(tmp_path, [np.arange(COUNT)])
    store.write_sets(set_rows(store, Tools()))
    fid, kid, recall = store.query("SELECT * FROM sets ORDER BY metric").to_dict("records")
    for row in (fid, kid):
        assert row["low"] < row["value"] < row["high"] and row["bias"] != 0
    assert 0 <= recall["value"] <= 1 and np.isnan([recall["low"], recall["high"], recall["bias"]]).all()


def test_a_failed_image_takes_its_original_with_it(tmp_path):
    store = make(tmp_path, [np.arange(COUNT)], failed=[3, 5])
    row = set_rows(store, Tools())[0]
    kept = np.delete(np.arange(COUNT), [3, 5])
    network = Colours()
    first, second = (
        network.features(dequantise(pictures[kept], torch.device("cpu"))).numpy() for pictures in (ORIGINALS, OUTPUTS)
    )
    expected = FidProc({"regressor": network}).compute(first, second)
    assert isinstance(expected, SetValue)
    assert (row["n"], row["value"], row["bias"]) == (COUNT - 2, expected.value, expected.bias)


def test_what_is_known_is_not_computed_again(tmp_path):
    store = make(tmp_path, [np.arange(COUNT)], failed=[3])
    first = Tools()
    rows = set_rows(store, first)
    assert first.network.seen == COUNT - 1 and first.computed == ["fid", "kid", "recall"]
    store.write_sets(rows)
    again = Tools()
    assert set_rows(store, again) == rows
    assert again.network.seen == 0 and again.computed == []
    changed = Tools()
    changed.recipes["kid"] = "another recipe"
    set_rows(store, changed)
    assert changed.network.seen == 0 and changed.computed == ["kid"]
    repaired = Tools()
    set_rows(make(tmp_path, [np.arange(COUNT)]), repaired)  # the failed image is there now
    assert repaired.network.seen == 1 and repaired.computed == ["fid", "kid", "recall"]
    renewed = Tools(feature_recipes={FEATURE: "another extractor"})
    assert [row["reason"] for row in set_rows(store, renewed)][1] == "needs at least 50 images, found 0"


@pytest.mark.parametrize("content", [b"no Parquet", b""])
def test_a_broken_file_of_values_is_written_anew(tmp_path, content):
    store = make(tmp_path, [np.arange(COUNT)])
    (tmp_path / "sets.parquet").write_bytes(content)
    rows = set_rows(store, Tools())
    store.write_sets(rows)
    assert [row["value"] for row in store.sets()] == [row["value"] for row in rows]


def test_a_failing_metric_is_a_reason_and_no_value(tmp_path):
    store, tools = make(tmp_path, [np.arange(COUNT)]), Tools()
    tools.sets["kid"].compute = lambda reference, measured: 1 / 0
    rows = set_rows(store, tools)
    assert [row["value"] is None for row in rows] == [False, True, False]
    assert rows[1]["reason"] == "ZeroDivisionError: division by zero" and rows[1]["n"] == COUNT
