"""The audit of published numbers: who shares a protocol, what differs and why, and the intervals of a run beside them."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

from invbench.cli import main
from invbench.reports import audit, audit_formats, published
from tests.reports.test_paper_tables import make_run


def quantity(metric: str, domain: str = "faces", dataset: str = "celebahq") -> audit.Quantity:
    return next(one for one in audit.audit(domains=[domain], metrics=[metric]) if one.dataset == dataset)


def pair(found: audit.Quantity, *sources: str) -> audit.Pair:
    return next(one for one in found.pairs if set(one.sources) == set(sources))


def test_style_feature_editor_and_dhr_stand_in_one_list():
    for metric in ("mse", "lpips"):
        order = quantity(metric).orders[0]
        assert set(order.sources) == {"dhr", "hyperinverter", "ganinverter", "sfe"}
        labels = [row.label for row in order.rows]
        wanted = ["StyleFeatureEditor", "DHR + LSAP", "PTI + W pivot", "e4e"]
        assert [label for label in labels if label in wanted] == wanted
        assert [row.place for row in order.rows] == list(range(1, len(order.rows) + 1))
        row = order.rows[labels.index("e4e")]
        assert row.value == pytest.approx(np.mean([one.value for one in row.printed.values()])) and len(row.printed) == 4


def test_the_evidence_is_counted_from_the_printed_numbers():
    """Against the table of the page itself: five rows of StyleFeatureEditor agree with the README."""
    found = pair(quantity("mse"), "ganinverter", "sfe")
    assert set(found.differences) == {"e4e", "pSp", "HFGI + e4e", "HyperStyle + W encoder", "PTI + W pivot"} == set(found.near)
    assert found.differences["e4e"] == pytest.approx(0.047 / 0.0472 - 1) and found.joined and not found.apart
    text = audit_formats.evidence(found, quantity("mse"))
    assert text == "GANInverter and StyleFeatureEditor: same protocol: 5 of 5 shared rows within 5%"


def test_known_causes_stand_beside_what_differs():
    psnr = pair(quantity("psnr"), "hyperinverter", "ganinverter")
    assert psnr.apart and not psnr.joined and "3.01 dB" in psnr.causes[0]
    assert all(len(order.sources) == 1 for order in quantity("psnr").orders)
    steps = pair(quantity("mse"), "hyperinverter", "ganinverter")
    assert steps.joined and steps.causes == ("other numbers of optimisation steps",)
    assert "StyleGAN2 W+ -30%" in audit_formats.evidence(steps, quantity("mse"))
    named = pair(quantity("lpips"), "dhr", "ganinverter")
    assert named.joined and any("AlexNet" in cause for cause in named.causes)
    assert not any(two.joined for two in quantity("seconds").pairs)


def test_every_cause_holds_of_two_sources():
    pairs = [two for one in audit.audit() for two in one.pairs]
    for cause in published.protocols()["cause"]:
        assert set(cause["sources"]) <= set(published.protocols()["sources"])
        meant = cause["sources"] != ["sam"]  # no other source prints SAM's quantities of faces
        assert not meant or any(cause["text"] in two.causes for two in pairs), cause["text"]


def test_what_does_not_count_stands_last_and_is_marked():
    alone = next(order for order in quantity("mse").orders if order.sources == ("gani",))
    assert [row.label for row in alone.rows if not row.place] == ["StyleGAN2", "HyperInverter"]
    text = audit_formats.terminal([quantity("mse")])
    assert "0.090 m" in text and audit_formats.LEGEND in text


def test_three_shared_methods_are_needed():
    assert len(pair(quantity("lpips", "church", "lsun_church"), "gani", "hyperinverter").differences) == 1
    assert not pair(quantity("lpips", "church", "lsun_church"), "gani", "hyperinverter").joined


def test_a_run_of_the_same_protocol_stands_beside(tmp_path):
    store = make_run(tmp_path / "run", dataset="celebahq-test", count=2824, methods=("psp", "e4e"), mse="mse@psp256")
    found = next(one for one in audit.audit(store, domains=["faces"], metrics=["mse"]) if one.dataset == "celebahq")
    order = found.orders[0]
    assert order.measured_as == "mse@psp256 on celebahq-test"
    rows = store.rows()
    for row in order.rows:
        id = {"pSp": "psp", "e4e": "e4e"}.get(row.label)
        assert (row.measured is not None) == (id is not None)
        if row.measured:
            mine = rows[(rows["method"] == id) & rows["edit"].isna()]["mse@psp256"]
            assert row.measured.value == pytest.approx(mine.mean()) and row.measured.low < mine.mean() < row.measured.high
    assert "mse@psp256 on celebahq-test" in audit_formats.markdown([found])


def test_a_run_of_another_protocol_does_not(tmp_path):
    store = make_run(tmp_path / "run", dataset="celebahq-test", count=12, methods=("psp", "e4e"), mse="mse@psp256")
    assert not any(order.measured_as for one in audit.audit(store) for order in one.orders)


def test_every_format_holds_every_number():
    def call(*words: str) -> str:
        result = CliRunner().invoke(main, ["audit", "--domains", "faces", "--metrics", "lpips,fid", *words])
        assert result.exit_code == 0, result.output
        return result.output

    wanted = [one for metric in ("lpips", "fid") for one in audit.audit(domains=["faces"], metrics=[metric])]
    numbers = [number for one in wanted for order in one.orders for row in order.rows for number in row.printed.values()]
    lines = list(csv.DictReader(io.StringIO(call("--format", "csv"))))
    assert len(lines) == len(numbers) and {line["source"] for line in lines} == {one["source"] for one in numbers}
    content = json.loads(call("--format", "json"))
    assert sum(len(row["printed"]) for one in content for order in one["orders"] for row in order["rows"]) == len(numbers)
    for form in ("terminal", "markdown", "latex"):
        text = call("--format", form)
        assert all(one.text in text for one in numbers) and "same protocol" in text
    assert r"$\downarrow$" in call("--format", "latex") and "&" in call("--format", "latex")


def test_an_unknown_name_is_told():
    result = CliRunner().invoke(main, ["audit", "--metrics", "lpip"])
    assert result.exit_code == 2 and "lpip" in result.output and "lpips" in result.output
