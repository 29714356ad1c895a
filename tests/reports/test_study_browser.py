"""A rater's page in Chromium: keys, going back, coming again, the saved file, and texts that are only texts."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest

from invbench.reports.study import answers
from invbench.reports.study.files import Key
from tests.browser import DESK, PHONE, TABLET, browser, needs_browser, too_wide

from .studies import make_study

pytestmark = needs_browser
MARKUP = "<img src=x onerror=alert(1)> & </script> which?"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    folder = tmp_path_factory.mktemp("study")
    return folder / "study", make_study(folder, inversion_text=MARKUP, checks=2)


def press(driver, key: str, times: int = 1) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for _ in range(times):
        before = driver.execute_script("return document.getElementById('count').textContent")
        time.sleep(0.25)  # a choice counts only when a pair has been seen
        ActionChains(driver).send_keys(key).perform()
        for _ in range(100):
            now = "return document.getElementById('count').textContent + document.getElementById('end').hidden"
            if driver.execute_script(now) != f"{before}true":
                break
            time.sleep(0.02)


def test_a_study_by_keyboard_alone_gives_a_file_that_counts(study: tuple[Path, Key], tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    folder, key = study
    page = key.pages[0]
    with browser(downloads=tmp_path) as driver:
        driver.get((folder / "page-01.html").as_uri())
        driver.find_element("id", "start").send_keys(Keys.ENTER)
        assert driver.find_element("id", "question").text == MARKUP
        press(driver, Keys.ARROW_LEFT, 3)
        press(driver, Keys.ARROW_UP)
        assert driver.find_element("id", "count").text == f"Pair 3 of {len(page.trials)}"
        driver.refresh()
        assert driver.find_element("id", "start").text == "Go on"
        driver.find_element("id", "start").send_keys(Keys.ENTER)
        assert driver.find_element("id", "count").text == f"Pair 3 of {len(page.trials)}"
        expected = {trial.id: trial.expected or "right" for trial in page.trials}
        arrows = {"left": Keys.ARROW_LEFT, "right": Keys.ARROW_RIGHT}
        driver.find_element("id", "back").click()
        driver.find_element("id", "back").click()
        for trial in page.trials:
            press(driver, arrows[expected[trial.id]])
        assert driver.switch_to.active_element.get_attribute("id") == "thanks"
        driver.find_element("id", "save").send_keys(Keys.ENTER)
        file = tmp_path / f"answers-{key.study}-01.json"
        for _ in range(200):
            if file.exists():
                break
            time.sleep(0.05)
        assert driver.find_element("id", "text").get_attribute("value") == file.read_text(encoding="utf-8")
    counted, refused = answers.read(key, [file])
    assert refused == [] and counted[0].right == 2 and counted[0].seconds > 0.2
    assert {one["trial"]: one["choice"] for one in json.loads(file.read_text())["answers"]} == expected


def test_the_seal_of_the_page_is_sha256(study: tuple[Path, Key]) -> None:
    script = (Path(__file__).parents[2] / "reports/static/study.js").read_text(encoding="utf-8")
    start = script.index("  const right = (value")
    function = script[start : script.index("  function file()")]
    with browser() as driver:
        driver.get("about:blank")
        for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):
            text = ("aé\n" * length)[:length]
            assert (
                driver.execute_script(f"{function}; return sha256(arguments[0]);", text)
                == hashlib.sha256(text.encode()).hexdigest()
            )


@pytest.mark.parametrize("size", [PHONE, TABLET, DESK])
def test_a_pair_fits_the_window(study: tuple[Path, Key], size: tuple[int, int]) -> None:
    with browser(size=size) as driver:
        driver.get((study[0] / "page-02.html").as_uri())
        driver.find_element("id", "start").click()
        assert too_wide(driver) <= 0
        low = driver.execute_script("return document.getElementById('right').getBoundingClientRect().bottom - innerHeight")
        assert low <= 0
