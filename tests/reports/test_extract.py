"""What `show` prints: verdicts that follow from the rows, columns that are those of the leaderboard, tables for a paper."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.compare.stats import images_needed
from invbench.reports import extract, extract_formats, query, verdicts
from invbench.reports.run import Run
from invbench.store import Store

from .fake import make_run

METHODS = ("psp", "pti", "dhr")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_run(tmp_path_factory.mktemp("few"), count=4, methods=METHODS, failing=("psp", 1), strengths=(1.0, 3.0))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("many")
    return make_run(folder, count=12, methods=METHODS, datasets=("procfaces-test",), failing=None, strengths=())


def shown(*words: object) -> str:
    done = CliRunner().invoke(main, ["show", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_verdict_names_the_best_its_lead_the_interval_n_and_the_cost(many: Store) -> None:
    line = extract.main(Run.of(many))[0].verdict
    rows = many.rows()
    psnr = {m: rows[rows["method"] == m].sort_values("index")["psnr@native"].to_numpy() for m in ("dhr", "pti")}
    lead = np.mean(psnr["dhr"] - psnr["pti"])
    found = re.fullmatch(
        r"DHR reconstructs best: ([\d.]+) dB above PTI in PSNR \(95 % interval ([\d.]+) to ([\d.]+), n = 12\); "
        r"it takes ([\d.]+) times as long\.",
        line,
    )
    assert found is not None, line
    assert float(found[1]) == pytest.approx(lead, abs=0.06) and float(found[2]) <= lead <= float(found[3])
    assert float(found[4]) == pytest.approx(5.9 / 3.4, abs=0.06)


def test_too_few_images_say_so_and_how_many_would_decide(few: Store) -> None:
    line = extract.main(Run.of(few))[1].verdict  # of the dataset without a failure
    rows = few.rows()
    rows = rows[(rows["dataset"] == "procfaces-test-ood") & rows["edit"].isna()].sort_values("index")
    dhr, pti = (rows[rows["method"] == method]["psnr@native"].to_numpy() for method in ("dhr", "pti"))
    needed = images_needed(dhr - pti, methods=3)
    assert needed is not None and needed > 4
    assert line.startswith("4 images cannot tell DHR from PTI and PSP in PSNR: it leads PTI by ")
    assert f"; about {needed} images would decide" in line and "best" not in line


def test_a_method_alone_and_methods_that_are_equal(tmp_path: Path) -> None:
    run = Run.of(make_run(tmp_path, count=3, methods=METHODS, datasets=("d",), failing=None, strengths=()))
    alone = extract.main(run.only(methods=["dhr"]))[0].verdict
    assert re.fullmatch(r"DHR alone was measured: PSNR [\d.]+ on 3 images\.", alone)
    rows = run.rows.assign(**{"psnr@native": np.inf})
    equal = Run(run.store, rows, run.sets, run.manifest, run.plan)
    assert "infinite" in verdicts.reconstruction(equal, "d", {})


def test_the_default_is_short_and_narrow_and_its_values_are_those_of_the_leaderboard(few: Store) -> None:
    lines = shown(few.path).splitlines()
    assert len(lines) <= 38 and max(map(len, lines)) <= 80
    assert [line.split()[-1] for line in lines if "PSNR" in line and "↑" in line] == ["↓", "↓"]
    board = query.leaderboard(few)
    for one in extract.main(Run.of(few)):
        frame = board[board["dataset"] == one.dataset]
        assert [column.id for column in one.columns] == [
            "psnr@native", "lpips_proc@native", "id_proc@native", "kid_proc@native", "id_kept@native at age+10 years",
            "seconds.invert", "memory.rss_peak",
        ]  # fmt: skip
        for column in one.columns[:4]:
            assert [figure.value for figure in column.figures] == list(frame[column.id])
    assert len(shown(few.path, "--all").splitlines()) > len(lines)


def test_fifteen_methods_on_two_datasets_still_fit(few: Store) -> None:
    found = extract.main(Run.of(few))
    long = [
        extract.Extract(
            one.run, one.dataset, list(one.rows) * 5, list(one.labels) * 5,
            [extract.Column(c.id, c.head, c.better, c.unit, list(c.figures) * 5) for c in one.columns], one.verdict * 2,
        )
        for one in found
    ]  # fmt: skip
    text = extract_formats.text(long)
    assert len(text.splitlines()) <= 40 - 1 and re.search(r"and \d+ more methods: --all", text)  # a line for the page


def test_a_table_for_a_paper_is_one_command(few: Store, tmp_path: Path) -> None:
    asked = (few.path, "--methods", "dhr,pti", "--metrics", "psnr,lpips_proc,id_proc@native,kid_proc,seconds")
    markdown = shown(*asked, "--format", "markdown", "--datasets", "procfaces-test")
    assert "| PTI" in markdown and "PSP" not in markdown and "seconds" not in markdown
    records = list(csv.DictReader(io.StringIO(shown(*asked, "--format", "csv"))))
    assert len(records) == 2 * 2 * 5
    own = query.leaderboard(Run.of(few).only(methods=["dhr", "pti"])).set_index(["dataset", "method"])
    for record in records:
        if "@" in record["metric"]:
            assert float(record["value"]) == own.loc[(record["dataset"], record["method"]), record["metric"]]
    out = tmp_path / "table.json"
    assert shown(*asked, "--format", "json", "--out", out).strip() == str(out)
    assert [one["dataset"] for one in json.loads(out.read_text())] == ["procfaces-test", "procfaces-test-ood"]
    edited = json.loads(shown(few.path, "--metrics", "id_kept,truth_mse", "--edits", "age:1,yaw", "--format", "json"))
    assert {value["metric"] for value in edited[0]["values"]} == {
        f"{name}@native at {edit}" for name in ("id_kept", "truth_mse") for edit in ("age+1", "yaw+3")
    }


def test_latex_is_one_narrow_table_a_dataset_and_escaped(few: Store, tmp_path: Path) -> None:
    manifest = few.manifest
    manifest["methods"]["dhr.paper"]["title"] = r"D_H&R \input{x}"
    run = Run.of(few)
    odd = Run(run.store, run.rows, run.sets, manifest, run.plan)
    text = extract_formats.latex(extract.main(odd))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert r"D\_H\&R \textbackslash{}input\{x\}" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in body[:4]}) == 1  # as many cells in each row
    if shutil.which("pdflatex"):
        (tmp_path / "t.tex").write_text(
            "\\documentclass[twocolumn]{article}\\usepackage{booktabs,graphicx}\\begin{document}" + text + "\\end{document}"
        )
        subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "ptj"], "unknown method 'ptj'; did you mean 'pti'?"),
        (["--metrics", "psnrr"], "unknown metric 'psnrr'; did you mean 'psnr'?"),
        (["--datasets", "x"], "unknown dataset 'x'"),
        (["--edits", "age:7"], "unknown edit 'age:7'"),
        (["--metrics", "id_kept"], "expected --edits"),
        (["--all", "--format", "csv"], "--all"),
        (["--coverage"], "--all"),
    ],
)
def test_names_that_are_not_there_are_refused(few: Store, words: list[str], message: str) -> None:
    done = CliRunner().invoke(main, ["show", str(few.path), *words])
    assert done.exit_code == 2 and message in done.output


def test_compare_counts_wins_and_names_the_pictures(many: Store, few: Store) -> None:
    done = CliRunner().invoke(main, ["compare", str(many.path), "pti", "dhr"])
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    rows = many.rows().sort_values("index")
    gaps = rows[rows["method"] == "dhr"]["psnr@native"].to_numpy() - rows[rows["method"] == "pti"]["psnr@native"].to_numpy()
    assert "DHR is better than PTI by" in done.output and re.search(r"^PSNR .* \* ", done.output, re.MULTILINE)
    assert f"DHR beats PTI most on: {int(gaps.argmax()):04d} (+{gaps.max():.2g} dB)" in done.output
    assert re.search(rf"^PSNR .*{int((gaps < 0).sum())}/12$", done.output, re.MULTILINE)
    unknown = CliRunner().invoke(main, ["compare", str(many.path), "pti", "nobody"])
    assert unknown.exit_code == 2 and "unknown method 'nobody'" in unknown.output
    with pytest.raises(InvbenchError, match="unknown dataset"):
        Run.of(few).only(datasets=["nothing"])
