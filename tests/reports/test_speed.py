"""A page of the size of the whole embedded suite is made in seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from invbench.reports import site, tables

from .big import make_big_run


@pytest.mark.slow
@pytest.mark.perf
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
