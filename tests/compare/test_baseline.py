"""Stored baselines, and the gate over real runs of toy methods."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.compare.baseline import KEYS, Measured, merge, of_run, read, write
from invbench.compare.gate import FINE, REGRESSION, gate
from invbench.run import runner
from tests.compare.gate_runs import DATASETS, make


@pytest.fixture(scope="module")
def baseline() -> Measured:
    return make(0, count=20, methods=("dhr",))


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
    monkeypatch.setattr("invbench.util.provenance.machine", lambda device: here | {"threads": 99})
    assert runner.run(settings, progress=False) == 0  # nothing to do: no time was measured there
    assert of_run(settings.out).about["machines"] == [here] and of_run(settings.out).about["machine"] == here
    assert runner.run(make_settings(images=8), progress=False) == 0
    both = of_run(settings.out)
    assert both.about["machines"] == [here, here | {"threads": 99}]
    assert "made on several machines" in gate(both, alone).refused


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
    unsigned = "does not state its sha256"
    for path, said in ((broken, unsigned), (foreign, unsigned), (tmp_path / "no", "found nothing")):
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
