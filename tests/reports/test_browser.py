"""The pages in Chromium: what a reader does, by mouse, touch and keyboard; no error, no request outside, no barrier."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from invbench.api import Edit
from invbench.reports import site
from invbench.store import Part
from tests.browser import DESK, PHONE, TABLET, browser, needs_browser, resize, too_wide

from .fake import make_run
from .studies import make_study

pytestmark = needs_browser
AXE = os.environ.get("INVBENCH_AXE", "")  # axe.min.js of axe-core
PAGES = (
    "index.html",
    "tradeoffs.html",
    "gallery.html#order=worst",
    "image.html#board=procfaces-test-ood&image=1&edit=age",
    "compare.html",
    "edits.html",
    "about.html",
    "methods/dhr.paper.html",
)
MARKUP = "<img src=x onerror=\"document.title='broken'\">"
QUOTES = "'\"><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return site.write([make_run(folder, count=4, methods=("psp", "pti", "dhr"), strengths=(-1.0, 3.0))]).parent


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as found:
        yield found


def opened(driver: Any, pages: Path, address: str, *, until: str = "") -> None:
    """Open a page afresh and wait for what the CSS selector ``until`` finds."""
    driver.get("about:blank")
    driver.get(f"{pages.as_uri()}/{address}")
    if until:
        wait(driver, until)


def address_of(driver: Any) -> str:
    """Where the page itself says that it is; the driver learns of a changed fragment later."""
    return str(driver.execute_script("return location.href"))


def wait(driver: Any, selector: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(lambda found: all_of(found, selector))


def all_of(driver: Any, selector: str) -> list[Any]:
    return list(driver.find_elements("css selector", selector))


def one_of(driver: Any, selector: str) -> Any:
    return driver.find_element("css selector", selector)


def methods(driver: Any, board: str = "procfaces-test") -> list[str]:
    """The methods of a leaderboard that are seen, from top to bottom."""
    rows = all_of(driver, f"[data-board='{board}'] tbody tr:not([hidden])")
    return [row.get_attribute("data-method") or row.find_element("css selector", ".mean").text for row in rows]


def choose(driver: Any, selector: str, value: str) -> None:
    told = "for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind))"
    driver.execute_script(f"const [one, value] = arguments; one.value = value; {told}", one_of(driver, selector), value)


def test_the_leaderboard_sorts_filters_and_searches_and_its_address_brings_the_view_back(driver: Any, pages: Path) -> None:
    opened(driver, pages, "index.html")
    assert methods(driver) == ["dhr", "pti", "psp"]
    for order in (["psp", "pti", "dhr"], ["dhr", "pti", "psp"]):  # the first click puts the best on top: the fastest
        head = one_of(driver, "[data-board='procfaces-test'] thead th:nth-last-child(2) button")
        head.send_keys("\n")  # by the keyboard
        assert methods(driver) == order
    one_of(driver, ".search").send_keys("p")
    assert methods(driver) == ["pti", "psp"] and methods(driver, "procfaces-test-ood") == ["dhr", "pti", "psp"]
    choose(driver, ".family", "encoder")
    assert methods(driver) == ["psp"]
    all_of(driver, ".columns summary")[0].click()
    box = next(
        one
        for one in all_of(driver, "[data-board='procfaces-test'] .columns input")
        if one.get_attribute("value") == "mse@native"
    )
    box.click()
    address = address_of(driver)
    opened(driver, pages, address.rpartition("/")[2])
    assert methods(driver) == ["psp"] and one_of(driver, ".search").get_attribute("value") == "p"
    heads = {
        one.get_attribute("data-metric"): one.is_displayed()
        for one in all_of(driver, "[data-board='procfaces-test'] th[data-metric]")
    }
    assert heads["mse@native"] and heads["psnr@native"]
    choose(driver, ".family", "")
    choose(driver, ".search", "")
    assert methods(driver) == ["dhr", "pti", "psp"]  # still by seconds, the slowest first


def test_what_is_seen_is_copied_in_three_forms(driver: Any, pages: Path) -> None:
    opened(driver, pages, "index.html#q.procfaces-test=dhr")
    for form, start in (
        ("Markdown", "| Method | n | PSNR ↑"),
        ("LaTeX", "\\begin{tabular}{lrrr"),
        ("CSV", '"Method","n","PSNR ↑"'),
    ):
        all_of(driver, ".menu:not(.columns) summary")[0].click()
        one_of(driver, f".copy[data-form={form}]").click()
        text = str(one_of(driver, ".answer").get_attribute("data-copied"))
        assert text.startswith(start) and "DHR" in text and "PTI" not in text
        assert one_of(driver, ".said").text == f"copied as {form}"


def test_published_rows_come_on_demand_with_the_reason_why_they_cannot_be_compared(driver: Any, pages: Path) -> None:
    opened(driver, pages, "index.html")
    assert not all_of(driver, "tr.published")
    one_of(driver, ".with-published").click()
    wait(driver, "tr.published")
    opened(driver, pages, address_of(driver).rpartition("/")[2], until="tr.published")
    assert any("PTI" in name for name in methods(driver)[3:])
    cell = one_of(driver, "tr.published td[title]")
    assert "†" in cell.text and "not comparable: measured on" in cell.get_attribute("title")
    one_of(driver, "[data-board='procfaces-test'] th[data-metric='psnr@native'] button").click()
    assert methods(driver)[-1] not in ("dhr", "pti", "psp")  # a row without a printed PSNR is last
    all_of(driver, "details.published summary")[0].click()
    assert "measured on celebahq" in one_of(driver, "details.published dl").text


def test_an_image_turns_slides_and_is_edited_by_the_keyboard(driver: Any, pages: Path) -> None:
    opened(driver, pages, "image.html#board=procfaces-test-ood&image=2&left=m1&edit=yaw&strength=0", until="#cards li")
    assert one_of(driver, "#name").text == "procfaces-test-ood / 0002" and len(all_of(driver, ".heat")) == 3
    assert "images/pti.paper.procfaces-test-ood/0002.png" in one_of(driver, "#before").get_attribute("src")
    assert len(all_of(driver, ".over .tint")) == 2  # what DHR took for out-of-domain, and what is
    edits = [one for one in all_of(driver, "#cards img") if "0002%40yaw-1.png" in one.get_attribute("src")]
    assert len(edits) == 4 and not all_of(driver, ".nothing")
    one_of(driver, "#strength").send_keys("\ue014")  # the right arrow
    assert one_of(driver, "#strength-text").text == "+3"
    assert any("0002%40yaw%2B3.png" in one.get_attribute("src") for one in all_of(driver, "#cards img"))
    before = one_of(driver, "#edge").location["x"]
    one_of(driver, "#split").send_keys("\ue014" * 5)
    assert one_of(driver, "#edge").location["x"] > before and "45%" in one_of(driver, "#before").get_attribute("style")
    one_of(driver, "#next").send_keys("\n")
    assert (
        one_of(driver, "#name").text.endswith("0003") and "image=3" in address_of(driver) and "strength=1" in driver.current_url
    )
    one_of(driver, "#zoom").send_keys("\ue014" * 3)
    stage = one_of(driver, "#slider .stage").size["width"]
    assert stage == pytest.approx(4 * one_of(driver, "#slider").size["width"], abs=80)  # less the scroll bar


@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_the_edge_follows_mouse_and_finger(driver: Any, pages: Path, kind: str) -> None:
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    opened(driver, pages, "image.html", until="#cards li")
    box = one_of(driver, "#slider").rect
    action = ActionBuilder(driver, mouse=PointerInput(kind, kind))
    at, row = int(box["x"]), int(box["y"] - driver.execute_script("return scrollY") + 40)
    action.pointer_action.move_to_location(at + int(box["width"] / 2), row).pointer_down()
    action.pointer_action.move_to_location(at + int(box["width"] * 0.8), row).pointer_up()
    action.perform()
    assert int(one_of(driver, "#split").get_attribute("value")) == pytest.approx(80, abs=2)


def test_the_gallery_sorts_and_sets_a_second_dataset_beside(driver: Any, pages: Path) -> None:
    opened(driver, pages, "gallery.html#board=procfaces-test-ood&order=lead&method=0&other=2", until=".tiles li")
    gaps = [float(one.text.split()[0]) for one in all_of(driver, ".tiles .note")]
    assert len(gaps) == 4 and gaps == sorted(gaps, reverse=True)
    choose(driver, "#beside", "procfaces-test")
    wait(driver, "#lists > :nth-child(2) h2")
    assert [one.text for one in all_of(driver, "#lists h2")] == ["procfaces-test-ood", "procfaces-test"]
    assert len(all_of(driver, ".tiles li")) == 7  # one inversion failed
    images = all_of(driver, ".tiles img")
    assert all(one.get_attribute("loading") == "lazy" and one.get_attribute("alt") is not None for one in images)
    all_of(driver, ".tiles a")[0].click()
    assert "image.html#board=procfaces-test-ood" in address_of(driver)


def test_two_methods_are_compared_in_words(driver: Any, pages: Path) -> None:
    opened(driver, pages, "compare.html#board=procfaces-test-ood&first=0&second=2", until="#differences .better")
    words = one_of(driver, "#verdict").text
    assert words.startswith("4 images cannot tell DHR from PSP: DHR leads by") and "images would decide" in words
    assert len(all_of(driver, "#differences .better")) == 4 and one_of(driver, "#second-best").text == "On no image."


@pytest.mark.parametrize("size", [DESK, TABLET, PHONE], ids=["1400", "1000", "390"])
def test_no_page_is_wider_than_the_window_and_none_asks_for_anything_outside(
    driver: Any, pages: Path, size: tuple[int, int]
) -> None:
    resize(driver, size)
    try:
        for address in PAGES:
            opened(driver, pages, address)
            assert too_wide(driver) <= 0, address
            asked = driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
            assert all(name.startswith(("file:", "data:")) for name in asked), asked
            assert "seed 0" in one_of(driver, "footer").text
            if address == "index.html" and size != PHONE:  # the main columns are seen without scrolling
                boards = all_of(driver, ".answer .scroll")
                assert all(
                    driver.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", one) for one in boards
                )
    finally:
        resize(driver, DESK)


def test_the_main_columns_fit_a_tablet_also_where_methods_have_ranks_and_one_is_not_compared(
    driver: Any, tmp_path: Path
) -> None:
    store = make_run(tmp_path, count=12, methods=("psp", "sg2_wplus", "pti", "dhr"), datasets=("d",), strengths=(-1.0, 3.0))
    part = store.parts("sg2_wplus.paper.d")[0]
    first = [row for row in part.rows if row["index"] < 4]
    store.write_part("sg2_wplus.paper.d", Part(part.name, first, part.metrics))
    pages = site.write([store]).parent
    resize(driver, TABLET)
    try:
        opened(driver, pages, "index.html")
        assert all_of(driver, ".rank") and "4 images, not compared" in one_of(driver, "tbody").text
        board = one_of(driver, ".answer .scroll")
        assert driver.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", board)
    finally:
        resize(driver, DESK)


def test_headers_stay_in_sight(driver: Any, pages: Path) -> None:
    opened(driver, pages, "index.html")
    scroll = one_of(driver, ".answer .scroll")
    driver.execute_script("arguments[0].style.maxHeight = '120px'; arguments[0].scrollTop = 60", scroll)
    head = one_of(driver, ".answer thead th").rect["y"]
    assert head == pytest.approx(scroll.rect["y"], abs=3)


@pytest.mark.skipif(not Path(AXE).is_file(), reason="needs axe-core: INVBENCH_AXE, the path of its axe.min.js")
@pytest.mark.parametrize("address", PAGES, ids=[one.partition(".")[0] for one in PAGES])
def test_nothing_serious_bars_a_reader(driver: Any, pages: Path, address: str) -> None:
    assert barriers(driver, pages, address) == []


@pytest.mark.skipif(not Path(AXE).is_file(), reason="needs axe-core: INVBENCH_AXE, the path of its axe.min.js")
def test_nothing_serious_bars_a_reader_of_papers_history_and_studies(driver: Any, tmp_path: Path) -> None:
    runs = []
    for number in (1, 2):
        runs.append(make_run(tmp_path / f"run{number}", count=4, methods=("psp", "dhr"), strengths=(3.0,), seed=number))
        moment = {"finished": f"2026-01-0{number}T10:00:00+00:00", "git": {"commit": f"c0ffee{number}"}}
        runs[-1].write_json("manifest.json", runs[-1].manifest | moment)
    both = site.write(runs, tmp_path / "both").parent
    make_study(tmp_path, checks=1)
    addresses = ["history.html", "published.html"]
    addresses += sorted(f"published/{path.name}" for path in (both / "published").iterdir())[:2]
    rater = next((tmp_path / "study").glob("*.html"))
    found = {address: barriers(driver, both, address) for address in addresses}
    found[rater.name] = barriers(driver, rater.parent, rater.name)
    assert len(found) == 5 and not any(found.values()), found


def barriers(driver: Any, pages: Path, address: str) -> list[tuple[str, str]]:
    """What axe-core finds on a page that is serious or critical: the rule, and the first node."""
    opened(driver, pages, address)
    driver.execute_script(Path(AXE).read_text(encoding="utf-8"))
    done = "const done = arguments[0]; axe.run({ preload: false }).then((found) => done(found.violations))"
    found = driver.execute_async_script(done)
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


def test_markup_and_quotes_from_outside_are_seen_as_text(driver: Any, tmp_path: Path) -> None:
    names = {"datasets": (f"d{QUOTES}",), "prefix": MARKUP}
    store = make_run(tmp_path, count=2, methods=("dhr", "pti"), failing=("dhr", 1), strengths=(1.0,), **names)
    manifest = store.manifest
    manifest["methods"]["dhr.paper"] |= {"title": f"DHR{MARKUP}", "paper": QUOTES, "options": {MARKUP: QUOTES}}
    manifest["suite"] = {"id": "procfaces", "title": MARKUP}
    store.write_json("manifest.json", manifest)
    cell = f"dhr.paper.d{QUOTES}"
    part = store.parts(cell)[0]
    rows = [row | {"reason": f"it broke: {QUOTES}"} if row["status"] == "failed" else row for row in part.rows]
    store.write_part(cell, Part(part.name, rows, part.metrics))
    assert store.picture(cell, f"{MARKUP}0000", Edit("age", 1.0)).is_file()
    pages = site.write([store]).parent
    seen = {}
    for address in (
        "index.html",
        "gallery.html",
        "image.html#image=1",
        "compare.html",
        "edits.html",
        "tradeoffs.html",
        "about.html",
    ):
        opened(driver, pages, address, until={"gallery": ".tiles li", "image": "#cards li"}.get(address.partition(".")[0], ""))
        seen[address.partition(".")[0]] = one_of(driver, "body").text
        assert "broken" not in driver.title and not all_of(driver, "[onerror]") and not all_of(driver, "main script")
    assert f"DHR{MARKUP}" in seen["index"] and MARKUP in seen["gallery"] and f"DHR{MARKUP}" in seen["compare"]
    assert f"failed: it broke: {QUOTES}" in seen["image"] and f"it broke: {QUOTES}" in seen["about"]
