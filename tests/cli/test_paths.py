"""Paths that a user names: every verb refuses what is none, and writes into files, devices and links as they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.cli.common import PathType
from invbench.reports import site
from invbench.run import runner
from invbench.util import files
from tests.checkout import PROJECT
from tests.fixtures import TOYS
from tests.run.test_workers import SUITE


def _parameters(command: click.Command, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    if isinstance(command, click.Group):
        for name, verb in command.commands.items():
            yield from _parameters(verb, (*place, name))
    else:
        yield from ((place, one) for one in command.params if isinstance(one.type, click.Path))


PATHS = list(_parameters(main))
IDS = [" ".join([*verb, one.opts[-1]]) for verb, one in PATHS]


@pytest.mark.parametrize(("verb", "parameter"), PATHS, ids=IDS)
def test_an_empty_path_a_zero_byte_and_a_loop_of_links_are_refused(verb, parameter: click.Parameter, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert isinstance(parameter.type, PathType)
    for given in ("", "a\0b", str(loop), str(loop / "below")):
        with pytest.raises(click.BadParameter, match="expected a path"):
            parameter.type.convert(given, parameter, None)


def test_no_verb_replaces_what_its_output_names() -> None:  # F20
    """Files that a user names are written by ``write_output``; only folders of our own are written by the other function."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in (PROJECT / "bench" / "cli").glob("*.py")}
    assert len(sources) > 10 and not [name for name, text in sources.items() if "write_atomic" in text]
    assert sum("write_output" in text for text in sources.values()) >= 4


@pytest.fixture
def toy(make_settings) -> Path:
    settings = make_settings(images=2, edits=["none"], metrics=["toy_mse"])
    assert runner.run(settings, progress=False) == 0
    return settings.out


def _words(run: Path) -> list[list[str]]:
    return [
        ["show", str(run), "--out"],
        ["show", str(run), "--format", "csv", "--out"],
        ["gate", str(run), "--baseline", str(run), "--summary"],
        ["baseline", str(run), "--out"],
    ]


def test_a_fifo_and_a_link_stay_what_they_are(toy: Path, tmp_path: Path) -> None:  # F20
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    link.symlink_to(target)
    for words in _words(toy):
        for out in (pipe, link):
            done = CliRunner().invoke(main, [*words, str(out)])
            assert done.exit_code in (0, 1), done.output
        assert stat.S_ISFIFO(pipe.lstat().st_mode) and os.read(reader, 2**16)
        assert link.is_symlink() and target.read_bytes()
        target.unlink()
    os.close(reader)


def test_a_refused_output_is_one_line_and_3(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # F25
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "_write_synced", full)
    (tmp_path / "toys.toml").write_text(SUITE)
    merge = ["merge", str(toy), "--plugin", str(TOYS), "--config", str(tmp_path / "toys.toml"), "--out"]
    for number, words in enumerate((*_words(toy), ["site", str(toy), "--out"], merge)):
        done = CliRunner().invoke(main, [*words, str(tmp_path / f"{number}")])
        assert done.exit_code == 3 and "No space left on device" in done.output and "Traceback" not in done.output, words


def test_a_site_leaves_the_pages_of_others_alone(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    page = tmp_path / "www" / "index.html"
    page.write_text("mine")
    with pytest.raises(InvbenchError, match=r"www: expected no pages or those of invbench, found another index\.html"):
        site.write([toy], tmp_path / "www")
    assert page.read_text() == "mine" and len(list(page.parent.iterdir())) == 1
    page.unlink()
    for _ in range(2):  # its own pages are replaced
        assert site.write([toy], tmp_path / "www") == page


def test_a_site_is_not_written_among_the_files_of_a_run(toy: Path) -> None:
    before = sorted(toy.rglob("*"))
    done = CliRunner().invoke(main, ["site", str(toy), "--out", str(toy)])
    assert done.exit_code == 2 and f"found the run folder {toy}" in done.output and sorted(toy.rglob("*")) == before
