"""The gate: what it must catch, what it must not, what it refuses to compare."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from scipy.stats import binom

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.cli.gate import parse_tolerances
from invbench.compare import gate_report
from invbench.compare.baseline import Measured, write
from invbench.compare.gate import FINE, INCOMPARABLE, REGRESSION, Finding, Outcome, Tolerance, Tolerances, gate
from invbench.util import sealed
from tests.compare.gate_runs import DATASETS, MACHINE, change, make, redraw, regressions


@pytest.fixture(scope="module")
def baseline() -> Measured:
    return make(0)


def test_a_method_that_is_one_percent_worse_is_caught(baseline):
    outcome = gate(change(make(1), "pti", mse=1.01), baseline)
    assert regressions(outcome) == {("pti", dataset, "mse") for dataset in DATASETS}
    assert outcome.code == REGRESSION
    (finding, _) = [one for one in outcome.findings if one.verdict == "regression"]
    assert finding.n == 200 and finding.p < 0.01 and 0.005 < finding.low < finding.worse < finding.high < 0.02
    spread = baseline.rows[baseline.rows["method"] == "pti"]["mse"].std() / np.sqrt(200)
    assert finding.run - finding.baseline < spread / 2  # without pairs nobody could see it


def test_one_percent_is_caught_on_few_images_of_a_deterministic_method():
    few = make(0, count=8, batch=8, noise=0.0)
    assert regressions(gate(change(few, "dhr", mse=1.01), few)) == {("dhr", dataset, "mse") for dataset in DATASETS}
    fewer = make(0, count=4, noise=0.0)
    outcome = gate(change(fewer, "dhr", mse=1.01), fewer)
    assert regressions(outcome) == {("dhr", "faces + faces-ood", "mse")}  # four images decide nothing: pooled
    assert outcome.findings[0].n == 8 and outcome.findings[0].worse == pytest.approx(0.01, rel=0.01)


def test_a_stage_that_is_twenty_percent_slower_is_caught(baseline):
    outcome = gate(change(make(1), "dhr", seconds__refine=1.2), baseline)
    assert regressions(outcome) == {("dhr", "", "seconds.refine")}
    (finding,) = [one for one in outcome.findings if one.measure == "seconds.refine" and one.method == "dhr"]
    assert finding.n == 26 and finding.kind == "time" and 0.1 < finding.low < 0.2 < finding.high
    assert outcome.code == REGRESSION


def test_null_runs_raise_no_more_false_alarms_than_stated():
    """200 pairs of runs that differ by noise only, so large that the tolerance alone would fail nearly all of them."""
    template = make(0, count=24, batch=4, methods=("dhr", "e4e"), strengths=(2.0,), noise=0.0, jitter=0.0, drift=0.0)
    rng, alarms, beyond = np.random.default_rng(0), 0, 0
    for _ in range(200):
        run, other = (redraw(template, rng, noise=0.05, jitter=0.1, drift=0.03) for _ in range(2))
        outcome = gate(run, other, rng=rng)
        alarms += outcome.code == REGRESSION
        beyond += any(one.kind == "quality" and one.worse > one.tolerance.amount for one in outcome.findings)
        assert {one.kind for one in outcome.findings if not np.isnan(one.p)} == {"quality", "time", "memory"}
    assert beyond > 190
    assert alarms <= binom.ppf(0.99, 200, 0.05)


def test_the_stated_rate_is_used_up():
    """With alpha at one half and one comparison, null runs fail about as often as they may: the test is not blind."""
    rng, failed = np.random.default_rng(0), 0
    only = make(0, count=24, methods=("dhr",), strengths=(), noise=0.0)
    only = replace(only, about={**only.about, "metrics": {"mse": only.about["metrics"]["mse"]}})
    only = replace(only, rows=only.rows[only.rows["dataset"] == "faces"].reset_index(drop=True))
    for _ in range(60):
        noisy = only.rows["mse"] * np.exp(0.1 * rng.standard_normal(len(only.rows)))
        run = replace(only, rows=only.rows.assign(mse=noisy.astype(np.float32)))
        failed += gate(run, only, alpha=0.5, rng=rng).code == REGRESSION
    assert binom.ppf(0.001, 60, 0.15) <= failed <= binom.ppf(0.999, 60, 0.25)  # a quarter, less what the tolerance takes


def test_a_run_that_is_slow_as_a_whole_stays_within_the_tolerance(baseline):
    slow = make(1, drift=0.0)
    slow = replace(slow, rows=slow.rows.assign(**{c: slow.rows[c] * 1.07 for c in slow.rows if c.startswith("seconds")}))
    assert gate(slow, baseline).code == FINE


def test_equal_runs_and_rounding_noise_need_no_test(baseline):
    outcome = gate(baseline, baseline)
    assert outcome.code == FINE and not [one for one in outcome.findings if one.kind == "quality" and one.changed]
    rows = baseline.rows.assign(mse=np.nextafter(baseline.rows["mse"], np.float32(9)))
    nearly = gate(replace(baseline, rows=rows), baseline)
    assert nearly.code == FINE and nearly.tested == outcome.tested


def test_better_is_told_and_does_not_fail(baseline):
    outcome = gate(change(make(1), "pti", mse=0.97, seconds__refine=0.5), baseline)
    assert outcome.code == FINE
    better = {(one.method, one.measure) for one in outcome.findings if one.verdict == "better"}
    assert {("pti", "mse"), ("pti", "seconds.refine")} <= better


def test_one_edit_that_got_worse_is_caught_over_its_strengths(baseline):
    outcome = gate(change(make(1), "e4e", id_kept=0.98), baseline)
    assert regressions(outcome) == {("e4e", dataset, "id_kept") for dataset in DATASETS}
    assert {one.edit for one in outcome.findings if one.verdict == "regression"} == {"age"}


def test_where_too_few_images_decide_nothing_the_gate_does_not_pass():
    two = make(0, count=2, methods=("dhr",), noise=0.0)
    outcome = gate(change(two, "dhr", mse=1.5), two)
    assert outcome.code == INCOMPARABLE
    assert {one.verdict for one in outcome.findings if one.measure == "mse"} == {"undecided"}
    assert "too few images" in gate_report.headline(outcome)
    outcome = gate(change(two, "dhr", seconds__refine=1.5), two)
    assert outcome.code == FINE  # a doubtful time does not fail, and is said
    assert "too few batches to decide: dhr:paper: seconds.refine +50% (n = 2)" in gate_report.terminal(outcome, two, two)


def test_nothing_in_common_cannot_be_compared(baseline):
    outcome = gate(make(0, methods=("dhr",)), make(0, methods=("pti",)))
    assert outcome.code == INCOMPARABLE and "nothing in common" in gate_report.headline(outcome)
    assert any(note.startswith("only in the baseline: pti.paper.faces") for note in outcome.notes)


def test_times_are_not_compared_across_machines_but_quality_is(baseline):
    elsewhere = change(make(1), "pti", mse=1.01, seconds__refine=9.0)
    elsewhere = replace(elsewhere, about={**elsewhere.about, "machine": MACHINE | {"processor": "Another"}})
    outcome = gate(elsewhere, baseline)
    assert {one.kind for one in outcome.findings} == {"quality"} and outcome.code == REGRESSION
    assert "'Some processor' in the baseline, 'Another' in the run" in outcome.refused
    alike = replace(elsewhere, about={**elsewhere.about, "machine": MACHINE | {"memory": 2**34 - 4096}})
    assert not gate(alike, baseline).refused


def test_batches_that_held_other_images_give_no_times(baseline):
    outcome = gate(make(1, batch=10), baseline)
    assert not [one for one in outcome.findings if one.kind == "time"]
    assert any("their batches differ" in note for note in outcome.notes)


def test_pictures_that_went_through_alone_are_units_of_their_own(baseline):
    rng = np.random.default_rng(0)
    rows = baseline.rows.copy()
    few = (rows["image"] < "0016") & (rows["dataset"] == "faces") & (rows["method"] == "dhr") & (rows["edit"] == "")
    rows.loc[few, "latency.refine"] = rng.lognormal(0, 1, few.sum())
    slow = rows.copy()
    slow.loc[few, "latency.refine"] *= 1.2 * np.exp(0.03 * rng.standard_normal(few.sum()))
    outcome = gate(replace(baseline, rows=slow), replace(baseline, rows=rows))
    assert regressions(outcome) == {("dhr", "", "latency.refine")} and outcome.findings[0].n == 16
    assert " 16 " in gate_report.terminal(outcome, baseline, baseline)


def test_memory_is_compared_for_the_same_methods_only(baseline):
    heavy = replace(baseline, rows=baseline.rows.assign(**{"memory.rss_peak": baseline.rows["memory.rss_peak"] * 1.3}))
    assert ("dhr", "", "memory.rss_peak") in regressions(gate(heavy, baseline))
    other = replace(heavy, about={**heavy.about, "methods": {}})
    outcome = gate(other, baseline)
    assert not regressions(outcome) and any("resident memory" in note for note in outcome.notes)


def test_one_more_failed_image_is_a_regression(baseline):
    rows = baseline.rows.copy()
    one = (rows["method"] == "dhr") & (rows["dataset"] == "faces") & (rows["image"] == "0007")
    rows.loc[one, ["status", "reason"]] = ["failed", "ValueError: output is not finite"]
    rows.loc[one, ["mse", "psnr", "id_proc", "id_kept"]] = np.nan
    rows.loc[one, "sha256"] = ""
    outcome = gate(replace(baseline, rows=rows), baseline)
    assert outcome.code == REGRESSION and outcome.regressions == 1
    (found,) = outcome.failures
    assert (found.n, found.baseline, found.run) == (200, 0, 1) and "0007: ValueError" in found.new[0]
    assert gate(baseline, replace(baseline, rows=rows)).code == FINE


def test_lost_coverage_counts_as_quality(baseline):
    rows = baseline.rows.copy()
    lost = (rows["method"] == "pti") & (rows["image"] < "0020") & (rows["edit"] == "")
    rows.loc[lost, "id_proc"] = np.nan
    outcome = gate(replace(baseline, rows=rows), baseline)
    assert regressions(outcome) == {("pti", dataset, "id_proc covered") for dataset in DATASETS}
    assert gate(baseline, replace(baseline, rows=rows)).code == FINE


def test_infinite_values_are_equal_or_left_out(baseline):
    rows = baseline.rows.copy()
    rows.loc[(rows["image"] < "0003") & (rows["edit"] == ""), "psnr"] = np.inf
    perfect = replace(baseline, rows=rows)
    assert gate(perfect, perfect).code == FINE
    outcome = gate(baseline, perfect)
    assert outcome.code == FINE and any("psnr: 18 rows left out, infinite" in note for note in outcome.notes)


def test_what_only_one_of_the_two_holds_is_listed(baseline):
    rows = baseline.rows
    less = rows[(rows["image"] < "0190") & ~((rows["method"] == "pti") & (rows["dataset"] == "faces"))]
    less = less[less["strength"] != 2.0].drop(columns="id_proc")
    less.loc[less["image"] == "0005", "sha256"] = "another picture"
    outcome = gate(replace(baseline, rows=less.reset_index(drop=True)), baseline)
    text = "\n".join(outcome.notes)
    assert "only in the baseline: pti.paper.faces\n" in text
    assert "only in the baseline: 10 images of dhr.paper.faces, " in text and ": 0190, 0191, 0192, 0193 and 6 more" in text
    assert "only in the baseline: 1 edit of dhr.paper.faces, " in text and ": age+2" in text
    assert "only in the baseline: metrics id_proc" in text
    assert "faces: 1 images left out, other pictures under the same names: 0005" in text
    assert {one.n for one in outcome.findings if one.measure == "mse"} == {189} and outcome.code == FINE


def test_other_versions_options_and_recipes_are_said(baseline):
    about = baseline.about
    other = {**about, "versions": {"torch": "2.16.0"}, "methods": {**about["methods"], "dhr.paper": {"options": {"steps": 50}}}}
    other["metrics"] = {**about["metrics"], "mse": {**about["metrics"]["mse"], "recipe": "s"}}
    text = "\n".join(gate(replace(baseline, about=other), baseline).notes)
    assert "torch 2.15.0 -> 2.16.0" in text and "dhr.paper: other options: steps 100 -> 50" in text
    assert "metrics whose code, weights or protocol changed since: mse" in text


def test_tolerances_are_read_and_used(baseline):
    known = {"mse@native", "psnr@native"}
    read_ = parse_tolerances(("2%", "mse=1%", "psnr@native=0.1", "time=30%"), known=known)
    assert read_ == Tolerances(Tolerance(0.02), time=Tolerance(0.3),
                               named={"mse": Tolerance(0.01), "psnr@native": Tolerance(0.1, False)})  # fmt: skip
    assert read_.of("mse@native") == Tolerance(0.01) and read_.of("id_proc@native") == Tolerance(0.02)
    for wrong in ("0.1", "time=3", "mse=0%", "mse=x%", "msee=1%", "mse=-1%", "mse=inf"):
        with pytest.raises(InvbenchError, match="--tolerance"):
            parse_tolerances((wrong,), known=known)
    worse = change(baseline, "pti", mse=1.01)
    assert gate(worse, baseline, tolerances=Tolerances(named={"mse": Tolerance(0.02)})).code == FINE
    tiny = Tolerances(named={"psnr": Tolerance(0.01, relative=False)})
    rows = worse.rows.assign(psnr=worse.rows["psnr"] - np.float32(0.02))
    (first, *_) = gate(replace(worse, rows=rows), baseline, tolerances=tiny).findings
    assert first.verdict == "regression"
    absolute = [f for f in gate(replace(worse, rows=rows), baseline, tolerances=tiny).findings if f.measure == "psnr"]
    assert all(f.verdict == "regression" and f.worse == pytest.approx(0.02, rel=1e-3) for f in absolute)


def test_set_metrics_that_got_worse_are_told_and_do_not_fail(baseline):
    def with_fid(value: float, n: int = 200) -> Measured:
        row = {"method": "dhr", "preset": "paper", "dataset": "faces", "metric": "fid", "value": value, "n": n}
        fid = {"title": "FID", "kind": "set", "better": "lower", "unit": "", "recipe": ""}
        metrics = {**baseline.about["metrics"], "fid": fid}
        return replace(baseline, sets=pd.DataFrame([row]), about={**baseline.about, "metrics": metrics})

    outcome = gate(with_fid(10.1), with_fid(10.0))
    assert outcome.code == FINE and "fid of dhr.paper.faces: 10 -> 10.1, n = 200; not tested" in outcome.notes
    for same in (with_fid(10.04), with_fid(9.0), with_fid(12.0, n=100)):
        assert not [note for note in gate(same, with_fid(10.0)).notes if note.startswith("fid of")]


def test_reports_say_what_was_found_and_escape_names(baseline):
    numbers = {"n": 5, "changed": 5, "baseline": 1.0, "run": 2.0, "worse": 1.0, "low": 0.9, "high": 1.1, "p": 1e-9}
    head = {"kind": "quality", "method": "<b>|x", "preset": "p", "dataset": "d", "edit": "", "measure": "mse"}
    finding = Finding(**head, **numbers, tolerance=Tolerance(0.005), verdict="regression")
    outcome = Outcome((finding,), (), ("a *note*",), "", 1, 0.05)
    text = gate_report.markdown(outcome, baseline, baseline)
    assert text.startswith("### ❌ gate: 1 regression") and "&lt;b>\\|x" in text and "a \\*note\\*" in text
    assert "< 0.0001" in gate_report.terminal(outcome, baseline, baseline)
    assert "+90.00% to +110.00%" in text and "+0.50%" in text


def test_no_quality_in_common_is_never_green(baseline):  # F71
    bare = replace(baseline, rows=baseline.rows.drop(columns=["mse", "psnr", "id_proc", "id_kept"]))
    outcome = gate(bare, baseline)
    assert outcome.findings and outcome.code == INCOMPARABLE


@pytest.mark.parametrize(("metric", "value"), [("mse", np.inf), ("psnr", -np.inf), ("id_proc", np.nan)])
def test_infinite_and_missing_halves_are_failures(baseline, metric, value):  # F71
    rows = baseline.rows.copy()
    rows.loc[rows["edit"] == "", metric] = value
    spoiled = replace(baseline, rows=rows)
    outcome = gate(spoiled, baseline)
    assert outcome.code == REGRESSION and {one.run for one in outcome.failures} == {200}
    assert gate(baseline, spoiled).code == FINE
    only = [name for name in ("mse", "psnr", "id_proc", "id_kept") if name != metric]
    alone = replace(spoiled, rows=rows.drop(columns=only))
    assert gate(alone, alone).code == INCOMPARABLE


def test_hostile_baselines_are_one_line(tmp_path):  # F71
    run, path, good = make(0, count=4), tmp_path / "hostile.parquet", tmp_path / "good.parquet"
    write(good, run)
    table = pa.Table.from_pandas(run.rows, preserve_index=False)
    about = {**run.about, "sets": []}
    others = (None, [], {}, "x", 3, [1], {"a": 1})
    cases = [(f"{key} {value!r}", {**about, key: value}, table) for key in about for value in others]
    cases += [(repr(value), value, table) for value in (None, [], 3, "x")]
    for place, name in enumerate(table.column_names):
        cases.append((f"without {name}", about, table.drop_columns([name])))
        cases.append((f"lists in {name}", about, table.set_column(place, name, pa.array([["x"]] * len(table)))))
    for name, content, rows in cases:
        metadata = {b"invbench.baseline": json.dumps(content).encode()}
        path.write_bytes(sealed.table_bytes(rows.replace_schema_metadata(metadata)))
        done = CliRunner().invoke(main, ["gate", str(good), "--baseline", str(path)])
        assert done.exit_code in (FINE, INCOMPARABLE), name
        assert len(done.stderr.splitlines()) <= 1, name
