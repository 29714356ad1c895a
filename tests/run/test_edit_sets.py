"""FID of the edits of a finished run: which pictures are in the sets, and the readings of its table."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from invbench.api import Edit, InvbenchError
from invbench.cli import main
from invbench.metrics.frechet import distance
from invbench.plugins.registry import discover
from invbench.reports import edit_sets as report
from invbench.reports import site, tables
from invbench.run import edit_sets
from invbench.store import Store
from invbench.util import sealed
from invbench.util.progress import Progress
from tests.reports.fake import make_run

COUNT = 48
OLD = np.arange(COUNT) % 2 == 0  # every second picture is older than 45


class Regressor(torch.nn.Module):
    names, low, high = ["age"], [20.0], [80.0]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


class Dataset:
    def read(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(factors=np.array([0.9 if OLD[index] else 0.1]))


class Session:
    networks = {"regressor": Regressor()}

    def dataset(self, spec: object) -> Dataset:
        return Dataset()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("run")
    methods, strengths = ("psp", "dhr"), (-1.0, 1.0, 2.0)
    return make_run(folder, count=COUNT, methods=methods, datasets=("procfaces-test",), strengths=strengths)


@pytest.fixture(scope="module")
def content(store: Store) -> dict:
    return edit_sets.measure(store, Session(), discover(), Progress(enabled=False))  # type: ignore[arg-type]


def features(store: Store, paths: list[Path]) -> np.ndarray:
    images = torch.from_numpy(np.stack([store.read_picture(path) for path in paths])).permute(0, 3, 1, 2).double() / 127.5 - 1
    return images.unfold(2, 32, 32).unfold(3, 32, 32).mean((4, 5)).flatten(1).numpy()


def test_sets_are_chosen_by_true_attributes(store, content):
    rows = {(row["form"], row["method"], row["edit"], row["strength"], row["direction"]): row for row in content["rows"]}
    old, young = ([f"{i:04d}" for i in range(COUNT) if OLD[i] == wanted] for wanted in (True, False))
    for strength, direction, real, fake in ((2.0, 1, old, young), (-1.0, -1, young, old)):
        row = rows["edit_fid_proc_sfe", "dhr", "age", strength, direction]
        originals = features(store, [store.input("procfaces-test", name) for name in real])
        edited = [store.picture("dhr.paper.procfaces-test", name, Edit("age", strength)) for name in fake]
        assert row["value"] == pytest.approx(distance(originals, features(store, edited)), rel=1e-4)
        assert (row["originals"], row["edits"], row["features"]) == (24, 24, 12)
    assert rows["edit_fid_proc_sfe", "psp", "age", 1.0, 1]["edits"] == 23  # 0003 is young, and failed
    assert rows["edit_fid_proc_styleres", "dhr", "age", 1.0, 1]["edits"] == COUNT  # the whole set, as StyleRes for age
    assert content["sources"]["procfaces-test edit_fid_proc_sfe age 1"] == young
    assert set(content["without"]) == {"edit_fid_sfe", "edit_fid_styleres"}


def test_strength_0_is_the_reconstructions(store, content):
    (row,) = (
        row for row in content["rows"]
        if (row["form"], row["method"], row["edit"], row["strength"], row["direction"])
        == ("edit_fid_proc_styleres", "dhr", "yaw", 0.0, 1)
    )  # fmt: skip
    names = [f"{i:04d}" for i in range(COUNT)]
    originals = features(store, [store.input("procfaces-test", name) for name in names])
    inverted = features(store, [store.picture("dhr.paper.procfaces-test", name) for name in names])
    assert row["value"] == pytest.approx(distance(originals, inverted), rel=1e-4)


def test_an_edit_without_an_attribute_has_a_reason():
    form = SimpleNamespace(metric=edit_sets.load_callable(edit_sets.FORMS[2])({"regressor": Regressor()}))
    assert "found 'beard'" in form.metric.refusal("beard")


def test_three_readings_stand_apart(store, content):
    found = report.tables(store)
    assert {(table.form, table.edit, table.direction) for table in found} >= {
        ("edit_fid_proc_sfe", "age", 1), ("edit_fid_proc_sfe", "age", -1), ("edit_fid_proc_styleres", "age", 1)
    }  # fmt: skip
    (table,) = (one for one in found if (one.form, one.edit, one.direction) == ("edit_fid_proc_sfe", "age", 1))
    line = next(line for line in table.lines if line.method == ("dhr", "paper"))
    assert list(line.values) == [0.0, 1.0, 2.0] and list(line.at) == [5.0, 10.0] and table.unit == "years"
    assert line.best == min(((s, v) for s, v in line.values.items() if s), key=lambda one: one[1])
    rows = store.rows()
    young = [f"{i:04d}" for i in range(COUNT) if not OLD[i]]
    own = rows[(rows["method"] == "dhr") & (rows["edit"] == "age") & rows["image"].isin(young)]
    means = own.groupby("strength")["age_change@native"].mean()
    before, after, v0, v1 = means[1.0], means[2.0], line.values[1.0], line.values[2.0]
    if means[1.0] >= 5:
        before, after, v0, v1 = 0.0, means[1.0], line.values[0.0], line.values[1.0]
    assert line.at[5.0] == pytest.approx(v0 + (v1 - v0) * (5 - before) / (after - before))
    assert np.isnan(line.at[10.0]) == (means[2.0] < 10)
    text = report.text(found, report.without(store))
    assert "searched on these same pictures" in text.replace("\n", " ") and "without edit_fid_sfe:" in text
    assert text.count("edit_fid_proc_sfe, age up") == 1
    assert "without edit_fid_proc_sfe, yaw on procfaces-test: edit_fid_proc_sfe: expected at least 20 originals" in text
    lines = report.as_csv(found).splitlines()
    assert lines[0].startswith("dataset,form,edit") and any(",searched," in one for one in lines)


def test_two_forms_are_compared_by_the_orders_that_they_give():
    def table(form: str, *values: dict[float, float]) -> report.EditTable:
        lines = [report.Line((name, "paper"), name, one, {}, None, 30, ()) for name, one in zip("abcd", values, strict=True)]
        return report.EditTable("faces", form, "", "", "age", 1, "", "", 40, 8, lines)

    nan = float("nan")
    one = table("first", {0: 1, 1: 1, 2: 1}, {0: 1, 1: 2, 2: 2}, {0: 1, 1: 3, 2: 3}, {0: 1, 1: 4, 2: nan})
    other = table("second", {0: 9, 1: 9, 2: 20}, {0: 8, 1: 8, 2: 10}, {0: 7, 1: 7, 2: 30}, {0: 6, 1: 6, 2: 5})
    assert report.orders([one]) == []
    line = "faces: ranks by edit FID (age+2): Kendall's τ 0.33 between first and second, 3 methods, 30 images"
    assert report.orders([one, other]) == [line] and line in report.text([one, other], {})
    fewer = table("third", {0: 1, 1: 1, 2: nan}, {0: 1, 1: 2, 2: nan}, {0: 1, 1: 3, 2: 1}, {0: 1, 1: 4, 2: 1})
    (line,) = report.orders([one, fewer])
    assert line.startswith("faces: ranks by edit FID (age+1): Kendall's τ 1.00 between first and third")
    assert report.orders([table("few", {1: nan}, {1: nan}, {1: 1}, {1: 2}), one]) == []


def test_the_form_is_named_or_refused(store):
    with pytest.raises(InvbenchError, match="edit_fid_proc_sfe"):
        edit_sets.forms(Session(), discover(), named=["edit_fid_proc_sfx"])  # type: ignore[arg-type]
    with pytest.raises(InvbenchError, match="weights missing"):
        edit_sets.forms(Session(), discover(), named=["edit_fid_sfe"])  # type: ignore[arg-type]


def test_celebas_annotation_is_asked_for(store, tmp_path):
    form = SimpleNamespace(metric=SimpleNamespace(truth=False, has=lambda edit, known: known.get("Young")))
    cells = {"a": {"images": [{"name": "00002", "index": 0}, {"name": "x", "index": 1}]}}
    with pytest.raises(InvbenchError, match="--attributes"):
        edit_sets._attributes(form, "d", cells, None, None, None)
    path = tmp_path / "anno.txt"
    path.write_text("1\nYoung\n2.jpg 1\n")
    has = edit_sets._attributes(form, "d", cells, None, None, path)
    assert has("00002", "age") is True and has("x", "age") is None


def test_the_command_on_a_run_of_a_suite(store):
    done = CliRunner().invoke(main, ["edit-fid", str(store.path), "--quiet", "--forms", "edit_fid_proc_nothing"])
    assert done.exit_code == 2 and "did you mean" in done.output


def shown(store: Store, *words: str) -> str:
    done = CliRunner().invoke(main, ["show", str(store.path), *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_tables_of_a_run_have_it(store, content):
    (table,) = (one for one in report.tables(store) if (one.form, one.edit, one.direction) == ("edit_fid_proc_sfe", "age", 1))
    heads = [head for head, _ in report.columns(table)]
    assert heads == ["method", "edits", "no edit", "age+1", "age+2", "at +5 years", "at +10 years", "searched"]
    every = shown(store, "--all")
    assert every.count("edit_fid_proc_sfe, age up") == 1 and "no edit    age+1    age+2" in every
    assert report.LEGEND[-1] in every and "without edit_fid_sfe: weights missing" in every
    found = tables.markdown(store)
    assert "| method   |" in found and "#### procfaces-test: edit\\_fid\\_proc\\_sfe, age up" in found


def test_a_form_is_a_column_of_its_own_for_each_rule(store, content):
    words = ["--metrics", "edit_fid_proc_sfe,edit_fid_proc_styleres", "--edits", "age:1"]
    found = {(row["metric"], row["method"]): row for row in json.loads(shown(store, *words, "--format", "json"))[0]["values"]}
    rows = {(row["form"], row["method"], row["edit"], row["strength"]): row for row in content["rows"]}
    names = list(dict.fromkeys(metric for metric, _ in found))
    rules = ["at age+1", "at +5 years, age up", "at +10 years, age up", "searched, age up"]
    assert names == [f"{form} {rule}" for form in ("edit_fid_proc_sfe", "edit_fid_proc_styleres") for rule in rules]
    for form in ("edit_fid_proc_sfe", "edit_fid_proc_styleres"):
        one, own = found[f"{form} at age+1", "psp"], rows[form, "psp", "age", 1.0]
        assert (one["value"], one["n"]) == (own["value"], own["edits"])
        best = min(rows[form, "psp", "age", strength]["value"] for strength in (1.0, 2.0))
        assert found[f"{form} searched, age up", "psp"]["value"] == best
    for form in ("text", "markdown", "latex", "csv"):
        assert "age+1" in shown(store, *words, "--format", form)
    assert "searched on these same" in shown(store, *words)
    done = CliRunner().invoke(main, ["show", str(store.path), "--metrics", "edit_fid_proc_sfe"])
    assert done.exit_code == 2 and "expected --edits" in done.output


def test_the_site_has_a_table_for_each_form(store, content, tmp_path):
    page = (site.write([store], tmp_path / "site").parent / "edits.html").read_text()
    assert page.count('<table class="edit-fid">') == len(report.tables(store))
    assert page.count("<h4>edit_fid_proc_sfe, age up") == 1 and report.LEGEND[-1] in page


def test_without_a_result_nothing_appears_and_one_of_other_pictures_is_left_out(store, content, tmp_path):
    kept = (store.path / "edit_sets.json").read_bytes()
    plan = store.plan
    try:
        changed = copy.deepcopy(plan)
        changed["cells"]["dhr.paper.procfaces-test"]["images"][0]["key"] = "another"
        store.write_json("plan.json", changed)
        assert {line.method[0] for table in report.tables(store) for line in table.lines} == {"psp"}
        assert "without edit-fid of DHR on procfaces-test: the run has made other pictures since" in shown(store, "--all")
        store.write_json("plan.json", plan)
        (store.path / "edit_sets.json").write_bytes(sealed.json_bytes(content | {"rows": [{"value": "x"}]}))
        with pytest.raises(InvbenchError, match=r"edit_sets.json.rows.0: expected the key 'dataset'"):
            report.tables(store)
        (store.path / "edit_sets.json").unlink()
        assert not report.tables(store) and not report.without(store)
        page = (site.write([store], tmp_path / "site").parent / "edits.html").read_text()
        assert all("edit-fid" not in told and "FID of edits" not in told for told in (page, shown(store, "--all")))
    finally:
        store.write_json("plan.json", plan)
        (store.path / "edit_sets.json").write_bytes(kept)
