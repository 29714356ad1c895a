"""Pairs through the real command: the published pair is the method alone, bit for bit, and each pair has rows of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from invbench.cli import main
from invbench.plugins import pairs, registry
from invbench.store import Store

METHODS = ("pti", "pti+sg2_w", "dhr", "dhr+e4e", "sam", "sam+e4e", "pti+restyle_e4e:paper")
SHORT = ("pti.steps=3", "sg2_w.steps=3", "dhr.feature_steps=3", "dhr.weight_steps=2", "dhr.coarse_steps=2", "sam.steps=3")


def invbench(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "run"
    shorter = [word for one in SHORT for word in ("--set", one)]
    asked = ("--methods", ",".join(METHODS), "--datasets", "procfaces-test-ood:2", "--edits", "age:2", "--metrics", "@pixel")
    invbench("run", *asked, *shorter, "--device", "cpu", "--batch", 2, "--out", out, "--quiet")
    return out


@pytest.mark.parametrize(("alone", "pair"), [("pti", "pti+sg2_w"), ("dhr", "dhr+e4e"), ("sam", "sam+e4e")])
def test_the_published_pair_is_the_method_alone(run: Path, alone: str, pair: str) -> None:
    folders = [run / "images" / f"{name}.released.procfaces-test-ood" for name in (alone, pair)]
    pictures = [{path.name: path.read_bytes() for path in folder.rglob("*.png")} for folder in folders]
    assert len(pictures[0]) == 4 and pictures[0] == pictures[1]
    rows = Store(run).rows()
    measured = [name for name in rows if "@" in name]
    first, second = (rows[rows["method"] == name].sort_values(["image", "edit"])[measured] for name in (alone, pair))
    assert measured and np.array_equal(first.to_numpy(float), second.to_numpy(float), equal_nan=True)


def test_rows_of_a_pair_are_its_own(run: Path) -> None:
    rows, plan = Store(run).rows(), Store(run).readable_json("plan.json")
    assert set(rows["method"]) == {name.split(":")[0] for name in METHODS} and (rows["status"] == "ok").all()
    assert rows["key"].is_unique and len({cell["recipe"] for cell in plan["cells"].values()}) == len(METHODS)
    cell = plan["cells"]["pti+restyle_e4e.paper.procfaces-test-ood"]
    assert cell["stepwise"] and cell["options"]["embedder.iterations"] == 5 and cell["options"]["steps"] == 3
    starts = {id: one["embedder"] for id, one in Store(run).readable_json("manifest.json")["methods"].items()}
    assert (starts["pti.released"], starts["dhr+e4e.released"]) == ("sg2_w", "e4e")


def test_the_time_of_the_embedder_is_a_stage_of_the_whole(run: Path) -> None:
    rows = Store(run).rows()
    inverted = rows[rows["edit"].isna()].groupby("method")[["seconds.encode", "seconds.optimise", "seconds.refine"]].mean()
    timed = {name: {stage.removeprefix("seconds.") for stage in row.index[row > 0]} for name, row in inverted.iterrows()}
    assert timed["pti"] == timed["pti+sg2_w"] == {"optimise", "refine"}
    assert timed["pti+restyle_e4e"] == {"encode", "refine"} == timed["dhr+e4e"]
    assert timed["sam+e4e"] == {"encode", "optimise"}


def test_tables_page_and_plan_know_pairs(run: Path) -> None:
    before = Store(run).rows()
    assert "pti+restyle_e4e" in invbench("show", run, "--all")
    invbench("report", run)
    page = (run / "report" / "methods" / "dhr+e4e.released.html").read_text(encoding="utf-8")
    assert "images/dhr%2Be4e.released.procfaces-test-ood/" in page
    shown = invbench("plan", "--methods", "dhr+psp", "--no-probe", "--images", 1)
    assert "dhr+psp:released" in shown
    pd.testing.assert_frame_equal(before, Store(run).rows())


def test_a_change_of_the_embedder_is_a_change_of_the_pair(run: Path, tmp_path: Path) -> None:
    cells = Store(run).readable_json("plan.json")["cells"]
    config = tmp_path / "mine.toml"
    config.write_text("[suites.procfaces.methods.restyle_e4e]\niterations = 2\n")
    out = tmp_path / "run"
    asked = ("--methods", "pti+restyle_e4e:paper", "--datasets", "procfaces-test-ood:2", "--edits", "none", "--metrics", "none")
    invbench("run", *asked, "--set", "pti.steps=3", "--device", "cpu", "--batch", 2, "--config", config, "--out", out)
    (cell,) = Store(out).readable_json("plan.json")["cells"].values()
    assert cell["recipe"] != cells["pti+restyle_e4e.paper.procfaces-test-ood"]["recipe"]
    assert cell["options"]["embedder.iterations"] == 2


def test_every_pair_of_the_registry_is_one_or_says_why_not() -> None:
    known = registry.methods()
    refinements = [id for id, spec in known.items() if spec.refines]
    embedders = [id for id, spec in known.items() if spec.gives]
    for first in refinements:
        for second in embedders:
            if known[second].gives in known[first].refines:
                spec = pairs.find(f"{first}+{second}", known)
                assert set(spec.roles) >= {*spec.parts[0].roles, *known[second].roles}
