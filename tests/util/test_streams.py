"""Streams as programs that start us leave them (F41 to F44); what strange names and folders may try (F20, F62, F67, F72)."""

from __future__ import annotations

import errno
import os
import pty
import re
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.reports.formats import field
from invbench.util import errors, files, images, progress, streams
from tests.util.test_interrupts import heeding

HERE = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "invbench"]


def verbs(group: click.Group = main, *before: str) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, one in group.commands.items():
        found += verbs(one, *before, name) if isinstance(one, click.Group) else [((*before, name), one)]
    return found


VERBS = verbs()
IDS = [" ".join(path) for path, _ in VERBS]
ERRORS = [
    (InvbenchError("a.toml: key: expected 1, found 2"), 2, "a.toml: key"),
    (files.WriteFailed("a: could not be written"), 3, "a: could not"),
    (OSError(errno.EROFS, "Read-only file system", "x"), 3, "x: Read-only"),
    (BrokenPipeError(errno.EPIPE, "gone"), 141, ""),
    (KeyboardInterrupt(), 130, "interrupted"),
    (click.Abort(), 130, "interrupted"),
    (RuntimeError("two\nlines"), 70, "RuntimeError: two lines"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "no"), 70, "ConnectionRefusedError"),
    (MemoryError(), 70, "MemoryError: no message"),
]


@pytest.mark.parametrize(("path", "command"), VERBS, ids=IDS)
def test_every_verb_ends_every_error_with_one_line_and_its_code(path, command, monkeypatch) -> None:
    monkeypatch.setattr(streams, "drop", lambda number: None)
    monkeypatch.setattr("invbench.cli.drop", lambda number: None)
    for error, code, line in ERRORS:
        def fail(ctx, error=error):  # noqa: ANN001
            raise error

        monkeypatch.setattr(command, "invoke", fail)
        monkeypatch.setattr(command, "parse_args", lambda ctx, args: args)
        result = CliRunner().invoke(main, [*path])
        assert result.exit_code == code, error
        assert line in result.stderr and len(result.stderr.splitlines()) == bool(line)
        assert "Traceback" in CliRunner().invoke(main, ["--debug", *path]).stderr


@pytest.mark.parametrize(("path", "command"), VERBS, ids=IDS)
def test_every_verb_takes_debug(path, command) -> None:
    assert "--debug" in CliRunner().invoke(main, [*path, "--help"]).output


def test_an_interrupt_that_a_library_turned_into_another_error_is_one() -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemError("initialisation failed")  # noqa: B904
    except SystemError as error:
        assert errors.told(error)[0] == errors.INTERRUPTED


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(closed: str) -> None:  # F41
    assert subprocess.run(["sh", "-c", f"{' '.join(PROGRAM)} list methods {closed}"]).returncode == 0


def test_a_full_output_is_3_and_a_closed_pipe_quiet() -> None:
    if Path("/dev/full").exists():
        full = subprocess.run(["sh", "-c", f"{' '.join(PROGRAM)} list methods > /dev/full"], capture_output=True, text=True)
        assert full.returncode == 3 and len(full.stderr.splitlines()) == 1
    reader, writer = os.pipe()
    os.close(reader)
    gone = subprocess.run([*PROGRAM, "list", "methods", "--long"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert gone.returncode == 141 and gone.stderr == ""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
def test_what_an_encoding_lacks_is_replaced(encoding: str) -> None:  # F42
    script = "from invbench.util import streams; streams.prepare(); print('\\u2191 \\x1b[2J \\udcd5 end')"
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True)
    assert done.returncode == 0 and b"\x1b" not in done.stdout and b"\\x1b[2J" in done.stdout and done.stdout.endswith(b"end\n")


def test_a_terminal_without_width_gets_lines(monkeypatch) -> None:  # F43
    parent, child = pty.openpty()  # of 0 columns until somebody says otherwise
    with open(child, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.Progress() as bar:
            bar.begin(2)
            bar.cell("cell")
            bar.done(1, seconds=1.0)
            bar.say("x" * 200_000)  # F79: cut
        said = b""
        while b"characters)" not in said:
            said += os.read(parent, 2**16)
    os.close(parent)
    assert b"cell: 1/2 images" in said and b"(200000 characters)" in said


@pytest.mark.parametrize("after", [0.2, 0.8])
def test_interrupted_while_it_loads_is_130(after: float, tmp_path: Path) -> None:  # F44
    command = [*PROGRAM, "run", "--methods", "e4e", "--images", "1", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in said or after < 0.5


def test_a_device_a_fifo_and_a_link_that_the_user_names_are_written_to(tmp_path: Path) -> None:  # F20
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_output(pipe, b"text")
    assert os.read(reader, 10) == b"text" and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)
    link.symlink_to(target)
    files.write_output(link, b"text")
    assert link.is_symlink() and target.read_bytes() == b"text"


@pytest.mark.parametrize("link", ["report", "report/static", "inputs/a"])
def test_nothing_is_written_through_links_of_a_run_folder(link: str, tmp_path: Path) -> None:  # F62
    run, victim = tmp_path / "run", tmp_path / "victim"
    (run / link).parent.mkdir(parents=True)
    victim.mkdir()
    (run / "plan.json").write_text("{}")
    (run / link).symlink_to(victim)
    with pytest.raises(files.WriteFailed, match="found a link"):
        files.write_atomic(run / link / "deeper" / "x.json", b"x")
    assert not list(victim.iterdir())
    (tmp_path / "latest").symlink_to(run)  # a link to the folder itself is the user's
    files.write_atomic(tmp_path / "latest" / "other" / "x.json", b"x")


@pytest.mark.parametrize("link", ["inputs", "rows/method=e4e"])
def test_a_folder_without_a_plan_that_holds_links_is_not_taken(link: str, tmp_path: Path) -> None:  # F62
    (tmp_path / "run" / link).parent.mkdir(parents=True)
    (tmp_path / "run" / link).symlink_to(tmp_path)
    with pytest.raises(files.WriteFailed, match="found a link"), files.locked(tmp_path / "run"):
        pass


def test_links_at_temporaries_and_locks_are_not_followed(tmp_path: Path) -> None:  # F62
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    for name in (".plan.json.tmp", "plan.json"):
        (run / name).symlink_to(victim)
    files.write_atomic(run / "plan.json", b"{}")
    assert victim.read_text() == "mine" and not (run / "plan.json").is_symlink()
    (run / ".lock").symlink_to(victim)
    with pytest.raises(files.WriteFailed, match="found a link"), files.locked(run):
        pass
    assert victim.read_text() == "mine"


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".x.json.0123456789abcdef.tmp").write_text("half")
    (tmp_path / ".mine.tmp").write_text("kept")
    with files.locked(tmp_path):
        pass
    assert {one.name for one in tmp_path.iterdir()} >= {".mine.tmp"}
    assert not (tmp_path / ".x.json.0123456789abcdef.tmp").exists()


def test_only_pictures_that_a_run_writes_are_opened(tmp_path: Path) -> None:  # F67, F72
    eps, giant, pipe, palette = (tmp_path / f"{name}.png" for name in ("eps", "giant", "pipe", "palette"))
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(eps, format="EPS")
    header = images.encode_png(np.zeros((4, 4), np.uint8))
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 13_000, 13_000, 8, 0, 0, 0, 0)
    giant.write_bytes(header[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + header[33:])
    os.mkfifo(pipe)
    Image.new("P", (4, 4)).save(palette)
    for path in (eps, giant, pipe, palette, tmp_path / "missing.png"):
        with pytest.raises(InvbenchError, match=re.escape(str(path))):
            images.read_png(path)


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd", "-2+3", "\t=1"])
def test_a_spreadsheet_takes_no_name_for_a_formula(text: str) -> None:
    assert field(text) == f"'{text}"
    assert field(-2.5) == -2.5 and field("plain") == "plain"
