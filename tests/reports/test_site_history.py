"""The site of several runs of one suite has a page of their values over time; that of one run has none."""

from __future__ import annotations

from pathlib import Path

from invbench.reports import site

from .fake import make_run


def test_two_runs_of_a_suite_have_a_history_and_one_has_none(tmp_path: Path) -> None:
    runs = []
    for number in (1, 2):
        store = make_run(tmp_path / f"run{number}", count=4, methods=("psp", "dhr"), strengths=(3.0,), seed=number)
        manifest = store.manifest | {"finished": f"2026-01-0{number}T10:00:00+00:00", "git": {"commit": "<b>c0ffee</b>"}}
        store.write_json("manifest.json", manifest)
        runs.append(store)
    both = site.write(runs, tmp_path / "both").parent
    text = (both / "history.html").read_text(encoding="utf-8")
    assert "procfaces: 2 runs" in text and "&lt;b&gt;c0ffee" in text and "<b>c0ffee" not in text
    assert 'href="history.html" aria-current="page"' in text
    assert 'href="history.html"' in (both / "index.html").read_text(encoding="utf-8")
    alone = site.write(runs[:1], tmp_path / "alone").parent
    assert not (alone / "history.html").exists() and "history.html" not in (alone / "index.html").read_text(encoding="utf-8")
