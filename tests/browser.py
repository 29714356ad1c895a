"""Chromium, driven by selenium: for tests of what scripts do. Skipped, with the reason, where either is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver on the PATH")
PHONE, TABLET, DESK = (390, 800), (1000, 900), (1400, 900)


@contextmanager
def browser(*, size: tuple[int, int] = DESK, downloads: Path | None = None) -> Iterator[Any]:
    """A browser of its own, without a window; at its end no page may have told an error, of a script or of its policy."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        resize(driver, size)
        if downloads is not None:
            place = {"behavior": "allow", "downloadPath": str(downloads)}
            driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
        yield driver
        told = [entry["message"] for entry in driver.get_log("browser")]
        assert told == []
    finally:
        driver.quit()


def too_wide(driver: Any) -> int:
    """By how many pixels the page is wider than the window."""
    return driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def resize(driver: Any, size: tuple[int, int]) -> None:
    """Give the window another size; that of a phone makes it one."""
    screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
