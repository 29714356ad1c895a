"""How stable the order of methods is between two metrics of one quantity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from invbench.reports import compare, stability, tables
from invbench.reports.compare import Block
from invbench.reports.measures import Measure
from invbench.reports.run import Run

from .fake import make_run

METHODS = tuple((name, "paper") for name in "abcd")
BETTER = {"id_proc@native": "higher", "id_facenet@facenet160": "higher", "mse@native": "lower", "lpips_alex@native": "lower"}
BETTER |= {"lpips_vgg@native": "lower", "lpips_vgg@psp256": "lower"}
BETTER |= {"age_change@native": "none", "age_change_dex@native": "none"}


def block(metric: str, means: list[float], *, place: tuple[object, ...] = ("d",), noise: float = 0.01) -> Block:
    rng = np.random.default_rng(0)
    values = np.array(means) + rng.normal(0, noise, (30, len(means)))
    return Block(place, metric, METHODS[: len(means)], tuple(map(str, range(30))), values)


def found(*blocks: Block) -> list[stability.Stability]:
    return stability.of_images(compare.compare(blocks, BETTER), BETTER)


def test_two_networks_are_compared_and_pairs_in_opposite_order_counted() -> None:
    one, two = [0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.6, 0.7]
    (it,) = found(block("id_proc@native", one), block("id_facenet@facenet160", two), block("mse@native", one))
    assert (it.quantity, it.first, it.second) == ("identity", "id_proc@native", "id_facenet@facenet160")
    assert it.tau.value == pytest.approx(scipy_stats.kendalltau(one, two).statistic) and it.tau.n == 30
    assert (it.methods, it.both, it.opposite) == (4, 6, 1)
    line = "ranks by identity: Kendall's τ 0.67 [0.67, 0.67] between id_proc@native and id_facenet@facenet160, 4 methods, "
    assert stability.statements([it]) == [f"{line}30 images; both tell 6 pairs apart, 1 in opposite order"]


def test_a_protocol_is_no_second_evaluator() -> None:
    means = [0.1, 0.2, 0.3, 0.4]
    assert found(block("lpips_vgg@native", means), block("lpips_vgg@psp256", means)) == []
    (it,) = found(block("lpips_vgg@psp256", means), block("lpips_alex@native", means), block("lpips_vgg@native", means))
    assert (it.first, it.second) == ("lpips_alex@native", "lpips_vgg@native")


def test_edits_without_a_better_side_and_few_methods() -> None:
    place = ("d", "age", 3.0)
    (it,) = found(*(block(id, [1.0, 2.0, 3.0], place=place) for id in ("age_change@native", "age_change_dex@native")))
    assert it.edit == "age+3" and it.both is None and "apart" not in stability.statements([it])[0]
    assert found(*(block(id, [1.0, 2.0], place=place) for id in ("age_change@native", "age_change_dex@native"))) == []


def test_set_metrics_by_their_own_intervals() -> None:
    rows = [
        {"metric": metric, "method": name, "preset": "paper", "value": value, "low": value - 0.1, "high": value + 0.1, "n": 200}
        for metric, values in (("fid@inception_uint8", (1.0, 2.0, 3.0, 4.0)), ("fd_dinov2@inception_uint8", (10, 20, 40, 30)))
        for name, value in zip("abcd", values)
    ]
    rows.append({"metric": "fd_dinov2@inception_uint8", "method": "e", "preset": "paper", "value": None, "n": 3})
    specs = [Measure("fd_dinov2@inception_uint8", "set", better="lower"), Measure("fid@inception_uint8", "set", better="lower")]
    (it,) = stability.of_sets(pd.DataFrame(rows), specs)
    assert (it.quantity, it.methods, it.tau.n) == ("Frechet distance", 4, 200)
    assert it.tau.value == it.tau.low == it.tau.high == pytest.approx(2 / 3)


def test_the_line_stands_in_the_tables_of_a_run(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=6, methods=("psp", "e4e", "pti", "dhr"), failing=None, strengths=(2.0,))
    before = tables.terminal(store)
    assert "ranks by" not in before
    run = Run.of(store)
    rows = run.rows.assign(**{"lpips_alex@native": run.rows["lpips_proc@native"] ** 2})
    run = Run(run.store, rows, run.sets, run.manifest, run.plan)
    run.specs["lpips_alex@native"] = Measure("lpips_alex@native", "inversion", better="lower")
    assert "ranks by perceptual distance: Kendall's τ 1.00" in tables.terminal(run)
    assert "ranks by perceptual distance" in tables.markdown(run)
