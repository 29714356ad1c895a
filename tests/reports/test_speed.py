"""The terminal and the site of large runs are made in seconds, in little memory, of pages that open at once."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from invbench.reports import site, tables

from .big import MANY, make_big_run

pytestmark = [pytest.mark.slow, pytest.mark.perf]


def test_a_large_run_is_shown_in_seconds(tmp_path: Path) -> None:
    store = make_big_run(tmp_path)
    seconds = {}
    for name, work in {"show": tables.terminal, "report": lambda store: site.write([store])}.items():
        began = time.process_time()  # of CPU: a busy machine must not fail the test
        work(store)
        seconds[name] = time.process_time() - began
    print({name: f"{one:.1f} s" for name, one in seconds.items()})
    assert seconds["show"] < 5 and seconds["report"] < 10
    assert "means over the 198 images that all 7 methods cover" in (tmp_path / "report" / "index.html").read_text()


def test_a_site_of_a_million_rows_takes_seconds_and_its_pages_are_light(tmp_path: Path) -> None:
    store = make_big_run(tmp_path / "run", images=2824, methods=MANY, datasets=("celebahq-test",))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "invbench", "site", str(store.path), "--out", str(tmp_path / "site")]
    subprocess.run(command, check=True, timeout=900)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = after.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # of the largest child so far
    weights = {path.name: path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.suffix in (".html", ".js")}
    print(f"{seconds:.1f} s of processor time, {memory / 2**30:.2f} GiB, index.html {weights['index.html'] / 1000:.0f} kB")
    assert seconds < 20 and memory < 1.5 * 2**30
    assert weights["index.html"] < 400_000 and max(weights.values()) < 2_000_000
