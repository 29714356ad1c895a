"""docs/plugins.md does what it says: its files are written, its commands run, in the order of the page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench.cli import main
from tests.checkout import PROJECT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = (PROJECT / "docs" / "plugins.md").read_text(encoding="utf-8")
LESS = {"--images 4": "--images 1 --edits none --metrics mse"}  # the page's commands, on fewer pictures


def blocks(*kinds: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(PAGE) if kind in kinds]


def commands(program: str) -> list[str]:
    lines = "".join(blocks("")).splitlines()
    return [line for line in lines if line.startswith(f"{program} ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files of the page: each block names its file in the first line."""
    for text in blocks("python", "toml"):
        name = re.match(r"# (\S+)\n", text)
        assert name, f"expected the name of a file in the first line, found {text[:40]!r}"
        (tmp_path / name[1]).write_text(text, encoding="utf-8")
    (tmp_path / "docs").symlink_to(PROJECT / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_what_is_tried_here() -> None:
    assert len(blocks("python")) >= 1 and len(commands("invbench")) >= 4 and len(commands("pytest")) == 2
    assert len(BLOCK.findall(PAGE)) == len(blocks("python", "toml", ""))


@pytest.mark.parametrize("line", commands("invbench"))
def test_a_command_of_the_page_runs(folder: Path, line: str) -> None:
    for long, short in LESS.items():
        line = line.replace(long, short)
    done = CliRunner().invoke(main, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    if " run " in line:
        (out,) = folder.glob("**/plan.json")
        assert out.is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", commands("pytest"))
def test_the_contract_tests_take_the_files_of_the_page(folder: Path, line: str) -> None:
    words = shlex.split(line)[1:]
    own = ["-k", "nearest or worst or mine", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *words[:-1], str(folder / words[-1]), *own]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
