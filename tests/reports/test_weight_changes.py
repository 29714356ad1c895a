"""``invbench weight-changes``: the statistic against plain sums, its table, its plot and its file."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from invbench.cli import main
from invbench.plugins.config import load
from invbench.reports import weight_changes
from invbench.weights.networks import Networks

PLUGIN = '''

from invbench.api import Inversion

SPEC = {"id": "shifter", "class": "Shifter", "title": "Shifter", "family": "weights", "paper": "none", "venue": "none",
        "roles": ["generator"], "options": {}, "presets": {"paper": {}}}


class Shifter:
    """Adds each picture's mean to two weights, twice of it to the second."""

    def __init__(self, networks, options):
        self.synthesis = networks["generator"].synthesis

    def invert(self, images, clock):
        means = images.mean((1, 2, 3)).view(-1, 1, 1, 1, 1)
        names = ("b8.conv0.weight", "b64.torgb.weight")
        state = {name: self.synthesis.get_parameter(name) + (i + 1) * means for i, name in enumerate(names)}
        return Inversion(images.new_zeros(len(images), 1, 1), images, {**state, "other": images})

    def edit(self, inversion, edit, clock):
        return inversion.images

    def max_batch(self, memory):
        return 2
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "shifter.py"
    path.write_text(PLUGIN)
    return path


def test_the_statistic_is_the_mean_absolute_change_of_each_layer(plugin: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "weights.html", tmp_path / "weights.csv"
    words = ["weight-changes", "--methods", "shifter", "--plugin", plugin, "--datasets", "procfaces-test:5", "--device", "cpu"]
    done = CliRunner().invoke(main, [str(word) for word in [*words, "--page", page, "--csv", table, "--quiet"]])
    assert done.exit_code == 0, done.output
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["b8.conv0", "b64.torgb"]

    from invbench.datasets.procfaces import render_split

    means = np.abs((render_split("test", range(5)).images / 127.5 - 1).mean((1, 2, 3)))
    synthesis = Networks(load()["procfaces"])["generator"].synthesis
    for factor, row in enumerate(rows, start=1):
        assert float(row["change"]) == pytest.approx(factor * means.mean(), rel=1e-4)
        size = synthesis.get_parameter(f"{row['layer']}.weight").abs().double().mean().item()
        assert float(row["share"]) == pytest.approx(factor * means.mean() / size, rel=1e-4)
        assert float(row["low"]) < float(row["change"]) < float(row["high"]) and row["n"] == "5"
    line = next(line for line in done.output.splitlines() if "b64.torgb" in line)
    assert f"{2 * means.mean():.4f}" in line and "5" in line
    text = page.read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text), "the page asks another host"
    assert text.count("<tr>") == 3 and "b8.conv0" in text and text.count("<rect") == 2


def test_names_are_text_on_the_page() -> None:
    row = {"method": "<b>x</b>", "dataset": "<i>d", "image": "1", "layer": "b4.conv1", "change": 1.0, "weight": 2.0}
    text = weight_changes.page(pd.DataFrame([row, {**row, "image": "2"}]))
    assert "<b>x" not in text and "<i>d" not in text and "<td>&lt;b&gt;x&lt;/b&gt;</td>" in text


def test_layers_keep_their_order_and_methods_stand_apart() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "dataset": "d", "image": str(i), "layer": layer, "change": rng.random(), "weight": 2.0}
        for method in ("b:x", "a:y")
        for layer in ("b8.conv1", "b4.conv1", "b16.torgb")
        for i in range(4)
    ]
    found = weight_changes.summary(pd.DataFrame(rows))
    assert [(one.method, one.layer) for one in found] == [
        (method, layer) for method in ("b:x", "a:y") for layer in ("b8.conv1", "b4.conv1", "b16.torgb")
    ]
    own = [row["change"] for row in rows if row["method"] == "a:y" and row["layer"] == "b4.conv1"]
    assert found[4].change.value == pytest.approx(np.mean(own)) and found[4].share == pytest.approx(np.mean(own) / 2)
    text = weight_changes.table(pd.DataFrame(rows))
    assert "3 layers" in text and text.splitlines()[2].startswith("b:x")


@pytest.mark.parametrize("method", ["e4e", "sg2_w"])
def test_a_method_that_changes_no_weights_is_refused(method: str) -> None:
    words = ["weight-changes", "--methods", method, "--datasets", "procfaces-test:1", "--device", "cpu", "--quiet"]
    words += ["--set", "sg2_w.steps=1"] if method == "sg2_w" else []
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    assert "expected weights of the generator in its inversions, found none" in done.output
