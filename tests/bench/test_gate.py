"""The gate: what it must catch, what it must not, what it refuses to compare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import binom

from bench import gate_report, runner
from bench.api import InvbenchError
from bench.baseline import KEYS, Measured, _tidy, merge, of_run, read, write
from bench.cli import main
from bench.cli.gate import parse_tolerances
from bench.gate import FINE, INCOMPARABLE, REGRESSION, Finding, Outcome, Tolerance, Tolerances, gate

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
    return Measured("run", _tidy(rows, "run"), sets, about)


def change(source: Measured, method: str, **factors: float) -> Measured:
    """The same run with some columns of a method multiplied; dots in names are written as double underscores."""
    rows = source.rows.copy()
    for name, factor in factors.items():
        rows.loc[rows["method"] == method, name.replace("__", ".")] *= factor
    return replace(source, rows=rows)


def regressions(outcome: Outcome) -> set[tuple[str, str, str]]:
    return {(one.method, one.dataset, one.measure) for one in outcome.findings if one.verdict == "regression"}


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


def test_the_latency_pass_of_a_run_is_kept(make_settings, tmp_path):
    settings = make_settings(latency=5)
    assert runner.run(settings, progress=False) == 0
    write(tmp_path / "baseline.parquet", of_run(settings.out))
    rows = read(tmp_path / "baseline.parquet").rows
    assert rows["latency.refine"].notna().sum() == rows["latency.edit"].notna().sum() == 5
    assert rows.loc[rows["latency.edit"].notna(), "edit"].unique().tolist() == ["bright"]
    outcome = gate(of_run(settings.out), read(tmp_path / "baseline.parquet"))
    counted = {one.measure: one.n for one in outcome.findings if one.kind == "time"}
    assert counted["latency.total"] == counted["latency.edit"] == 5 and counted["seconds.invert"] == 3


def test_a_run_that_was_continued_elsewhere_has_no_times_to_compare(make_settings, monkeypatch):
    settings = make_settings(images=4)
    assert runner.run(settings, progress=False) == 0
    alone = of_run(settings.out)
    here = alone.about["machine"]
    monkeypatch.setattr("bench.provenance.machine", lambda device: here | {"threads": 99})
    assert runner.run(settings, progress=False) == 0  # nothing to do: no time was measured there
    assert of_run(settings.out).about["machines"] == [here] and of_run(settings.out).about["machine"] == here
    assert runner.run(make_settings(images=8), progress=False) == 0
    both = of_run(settings.out)
    assert both.about["machines"] == [here, here | {"threads": 99}]
    assert "made on several machines" in gate(both, alone).refused


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


def test_a_baseline_keeps_what_the_gate_needs(make_settings, tmp_path):
    settings = make_settings()
    assert runner.run(settings, progress=False) == 0
    run, file = of_run(settings.out), tmp_path / "deep" / "baseline.parquet"
    write(file, run)
    stored = read(file)
    pd.testing.assert_frame_equal(stored.rows, run.rows, check_exact=True)
    pd.testing.assert_frame_equal(stored.sets, run.sets)
    assert stored.about == run.about and stored.rows["sha256"].str.len().eq(64).all()
    assert not stored.rows.duplicated(KEYS).any() and len(stored.rows) == 36
    text = CliRunner().invoke(main, ["gate", str(settings.out), "--baseline", str(file)])
    assert text.exit_code == FINE and "gate: no regression" in text.output


def test_the_command_line_fails_on_a_worse_run(make_settings, tmp_path):
    good, bad = make_settings(out=tmp_path / "good"), make_settings(out=tmp_path / "bad", overrides=["toy.level=7.0"])
    assert runner.run(good, progress=False) == runner.run(bad, progress=False) == 0
    file, summary = tmp_path / "good.parquet", tmp_path / "gate.md"
    done = CliRunner().invoke(main, ["baseline", str(good.out), "--out", str(file)])
    assert done.exit_code == 0 and "36 rows" in done.output
    done = CliRunner().invoke(main, ["gate", str(bad.out), "--baseline", str(file), "--summary", str(summary)])
    assert done.exit_code == REGRESSION and "toy.paper: other options: level 8.0 -> 7.0" in done.output
    assert summary.read_text().startswith("### ❌ gate: ") and "| regression | toy:paper" in summary.read_text()
    back = CliRunner().invoke(main, ["gate", str(good.out), "--baseline", str(bad.out)])
    assert back.exit_code == FINE and "better" in back.output


def test_what_is_not_a_baseline_is_refused(tmp_path, baseline):
    broken, foreign = tmp_path / "broken.parquet", tmp_path / "foreign.parquet"
    broken.write_bytes(b"PAR1")
    pd.DataFrame({"a": [1]}).to_parquet(foreign)
    for path, said in ((broken, "unreadable"), (foreign, "another Parquet file"), (tmp_path / "no", "found nothing")):
        with pytest.raises(InvbenchError, match=said):
            read(path)
    with pytest.raises(InvbenchError, match=r"manifest\.json"):
        read(tmp_path)
    with pytest.raises(InvbenchError, match="not finished"):
        write(tmp_path / "b.parquet", replace(baseline, about={**baseline.about, "finished": None}))


def test_runs_are_merged_when_they_belong_together(baseline):
    rows = baseline.rows
    parts = [replace(baseline, rows=rows[rows["dataset"] == dataset].reset_index(drop=True)) for dataset in DATASETS]
    whole = merge(parts)
    pd.testing.assert_frame_equal(whole.rows, rows)
    with pytest.raises(InvbenchError, match="found 'dhr paper faces 0000"):
        merge([parts[0], parts[0]])
    with pytest.raises(InvbenchError, match="expected the machine of run"):
        merge([parts[0], replace(parts[1], about={**baseline.about, "machine": {}})])
