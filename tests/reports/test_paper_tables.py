"""Published tables: the data as printed, measured values beside it, the reasons why they differ, and every format."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.plugins.registry import metrics
from invbench.reports import formats, paper_tables, published
from invbench.reports.paper_tables import Cell, PaperTable
from invbench.store import Part, Store

ASKED = ["dhr-1", "hyperinverter-1", "hyperinverter-2", "sam-1", "diffcam-1", *(f"gani-{n}" for n in range(2, 9))]
LEVELS = {"sg2_wplus": 0.03, "psp": 0.04, "e4e": 0.05, "pti": 0.012, "sam": 0.02, "dhr": 0.008, "dhr+lsap": 0.06}
ALONE = tuple(name for name in LEVELS if "+" not in name)
SPECS = {
    "mse@native": ("inversion", "lower"),
    "lpips_proc@native": ("inversion", "lower"),
    "psnr@native": ("inversion", "higher"),
    "fid_proc@native": ("set", "lower"),
    "age_change@native": ("edit", "none"),
}


def make_run(
    folder: Path,
    *,
    dataset: str = "procfaces-test",
    count: int = 20,
    methods: tuple[str, ...] = ALONE,
    mse: str = "mse@native",
) -> Store:
    """A run whose methods have the errors of LEVELS; ``mse`` is the id under which the MSE is stored."""
    store, rng = Store(folder), np.random.default_rng(0)
    images = [{"index": i, "name": f"i{i}", "sha256": None} for i in range(count)]
    hard = rng.lognormal(0, 0.4, count)
    cells, head = {}, {"suite": "s", "preset": "released", "dataset": dataset}
    for method, level in ((name, LEVELS[name]) for name in methods):
        cell, rows = f"{method}.released.{dataset}", []
        cells[cell] = {"method": method, "preset": "released", "dataset": dataset, "images": images}
        cells[cell] |= {"edits": [{"name": "age", "strength": 3.0}], "consistency": []}
        for i in range(count):
            error = level * hard[i] * rng.lognormal(0, 0.1)
            one = head | {"method": method, "image": f"i{i}", "index": i, "batch": 4, "recipe": "r", "status": "ok"}
            values = {mse: error, "lpips_proc@native": 4 * error, "psnr@native": 10 * math.log10(4 / error)}
            values["seconds.invert"] = level
            rows.append(one | values | {"key": f"{method}{i}"})
            rows.append(one | {"key": f"{method}{i}e", "edit": "age", "strength": 3.0, "age_change@native": 10 + rng.normal()})
        store.write_part(cell, Part("000000-a", rows, {}))
    described = {
        id: {"id": id, "title": id, "entry": "m:C", "kind": kind, "better": better, "unit": "", "range": ""}
        for id, (kind, better) in (SPECS | {mse: SPECS["mse@native"]}).items()
    }
    starts = {"pti": "sg2_w", "dhr": "e4e", "sam": "e4e", "dhr+lsap": "lsap"}
    options = {f"{method}.released": {"embedder": starts.get(method, "")} for method in methods}
    store.write_json("plan.json", {"suite": "s", "cells": cells})
    store.write_json("manifest.json", {"metrics": described, "methods": options, "unavailable": {}, "finished": "now"})
    store.write_sets(
        [head | {"metric": "fid_proc@native", "method": m, "value": LEVELS[m], "n": count, "reason": None} for m in methods]
    )
    return store


def cells(table: PaperTable) -> list[Cell]:
    return [cell for _, row in table.rows for cell in row.values()]


def one(table: PaperTable, **where: str) -> Cell:
    found = [cell for cell in cells(table) if all(cell.number[name] == value for name, value in where.items())]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def dhr(run: Store) -> PaperTable:
    return paper_tables.build(published.tables()["paper:dhr-1"], run, resamples=199)


def test_every_number_of_every_table_is_there_once() -> None:
    tables = published.tables()
    assert {f"paper:{name}" for name in ASKED} <= set(tables)
    with (published.FOLDER / "results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"].startswith("Table") and row["table"][6:].isdigit()]
    papers = [table for table in tables.values() if table.source not in ("ganinverter", "sfe")]
    assert sum(len(table.numbers) for table in papers) == len(rows) == 588
    for printed in tables.values():
        built = paper_tables.build(printed)
        assert [cell.number for cell in cells(built)] == list(printed.numbers)
        assert not any(cell.measured for cell in cells(built)) and not built.agreements


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("dhr-1", 14, 3), ("hyperinverter-1", 12, 8), ("hyperinverter-2", 12, 6), ("sam-1", 10, 8), ("diffcam-1", 2, 6)]
    + [("gani-2", 13, 4), ("gani-3", 9, 3), ("gani-6", 4, 3), ("gani-7", 4, 5), ("gani-8", 9, 4)],
)
def test_tables_have_their_printed_shape(name: str, rows: int, columns: int) -> None:
    printed = published.tables()[f"paper:{name}"]
    built = paper_tables.build(printed)
    assert (len(built.rows), len(printed.columns())) == (rows, columns)


def test_every_printed_number_has_a_recipe_or_a_reason() -> None:
    for printed in published.tables().values():
        for number in printed.numbers:
            rule = published.rule(number)
            assert rule["recipe"] or rule["reason"], number.fields


def test_every_recipe_that_a_published_number_names_is_a_metric_of_ours() -> None:
    named = {rule["recipe"] for rule in published.protocols()["rule"] if rule["recipe"]}
    assert {"mse@psp256", "lpips_alex@psp256", "id_curricular@mtcnn112", "fid@inception_uint8"} <= named
    assert named <= set(metrics())


def test_known_errors_of_the_literature_are_said() -> None:
    readme = paper_tables.build(published.tables()["paper:ganinverter-1"])
    rules = {cell.number["metric"]: published.rule(cell.number) for cell in cells(readme)}
    assert "3.01 dB" in rules["psnr"]["reason"] and "AlexNet" in rules["lpips"]["reason"]
    gani = formats.terminal(paper_tables.build(published.tables()["paper:gani-2"]))
    assert "suspected misprint" in gani and "matches other source" in gani


def test_a_misprint_is_never_the_best() -> None:
    table = paper_tables.build(published.tables()["paper:gani-2"])
    assert one(table, method="sg2", metric="lpips").place == 0  # printed 0.020, which would be the best
    assert one(table, method="gani", metric="lpips").place == 1
    assert one(table, method="feature_style", metric="lpips").place == 2


def test_measured_values_stand_beside_the_row_that_starts_from_the_same_code(dhr: PaperTable) -> None:
    beside = {(c.number["method"], c.number["embedder"]) for c in cells(dhr) if c.measured and c.number["metric"] == "mse"}
    assert beside == {("sam_opt", "e4e"), ("pti", "w_pivot"), ("dhr", "e4e"), ("psp", ""), ("e4e", "")}
    best = one(dhr, method="dhr", embedder="e4e", metric="mse")
    assert best.measured is not None and best.measured.n == 20 and best.measured_place == 1
    assert best.measured.low < best.measured.value < best.measured.high
    assert one(dhr, method="pti", embedder="w_pivot", metric="mse").measured_place == 2


def test_a_pair_stands_beside_the_row_of_its_embedder(tmp_path: Path) -> None:
    store = make_run(tmp_path, methods=tuple(LEVELS))
    table = paper_tables.build(published.tables()["paper:dhr-1"], store, resamples=199)
    alone, pair = (one(table, method="dhr", embedder=start, metric="mse").measured for start in ("e4e", "lsap"))
    assert alone is not None and pair is not None and pair.value > 2 * alone.value
    (agreement,) = [found for found in table.agreements if found.metric == "mse"]
    assert "dhr+lsap" in agreement.methods and "dhr" in agreement.methods


def test_embedded_numbers_are_never_comparable_in_value(dhr: PaperTable) -> None:
    for cell in cells(dhr):
        if cell.measured:
            assert "measured on procfaces-test, published on celebahq" in cell.reasons
    reasons = one(dhr, method="e4e", metric="lpips").reasons
    assert "measured as lpips_proc@native, published as lpips_alex@psp256" in reasons


def test_the_same_protocol_on_the_same_images_is_comparable(tmp_path: Path) -> None:
    printed = published.tables()["paper:hyperinverter-1"]
    store = make_run(tmp_path, dataset="celebahq", mse="mse@psp256")
    table = paper_tables.build(printed, store, resamples=19)
    found = one(table, method="e4e", metric="mse", domain="faces")
    assert found.metric == "mse@psp256" and found.reasons == ("measured on 20 images, published on 2824",)
    assert one(table, method="e4e", metric="mse", domain="church").measured is None
    few = tuple(replace(n, fields={**n.fields, "n_images": "20"}) for n in printed.numbers if n["domain"] == "faces")
    assert one(paper_tables.build(replace(printed, numbers=few), store, resamples=19), method="e4e", metric="mse").reasons == ()


def test_copied_and_misprinted_numbers_stay_out_of_the_order(run: Store) -> None:
    table = paper_tables.build(published.tables()["paper:gani-5"], run, resamples=19)
    assert not table.agreements and not any(cell.measured for cell in cells(table))  # churches: faces do not stand for them
    gani = paper_tables.build(published.tables()["paper:gani-2"], run, resamples=19)
    assert {agreement.metric for agreement in gani.agreements} == {"mse", "lpips"}
    assert all(set(agreement.methods) == {"pti", "psp", "e4e"} for agreement in gani.agreements)


def test_rank_agreement_of_the_order(dhr: PaperTable) -> None:
    mse = next(agreement for agreement in dhr.agreements if agreement.metric == "mse")
    assert mse.methods == ("sam_opt", "pti", "dhr", "psp", "e4e") and mse.tau.value == 1.0 and mse.tau.n == 20


def test_times_and_set_metrics_have_no_interval_and_edits_meet_their_strength(run: Store) -> None:
    first = paper_tables.build(published.tables()["paper:hyperinverter-1"], run, resamples=19)
    seconds, fid = (one(first, method="pti", metric=name, domain="faces") for name in ("seconds", "fid"))
    assert seconds.measured and seconds.measured.value == pytest.approx(0.012) and math.isnan(seconds.measured.low)
    assert "published times are of a Tesla V100" in seconds.reasons
    assert fid.measured and (fid.measured.value, fid.metric) == (0.012, "fid_proc@native")
    second = paper_tables.build(published.tables()["paper:hyperinverter-2"], run, resamples=19)
    measured = {(c.number["edit"], c.number["edit_strength"]) for c in cells(second) if c.measured}
    assert measured == {("age", "3")}


def test_too_few_images_are_said(tmp_path: Path) -> None:
    table = paper_tables.build(published.tables()["paper:dhr-1"], make_run(tmp_path, count=4), resamples=19)
    said = "4 images cannot tell any two of 5 methods apart: all share rank 1; it takes 9 at least"
    assert any(note.startswith(said) for note in table.notes)


def test_names_that_the_run_does_not_have_are_refused(run: Store, tmp_path: Path) -> None:
    printed = published.tables()["paper:dhr-1"]
    with pytest.raises(InvbenchError, match=r"dataset of the run \(procfaces-test\), found 'x'"):
        paper_tables.build(printed, run, dataset="x")
    with pytest.raises(InvbenchError, match="preset of the run"):
        paper_tables.build(printed, run, preset="paper")
    with pytest.raises(InvbenchError, match="manifest.json"):
        paper_tables.build(printed, Store(tmp_path))


def test_text_formats(dhr: PaperTable) -> None:
    terminal, markdown = formats.terminal(dhr), formats.markdown(dhr)
    assert "* 0.0035" in terminal and "≠ not comparable in value (mse, lpips): measured on procfaces-test" in terminal
    assert "order of mse: Kendall's τ 1.00" in terminal and "row label shifted" in terminal
    assert "**0.0035**" in markdown and "<u>0.0036</u>" in markdown and "| SAM" in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 16 and len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_csv_and_json_hold_every_number(dhr: PaperTable) -> None:
    rows = list(csv.DictReader(io.StringIO(formats.as_csv(dhr))))
    content = json.loads(formats.as_json(dhr))
    assert len(rows) == len(content["numbers"]) == 42
    row = next(r for r in rows if (r["method"], r["embedder"], r["metric"]) == ("dhr", "e4e", "mse"))
    assert (row["published_as"], row["comparable"], row["flags"], row["n"]) == ("0.0036", "False", "row_label_shifted", "20")
    assert float(row["low"]) < float(row["measured"]) < float(row["high"])
    assert content["rank_agreement"][0]["tau"] == 1.0 and "NaN" not in formats.as_json(dhr)


def test_latex_marks_best_second_and_margin(dhr: PaperTable) -> None:
    text = formats.latex(dhr)
    assert r"\bfseries 0.0035" in text and r"{\underline{\num{0.0036}}}" in text and r"\pm" in text
    assert r"\toprule" in text and "S[table-format=1.4]" in text and "\nSAM & " in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 14 and {line.count(" & ") for line in body} == {6}


@pytest.mark.parametrize("id", published.tables())
def test_every_table_is_written_in_every_format_beside_a_run_that_has_little(id: str, tmp_path: Path) -> None:
    printed = published.tables()[id]
    beside = paper_tables.build(printed, make_run(tmp_path, count=3, methods=("psp",)), resamples=19)
    for write in formats.FORMATS.values():
        assert len(write(beside)) > len(printed.numbers)
    here = {cell.number["method"] for cell in cells(beside) if cell.measured}
    assert here <= {"psp"}


def test_methods_are_compared_on_the_images_that_all_cover(tmp_path: Path) -> None:
    store = make_run(tmp_path)
    part = store.parts("pti.released.procfaces-test")[0]
    gone = {"i0", "i7"}
    store.write_part("pti.released.procfaces-test", replace(part, rows=[row for row in part.rows if row["image"] not in gone]))
    part = store.parts("psp.released.procfaces-test")[0]
    store.write_part("psp.released.procfaces-test", replace(part, rows=[row for row in part.rows if row["index"] < 4]))
    table = paper_tables.build(published.tables()["paper:dhr-1"], store, resamples=199)
    assert {one(table, method=m, embedder=e, metric="mse").measured.n for m, e in (("dhr", "e4e"), ("pti", "w_pivot"))} == {18}
    few = one(table, method="psp", metric="mse")
    assert few.measured is not None and few.measured.n == 4 and few.measured_place == 0
    assert "covers only 4 of 20 images, so it is not compared with the other methods" in few.reasons
    said = "mse@native: means over the 18 images that all 4 compared methods cover"
    assert any(line.startswith(said) for line in table.notes)
    mse = next(agreement for agreement in table.agreements if agreement.metric == "mse")
    assert "psp" not in mse.methods and mse.tau.n == 18


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
def test_latex_compiles_fits_a_column_and_no_float_is_taller_than_a_page(run: Store, tmp_path: Path, columns: str) -> None:
    tables = [paper_tables.build(one, run, resamples=19) for one in published.tables().values()]
    head = rf"\documentclass[{columns}]" r"{article}\usepackage{booktabs,etoolbox,graphicx,siunitx}\robustify\bfseries"
    head += r"\sisetup{separate-uncertainty=true, detect-weight=true, group-digits=none, mode=text}\begin{document}"
    body = "\n\\clearpage\n".join(map(formats.latex, tables))
    (tmp_path / "t.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    if "siunitx.sty' not found" in done.stdout:
        pytest.skip("this TeX has no siunitx")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").exists()
    assert [line for line in done.stdout.splitlines() if "Overfull" in line or "too large" in line] == []


def test_the_verb(run: Store) -> None:
    done = CliRunner().invoke(main, ["table", "paper:gani-6", "--format", "json"])
    assert done.exit_code == 0 and json.loads(done.output)["id"] == "paper:gani-6"
    wrong = CliRunner().invoke(main, ["table", "paper:dhr1"])
    assert wrong.exit_code == 2 and "did you mean 'paper:dhr-1'?" in wrong.output
    beside = CliRunner().invoke(main, ["table", "paper:sam-1", str(run.path)])
    assert beside.exit_code == 0 and "measured on procfaces-test" in beside.output
    assert "paper:diffcam-1" in CliRunner().invoke(main, ["table", "list"]).output


def test_without_notes_the_table_stands_alone_and_still_marks_what_cannot_be_compared(dhr: PaperTable) -> None:
    for form in (formats.terminal, formats.markdown, formats.latex):
        full, bare = form(dhr), form(dhr, notes=False)
        assert len(bare.splitlines()) < len(full.splitlines()) and "Kendall" in full and "Kendall" not in bare
        assert "[1]" not in bare and r"\textsuperscript{1" not in bare
        assert "0.0035" in bare and ("≠" in bare or r"$\neq$" in bare)
