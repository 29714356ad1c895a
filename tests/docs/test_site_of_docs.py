"""The documentation: its example of a suite runs, all pages are in the menu, and mkdocs builds them with no request outside."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench.cli import main
from invbench.plugins import registry
from invbench.store import Store
from tests.checkout import PROJECT

MENU = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
PAGE = (PROJECT / "docs" / "own_suite.md").read_text(encoding="utf-8")


def test_every_page_of_the_menu_is_there_once() -> None:
    named = re.findall(r": (\S+\.md)$", MENU, flags=re.M)
    assert len(named) > 25 and len(set(named)) == len(named)
    assert [name for name in named if not (PROJECT / "docs" / name).is_file()] == []


def test_the_suite_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, lines = re.findall(r"^```\w*\n(.*?)^```$", PAGE, flags=re.S | re.M)
    (tmp_path / "suite.toml").write_text(text, encoding="utf-8")
    (tmp_path / "methods").symlink_to(PROJECT / "methods")
    monkeypatch.chdir(tmp_path)
    listed, run = lines.splitlines()
    done = CliRunner().invoke(main, shlex.split(listed)[1:])
    assert done.exit_code == 0 and "Rendered portraits under two encoders" in done.output
    done = CliRunner().invoke(main, [*shlex.split(run)[1:], "--out", "run", "--quiet"])
    assert done.exit_code == 0, done.output
    rows = Store(tmp_path / "run").rows()
    assert set(rows["status"]) == {"ok"} and set(rows["method"]) == {"e4e", "psp"} and len(rows) == 2 * 2 * 2
    assert rows.loc[rows["edit"].isna(), "psnr@native"].notna().all()


@pytest.mark.slow
def test_mkdocs_builds_every_page_with_its_tables_and_asks_nothing_of_a_network(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs mkdocs-material: pip install -e .[dev]")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "docs")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and "WARNING -" not in done.stderr, done.stderr
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "docs").glob("*.html")}
    assert all(f"<code>{id}</code>" in pages["method_table.html"] for id in registry.methods())
    assert all(f"<code>{id}</code>" in pages["protocols.html"] for id in registry.protocols())
    assert all(verb in pages["cli.html"] for verb in (*main.commands, "--against-first"))
    for name, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|link)[^>]*(?:src|href)=\"([^\"]+)", text)
        assert [one for one in loaded if re.match(r"(https?:)?//", one) and 'rel="canonical"' not in text] == [], name
        assert 'href="../' not in text.partition("<article")[2].partition("</article>")[0], name
