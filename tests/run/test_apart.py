"""Calls in a process of their own: what ends it or hangs costs the call, and a verb tells it in one line."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.run.executors.apart import Apart, blamed
from invbench.store import Store
from invbench.util.images import encode_png
from tests.fixtures import TOYS
from tests.run.test_plugin_faults import METRIC
from tests.run.test_workers import FATAL, LOADING, SUITE
from tests.toys import Toys


@contextmanager
def number() -> Iterator[int]:
    yield 40


def add(held: int, more: int) -> tuple[int, int]:
    return held + more, os.getpid()


def fail(held: int) -> None:
    raise ValueError(f"not {held}")


def leave(held: int) -> None:
    raise SystemExit(0)


def end(held: int) -> None:
    os._exit(0)


def crash(held: int) -> None:
    ctypes.string_at(0)


def hang(held: int) -> None:
    time.sleep(600)


@pytest.mark.slow
def test_a_call_costs_itself_whatever_it_does() -> None:
    with Apart(number, limit=LOADING, here=False) as apart:
        found, first = apart.call(add, 2)
        assert found == 42 and first != os.getpid() and apart.call(add, 1) == (41, first)
        for call, error, reason in (
            (fail, ValueError, "not 40"),
            (leave, InvbenchError, "SystemExit: 0"),
            (end, InvbenchError, "it ended its process with exit code 0"),
            (crash, InvbenchError, "it ended its process with SIGSEGV"),
            (hang, InvbenchError, f"it took more than {LOADING:g} s"),
        ):
            with pytest.raises(error, match=f"^{reason}$"):
                apart.call(call)
        assert apart.call(add, 2)[0] == 42


def test_a_call_here_is_a_plain_call() -> None:
    with Apart(number, limit=1.0, here=True) as apart:
        assert apart.call(add, 2) == (42, os.getpid())
        with pytest.raises(SystemExit):
            apart.call(leave)


def _words(folder: Path, verb: str, text: str, *more: str) -> list[str]:
    (folder / "mine.py").write_text(text, encoding="utf-8")
    (folder / "toys.toml").write_text(SUITE, encoding="utf-8")
    words = [verb, "--plugin", str(TOYS), "--plugin", str(folder / "mine.py"), "--suite", "toys"]
    return [*words, "--config", str(folder / "toys.toml"), "--images", "2", "--batch", "2", "--edits", "none", *more]


@pytest.mark.slow
@pytest.mark.parametrize(("deed", "told"), [("segfault", "it ended its process with SIGSEGV"), ("exit", "SystemExit: 0")])
def test_a_plan_names_a_method_that_ends_its_process(tmp_path: Path, monkeypatch, deed: str, told: str) -> None:
    monkeypatch.delenv("INVBENCH_IN_PROCESS", raising=False)
    asked = "--methods", "fatal,toy", "--set", "fatal.when=build", "--set", f"fatal.deed={deed}"
    words = _words(tmp_path, "plan", FATAL, *asked)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1 and f"missing: fatal: {told}\n" in done.output
    assert [line.split()[6] != "-" for line in done.output.splitlines() if line.startswith("toy:")] == [True]


RUN = ("--methods", "toy", "--metrics", "a_spoiler", "--quiet")


def test_a_plug_in_that_leaves_the_program_is_an_error_and_no_success(tmp_path: Path) -> None:
    text = METRIC.replace("pass", "raise SystemExit(0)", 1)
    done = CliRunner().invoke(main, [*_words(tmp_path, "run", text, *RUN), "--out", str(tmp_path / "run")])
    assert done.exit_code in (2, 70) and "SystemExit" in done.output and "mine.py" in done.output, done.output


@pytest.mark.slow
def test_a_metric_that_ends_the_process_as_it_is_opened_is_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("INVBENCH_IN_PROCESS", raising=False)
    text = METRIC.replace("pass", "__import__('os')._exit(0)", 1)
    done = CliRunner().invoke(main, [*_words(tmp_path, "run", text, *RUN), "--out", str(tmp_path / "run")])
    assert done.exit_code == 2 and "workers: 3 in a row ended with exit code 0 while they opened" in done.output


def write(held: int, *lines: str) -> int:
    for line in lines:
        click.echo(line)
    print("\x1b[1m", end="")
    return len(lines)


ENDED = "it ended its process with exit code 0"
DATASET = '''
import os
from tests.toys import Toys

SPECS = [{"id": "toys2", "title": "Toys", "class": "Leaver", "domain": "toys", "size": 12, "options": {"count": 12}}]


class Leaver(Toys):
    def __init__(self, count):
        os._exit(0)
'''
METRIC_ENDS = METRIC.replace("WRITE", "__import__('os')._exit(0)")


@pytest.mark.slow
def test_what_a_call_writes_is_written_here(capsys) -> None:
    with Apart(number, limit=LOADING, here=False) as apart:
        assert apart.call(write, "one", "two") == 2
    assert capsys.readouterr().out == "one\ntwo\n\x1b[1m"  # the streams of a program show control characters instead


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(0), InvbenchError("bad")])
def test_an_error_of_a_plug_in_names_it(error: BaseException) -> None:
    with pytest.raises(InvbenchError, match="^method mine: .*(bad|SystemExit: 0)$"), blamed("method mine"):
        raise error
    with pytest.raises(InvbenchError, match="^method mine:paper: no$"), blamed("method mine"):
        raise InvbenchError("method mine:paper: no")
    with pytest.raises(KeyboardInterrupt), blamed("method mine"):
        raise KeyboardInterrupt


def _scored(folder: Path) -> Path:
    (folder / "pictures").mkdir()
    for index in range(2):
        (folder / "pictures" / f"toy-{index:02d}.png").write_bytes(encode_png(Toys(count=2).read(index).picture))
    return folder / "pictures"


VERBS = {
    "interpolate": (FATAL, "fatal:paper", lambda at: ["toys/toy-00", "toys/toy-01", "--methods", "fatal", *DEED]),
    "weight-changes": (FATAL, "fatal:paper", lambda at: ["--methods", "fatal", "--images", "2", "--quiet", *DEED]),
    "score": (METRIC_ENDS, "metric a_spoiler", lambda at: [_scored(at), "--against", "toys:2", "--metrics", "a_spoiler"]),
    "export": (DATASET, "dataset toys2", lambda at: ["toys2", "--out", at / "out"]),
    "doctor": (DATASET, "toys2", lambda at: []),
    "plan": (DATASET, "missing: toys2", lambda at: ["--methods", "toy", "--datasets", "toys2", "--no-probe"]),
}
DEED = ("--set", "fatal.when=build", "--set", "fatal.deed=_exit")


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_plug_in_that_ends_the_process_of_a_verb_is_one_line_and_no_success(tmp_path: Path, verb: str) -> None:
    text, named, words = VERBS[verb]
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    suite = SUITE.replace('datasets = ["toys"]', 'datasets = ["toys", "toys2"]') if text is DATASET else SUITE
    (tmp_path / "toys.toml").write_text(suite, encoding="utf-8")
    command = [sys.executable, "-m", "invbench", verb, *words(tmp_path), "--suite", "toys"]
    command += ["--plugin", TOYS, "--plugin", tmp_path / "mine.py", "--config", tmp_path / "toys.toml"]
    if verb == "interpolate":
        command += ["--out", tmp_path / "strip.png"]
    environment = {name: value for name, value in os.environ.items() if name != "INVBENCH_IN_PROCESS"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == (1 if verb in ("plan", "doctor") else 2), done
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if ENDED in line]
    assert named in line and not (tmp_path / "strip.png").exists()


READER = DATASET.replace("os._exit(0)", "super().__init__(count=count)") + """
    def read(self, index):
        return os._exit(0) if index == 1 else super().read(index)
"""


@pytest.mark.slow
def test_a_dataset_that_ends_its_reader_costs_the_picture(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(READER, encoding="utf-8")
    suite = SUITE.replace('datasets = ["toys"]', 'datasets = ["toys", "toys2"]')
    (tmp_path / "toys.toml").write_text(suite, encoding="utf-8")
    command = [sys.executable, "-m", "invbench", "run", "--suite", "toys", "--datasets", "toys2", "--methods", "toy"]
    command += ["--plugin", str(TOYS), "--plugin", str(tmp_path / "mine.py"), "--config", str(tmp_path / "toys.toml")]
    command += ["--images", "3", "--edits", "none", "--quiet", "--workers", "1", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done
    rows = Store(tmp_path / "run").rows()
    assert list(rows.status) == ["ok", "failed", "ok"] and "ended with exit code 0" in rows.reason[1]
