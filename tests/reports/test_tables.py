"""Tables as text: folded to the terminal, intervals where they fit, times of the latency pass apart."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from invbench.compare.text import LONGEST, shown
from invbench.reports import figures, query, site, tables, text
from invbench.reports.grid import GITHUB, SIMPLE, fold
from invbench.reports.tables import Layout
from invbench.store import Part, Store

from .fake import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> query.Run:
    folder = tmp_path_factory.mktemp("run")
    store = make_run(folder, count=3, methods=("psp", "pti", "dhr"), failing=("psp", 1), strengths=(2.0,))
    plan = store.plan
    for cell in plan["cells"].values():
        cell["recipe"] = f"recipe of {cell['method']}"
    store.write_json("plan.json", plan)
    times(store, "pti", "recipe of pti", [3.0, 1.0, 2.0, 9.0], machine="a CPU")
    times(store, "pti", "recipe of pti", [7.0], machine="a CPU", key="shorter")
    times(store, "pti", "recipe of pti", [0.1], machine="a GPU", key="gpu")
    times(store, "dhr", "an older recipe", [5.0], machine="a CPU")
    return query.Run.of(store)


def times(store: Store, method: str, recipe: str, seconds: list[float], *, machine: str, key: str = "k") -> None:
    head = {"key": key, "recipe": recipe, "suite": "s", "method": method, "preset": "paper", "dataset": "d", "warmup": 3}
    head |= {"machine": machine, "status": "ok"}
    rows = []
    for index, value in enumerate(seconds):
        rows.append(head | {"image": str(index), "index": index, "latency.total": value, "latency.refine": value / 2})
        rows.append(head | {"image": str(index), "index": index, "edit": "age", "strength": 1.0, "latency.total": 0.5})
    rows.append(head | {"image": "x", "index": len(seconds), "status": "failed", "reason": "no"})
    store.write_latency(f"{method}.paper", key, rows)


def test_a_table_is_folded_between_groups_of_columns() -> None:
    fixed = [("method", ["a", "b"])]
    groups = [[(f"metric{i}", ["1.00", "2.00"]), ("rank", ["1", "2"])] for i in range(3)]
    whole = fold(fixed, groups, None)
    assert whole.count("method") == 1 and "metric2" in whole.splitlines()[0]
    width = max(map(len, whole.splitlines()))
    folded = fold(fixed, groups, width - 1)
    assert folded.count("method") == 2 and folded.count("rank") == 3
    assert max(map(len, folded.splitlines())) < width
    assert fold(fixed, groups, 5).count("method") == 3  # a group is never divided, however narrow the terminal


def test_intervals_where_the_width_allows(run: query.Run) -> None:
    table = figures.boards(run, query.leaderboard(run))["procfaces-test"]
    for wide in (None, 1000):
        assert "[" in tables.leaderboard(table, Layout(width=wide))
    narrow = tables.leaderboard(table, Layout(width=120))
    assert "[" not in narrow and max(map(len, narrow.splitlines())) <= 120
    forced = tables.leaderboard(table, Layout(width=120, intervals=True))
    assert "[" in forced and len(forced.splitlines()) > len(narrow.splitlines())
    assert "[" not in tables.leaderboard(table, Layout(intervals=False))


def test_each_methods_own_coverage_is_there_where_it_is_not_complete(run: query.Run) -> None:
    text = tables.terminal(run)
    assert "means over the 2 images that all 3 methods cover; 1 of 3 left out: 0001" in text
    blocks = {block.splitlines()[0]: block for block in text.split("\n\n")}
    test = blocks["procfaces-test: images covered of images planned"]
    psp = next(line for line in test.splitlines() if line.startswith("psp"))
    assert psp.split()[2:4] == ["2/3", "1"] and psp.split()[-1] == "2/3"
    assert "procfaces-test-ood: images covered of images planned" not in text
    assert "procfaces-test-ood: images covered of images planned" in tables.terminal(run, covered=True)


def test_latency_is_the_median_with_quartiles_of_the_present_recipe(run: query.Run) -> None:
    frame = query.latency(run)
    assert list(frame["method"]) == ["pti", "pti"] and list(frame["machine"]) == ["a CPU", "a GPU"]
    cpu = frame.iloc[0]
    assert (cpu["n"], cpu["n_ok"], cpu["invert"], cpu["invert.low"], cpu["invert.high"]) == (5, 4, 2.5, 1.75, 4.5)
    assert (cpu["refine"], cpu["edit"], cpu["edit_name"]) == (1.25, 0.5, "age")
    text = tables.terminal(run)
    assert "latency: seconds of an image that comes alone" in text and "2.500 [1.750, 4.500]" in text and "4/5" in text
    assert not [name for name in query.leaderboard(run) if "latency" in name]


def test_set_metrics_have_their_interval_and_bias(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=2, methods=("psp", "dhr"), failing=None, strengths=(), datasets=("procfaces-test",))
    sets = store.query("SELECT * FROM sets").to_dict("records")
    for row in sets:
        if row["metric"] == "kid_proc@native":
            row |= {"value": 0.05, "low": 0.04, "high": 0.07, "bias": 0.01, "n": 2}
        else:
            row |= {"value": 7.5, "low": math.nan, "high": math.nan, "bias": 0.25}
    run = query.Run.of(store)
    changed = query.Run(store, run.rows, pd.DataFrame(sets), run.manifest, run.plan)
    frame = query.leaderboard(changed)
    assert frame["kid_proc@native.low"].tolist() == [0.04, 0.04] and frame["kid_proc@native.bias"].tolist() == [0.01, 0.01]
    assert frame["kid_proc@native.place"].tolist() == [1, 1]
    text = tables.terminal(changed)
    assert "bias: of a set metric, due to the number of images" in text
    assert "0.05000 [0.04000, 0.07000] (bias 0.01000)" in text and "7.500 (bias 0.250)" in text
    table = figures.boards(changed, frame)["procfaces-test"]
    assert "bias" not in tables.leaderboard(table, Layout(intervals=False))


def test_no_zero_is_negative(tmp_path: Path) -> None:
    write = text.number_format([-0.1, 0.0])
    assert [write(value) for value in (-0.0, -1e-9, -0.1, math.nan, -math.inf)] == ["0.0000", "0.0000", "-0.1000", "–", "-∞"]
    assert text.signed(-0.0) == "+0" and text.mebibytes(-0.0) == "0" and text.edit_text("age", -2.0) == "age-2"
    store = make_run(tmp_path, count=4, methods=("psp", "dhr"), failing=None, strengths=(1.0,), datasets=("procfaces-test",))
    run = query.Run.of(store)
    run.rows["id_kept@native"] = [-0.0, -1e-12, -2e-12, -3e-12] * (len(run.rows) // 4)
    for found in (tables.terminal(run), site.write([run]).with_name("edits.html").read_text()):
        assert "0.000000" in found
        assert not re.search(r"(?<![\d.e])-0(\.0+)?(?![\d.])", found)


def test_a_long_reason_is_cut_where_it_is_shown_and_whole_in_the_rows(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=2, methods=("psp",), failing=None, strengths=(), datasets=("procfaces-test",))
    rows = [dict(row) for row in store.parts("psp.paper.procfaces-test")[0].rows]
    long = "line | <b>\n" * 20_000
    rows[0] |= {"status": "failed", "reason": long}
    part = store.parts("psp.paper.procfaces-test")[0]
    store.write_part("psp.paper.procfaces-test", Part(part.name, rows, part.metrics))
    store.write_json("manifest.json", store.manifest | {"unavailable": {"lpips_alex@native": long}})
    run = query.Run.of(store)
    assert query.failures(run)["reason"].tolist() == [long]
    for found in (tables.terminal(run), site.write([run]).with_name("about.html").read_text()):
        assert len(found) < 100_000 and f"{len(long):,} characters" in re.sub(r"\s+", " ", found)
    assert shown("x" * LONGEST) == "x" * LONGEST


def test_every_format_escapes_what_others_have_named(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=2, methods=("psp",), failing=None, strengths=(), datasets=("procfaces-test",))
    table = figures.boards(query.Run.of(store), query.leaderboard(store))["procfaces-test"]
    assert tables.leaderboard(table, Layout(GITHUB)).splitlines()[0].count("\\_") == 3  # of three metrics' names
    assert "\\_" not in tables.leaderboard(table, Layout(SIMPLE))


def test_f11_edits_of_different_strengths_have_different_labels() -> None:
    """F11: strengths that are equal to six digits, and very small and large ones."""
    from invbench.reports.text import edit_text, signed

    strengths = [3.0, 3.0000001, 3.00000010000001, 1e-300, 1.0000001e20, 1e20, -3.0, -3.0000001, 0.1, 0.1 + 2**-56]
    assert len({edit_text("age", one) for one in strengths}) == len(strengths)
    assert all(float(signed(one)) == one for one in strengths)
    assert signed(-0.0) == signed(0) == "+0" and signed(3) == "+3" and signed(float("nan")) == "–"
