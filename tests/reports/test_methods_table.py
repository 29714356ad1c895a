"""The page of the methods: it is up to date, and its numbers agree with the manifests, the rows and the printed tables."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.compare import baseline
from invbench.plugins.registry import discover
from invbench.reports import methods_table, published
from invbench.weights.trained import trained
from tests import golden_vectors
from tests.checkout import PROJECT
from tests.golden_errors import FIELDS, METHODS

STORED = "baselines/procfaces-quick.parquet"
ZOO = PROJECT / "methods" / "zoo"


def page(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(PROJECT)
    done = CliRunner().invoke(main, ["list", "methods", "--format", "markdown", "--run", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def line(text: str, start: str) -> list[str]:
    """The cells of the first row of a table that begins so."""
    found = next(row for row in text.splitlines() if row.startswith(f"| {start} "))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_page_is_up_to_date(monkeypatch):
    found = page(STORED, monkeypatch=monkeypatch)
    again = f"invbench list methods --format markdown --run {STORED} > docs/methods.md"
    assert found == (PROJECT / "docs" / "methods.md").read_text(encoding="utf-8"), again


def test_a_row_holds_what_manifest_and_rows_say(monkeypatch):
    cells = line(page(STORED, monkeypatch=monkeypatch), "pSp `psp`")
    manifest = json.loads((ZOO / "psp.json").read_text(encoding="utf-8"))
    size = sum(tensor.numel() for tensor in load_file(ZOO / "psp.safetensors").values())
    assert cells[3:6] == [f"{size / 1e6:.2f} M", f"{manifest['images']:,}", f"{manifest['minutes']:.0f}"]
    rows = baseline.read(PROJECT / STORED).rows
    rows = rows[rows["method"] == "psp"]
    plain, aged = rows[rows["edit"] == ""], rows[(rows["edit"] == "age") & (rows["strength"] == 3)]
    for cell, found, column, form in ((6, plain, "mse@native", "{:.4f}"), (9, aged, "age_change@native", "{:+.1f}")):
        means = [float(found.loc[found["dataset"] == name, column].astype(float).mean()) for name in methods_table.DATASETS]
        assert cells[cell] == " / ".join(form.format(mean) for mean in means)


def test_what_an_embedder_brings_counts_once(monkeypatch):
    text = page(STORED, monkeypatch=monkeypatch)
    invertibility = json.loads((ZOO / "invertibility.json").read_text(encoding="utf-8"))
    assert line(text, "SAM `sam`")[4] == f"{invertibility['images']:,}", "e4e is not counted again"
    assert line(text, "DHR `dhr`")[3:6] == ["–"] * 3


def made_up(values: dict[str, float]) -> pd.DataFrame:
    """Rows of a run in which every image of a method has the same MSE."""
    places = [(id, name, f"{number}.png") for id in values for name in methods_table.DATASETS for number in range(4)]
    rows = pd.DataFrame(places, columns=["method", "dataset", "image"])
    return rows.assign(edit="", strength=0.0, **{"mse@native": rows["method"].map(values)})


def test_ranks_and_tau_of_a_made_up_run():
    specs = discover().methods
    printed = {"psp": 0.0351, "e4e": 0.0475, "lsap": 0.0397, "dhr": 0.0036}
    here = {"psp": 0.3, "e4e": 0.1, "lsap": 0.2, "dhr": 0.01}
    numbers = [one for one in published.tables()["paper:dhr-1"].numbers if one["metric"] == "mse"]
    assert {one["method"]: one.value for one in numbers if one["embedder"] in ("", "e4e")}.items() >= printed.items()
    text = methods_table.markdown(specs, {}, made_up(here), dict.fromkeys(specs, ()), source="a run")
    assert line(text.partition("## Ranks")[2], "pSp")[1] == "2: 4, 4"
    assert line(text.partition("## Ranks")[2], "e4e")[1] == "4: 2, 2"
    pairs = [np.sign((printed[a] - printed[b]) * (here[a] - here[b])) for a, b in combinations(printed, 2)]
    tau = f"{np.mean(pairs):.2f}"
    assert line(text, "DHR, Table 1")[1:] == ["mse", "4", f"{tau} [{tau}, {tau}]", f"{tau} [{tau}, {tau}]"]


def test_changes_by_an_edit_are_ordered_by_their_size():
    """The printed pose goes the other way at the same strength: +3 turns by -12.93 degrees there, by +16.5 here."""
    here = {"hyperinverter": 16.0, "pti": 12.0, "e4e": 11.0, "sg2_wplus": 5.0, "restyle_e4e": 4.0}  # as printed, by size
    places = [(id, name, f"{number}.png") for id in here for name in methods_table.DATASETS for number in range(4)]
    rows = pd.DataFrame(places, columns=["method", "dataset", "image"])
    rows = rows.assign(edit="yaw", strength=3.0, **{"yaw_change@native": rows["method"].map(here)})
    text = methods_table.markdown((specs := discover().methods), {}, rows, dict.fromkeys(specs, ()), source="a run")
    found = next(row for row in text.splitlines() if "HyperInverter, Table 2" in row and "yaw" in row)
    assert [cell.strip() for cell in found.strip("|").split("|")][2:] == ["5", *["1.00 [1.00, 1.00]"] * 2]


def test_errors_on_golden_vectors_are_noted_for_every_output_and_within_the_bound():
    with (published.FOLDER / "golden.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FIELDS
    for row in rows:
        assert 0 < float(row["error"]) <= 10 * float(row["official"]), row
    noted = {row["method"] for row in rows}
    assert noted == set(METHODS.values()) & set(discover().methods)
    assert {row["output"] for row in rows if row["method"] == "hfgi"} <= set(golden_vectors.load("hfgi")["outputs"])


def test_a_manifest_without_a_training_and_a_broken_file(tmp_path: Path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InvbenchError, match=r"x\.safetensors: expected a network with its manifest"):
        trained(path)
    save_file({"a": load_file(ZOO / "psp.safetensors")["latent_avg"]}, path)
    path.with_suffix(".json").write_text("{}")
    assert trained(path) is None
    path.with_suffix(".json").write_text('{"images": 7, "minutes": 2.5}')
    assert trained(path) == (load_file(path)["a"].numel(), 7, 2.5)


@pytest.mark.parametrize("arguments", ["methods --format markdown", "metrics --run .", "methods --run ."])
def test_the_page_needs_a_run_and_the_kind_methods(arguments):
    done = CliRunner().invoke(main, ["list", *arguments.split()])
    assert done.exit_code == 2 and "expected both, and the kind methods" in done.output
