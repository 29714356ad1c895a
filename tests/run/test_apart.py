"""Calls in a process of their own: what ends it or hangs costs the call, and a verb tells it in one line."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.run.executors.apart import Apart
from tests.fixtures import TOYS
from tests.run.test_plugin_faults import METRIC
from tests.run.test_workers import FATAL, LOADING, SUITE


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
