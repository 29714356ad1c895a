"""Published numbers beside measured ones: the verdict on known values, and the pages that show it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from invbench.compare.stats import Interval
from invbench.reports import paper_tables, published, site, site_papers
from invbench.reports.paper_tables import Cell
from invbench.reports.reproduction import DIFFERS, NOT_COMPARABLE, REPRODUCED, verdict
from invbench.reports.run import Run

from .fake import make_run as make_pictures
from .test_paper_tables import make_run


def number(text: str):
    """A printed number of DHR's Table 1 with another value."""
    return replace(published.tables()["paper:dhr-1"].numbers[0], text=text, value=float(text))


@pytest.mark.parametrize(
    ("printed", "measured", "word"),
    [
        ("0.0276", Interval(0.0280, 0.0270, 0.0290, 100), REPRODUCED),
        ("0.0276", Interval(0.0300, 0.0290, 0.0310, 100), DIFFERS),
        ("0.03", Interval(0.0330, 0.0320, 0.0340, 100), REPRODUCED),  # 0.03 may be 0.0345, rounded
        ("0.03", Interval(0.0380, 0.0360, 0.0390, 100), DIFFERS),
        ("10.0", Interval(10.4, math.nan, math.nan, 100), REPRODUCED),  # no interval: within 5 %
        ("10.0", Interval(10.6, math.nan, math.nan, 100), DIFFERS),
        ("0.0276", Interval(math.inf, math.nan, math.nan, 100), NOT_COMPARABLE),
    ],
)
def test_a_number_is_reproduced_where_the_interval_of_the_difference_holds_zero(
    printed: str, measured: Interval, word: str
) -> None:
    said = verdict(Cell(number(printed), measured=measured, metric="mse@psp256"))
    assert said is not None and said.word == word
    if word != NOT_COMPARABLE:
        assert said.difference.value == pytest.approx(measured.value - float(printed)) and said.reasons == ()


def test_reasons_and_seconds_make_numbers_incomparable_and_nothing_measured_has_no_verdict() -> None:
    one = Cell(
        number("0.0276"), measured=Interval(0.0276, 0.0270, 0.0280, 100), metric="mse@native", reasons=("another recipe",)
    )
    assert verdict(one).word == NOT_COMPARABLE and verdict(one).reasons == ("another recipe",)
    assert verdict(replace(one, metric="seconds.invert", reasons=())).reasons == ("seconds of another machine",)
    assert verdict(Cell(number("0.0276"))) is None


def test_a_page_has_every_printed_number_and_the_verdicts_of_the_build(tmp_path: Path) -> None:
    run = Run.of(make_run(tmp_path / "run", dataset="celebahq-test", count=24, mse="mse@psp256"))
    printed = published.tables()["paper:dhr-1"]
    short = replace(printed, numbers=tuple(replace(n, fields={**n.fields, "n_images": "24"}) for n in printed.numbers))
    built = paper_tables.build(short, run)
    words = [said.word for _, row in built.rows for cell in row.values() if (said := verdict(cell))]
    assert REPRODUCED in words or DIFFERS in words
    (found,) = [one for one in site_papers.tables(run) if one["id"] == "paper:dhr-1"]
    texts = [cell["text"] for row in found["rows"] for cell in row["cells"] if cell]
    assert texts == [one.text or "–" for one in printed.numbers]
    reasons = dict(found["reasons"])
    assert any("24 images, published on 2824" in reason for reason in reasons.values())
    for cell in (cell for row in found["rows"] for cell in row["cells"] if cell and cell["verdict"]):
        assert bool(cell["reasons"]) == (cell["verdict"] == NOT_COMPARABLE) == (cell["difference"] == "")
        assert set(cell["reasons"]) <= set(reasons)
    assert sum(count for *_, count in found["counts"]) == len(words)


def test_the_site_has_a_page_for_each_table_that_was_measured_and_its_links_lead_there(tmp_path: Path) -> None:
    store = make_pictures(tmp_path / "run", count=4, methods=("psp", "dhr"), strengths=(3.0,))
    pages = site.write([store], tmp_path / "site").parent
    text = (pages / "published.html").read_text(encoding="utf-8")
    links = re.findall(r'<th scope="row"><a href="(published/[^"]+)"', text)
    assert "published/dhr-1.html" in links and all((pages / link).is_file() for link in links)
    one = (pages / "published/dhr-1.html").read_text(encoding="utf-8")
    assert "measured on procfaces-test, published on celebahq" in one and "../static/papers.css" in one
    assert "Nothing measured of: " in text and 'href="published.html" aria-current="page"' in text
    both = site.write([store, store], tmp_path / "two").parent
    assert {path.name for path in (both / "published").iterdir()} >= {"0-dhr-1.html", "1-dhr-1.html"}
