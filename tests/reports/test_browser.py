"""The pages in Chromium: what the scripts make of them, driven by addresses, without a request to a network or an error."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from invbench.reports import site

from .fake import make_run

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium on the PATH")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return site.write([make_run(folder, count=4, methods=("psp", "pti", "dhr"), strengths=(-1.0, 3.0))]).parent


def opened(pages: Path, address: str) -> str:
    """The page's document after its scripts have run. Fails if the console has an error, of a script or of the policy."""
    words = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={pages.parent / 'browser'}"]
    words += ["--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom", f"file://{pages}/{address}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def rows(text: str, board: str) -> list[tuple[str, bool]]:
    """(method, whether it is shown) of a leaderboard, from top to bottom."""
    section = text.partition(f'data-board="{board}"')[2].partition("</section>")[0]
    return [(found[1], " hidden" not in found[0]) for found in re.finditer(r'<tr data-method="(\w+)"[^>]*>', section)]


def test_the_address_holds_order_search_and_columns(pages: Path) -> None:
    assert [name for name, _ in rows(opened(pages, "index.html"), "procfaces-test")] == ["dhr", "pti", "psp"]
    turned = opened(pages, "index.html#sort.procfaces-test=%2B2&q.procfaces-test=p&columns.procfaces-test=mse%40native")
    assert rows(turned, "procfaces-test") == [("psp", True), ("pti", True), ("dhr", False)]
    assert [name for name, _ in rows(turned, "procfaces-test-ood")] == ["dhr", "pti", "psp"]
    heads = dict(re.findall(r'data-metric="([^"]+)"[^>]*?( hidden="")?>', turned.partition("</thead>")[0]))
    assert heads["psnr@native"] and not heads["mse@native"]


def test_an_image_has_every_method_its_difference_mask_and_edit(pages: Path) -> None:
    text = opened(pages, "image.html#board=procfaces-test-ood&image=2&left=m1&edit=yaw&strength=0")
    assert "procfaces-test-ood / 0002" in text and text.count('class="heat"') == 3
    assert re.search(r'id="before"[^>]*src="[^"]*images/pti.paper.procfaces-test-ood/0002.png"', text)
    assert "images/dhr.paper.procfaces-test-ood/0002%40yaw-1.png" in text and "true mask" in text and "nothing" not in text


def test_the_gallery_sorts_and_two_methods_are_compared(pages: Path) -> None:
    text = opened(pages, "gallery.html#board=procfaces-test-ood&order=lead&method=0&other=2")
    gaps = [float(gap) for gap in re.findall(r'class="note">\+([\d.]+) dB', text)]
    assert len(gaps) == 4 and gaps == sorted(gaps, reverse=True)
    text = opened(pages, "compare.html#board=procfaces-test-ood&first=0&second=2")
    assert "4 images cannot tell DHR from PSP: DHR leads by" in text and "images would decide" in text
    assert text.count('class="better"') == 4 and "On no image." in text
