"""Ctrl-C is Ctrl-C, whatever a library makes of the exception."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from invbench.util import errors

SCRIPT = """
import os, signal
from invbench.util import errors, interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
interrupts.note()
assert not interrupts.noted() and errors.told(ValueError("a"))[0] == 70
interrupts.heed()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass
assert interrupts.noted() and errors.told(ValueError("of a library that swallowed it"))[0] == 130
try:
    interrupts.heed()
except KeyboardInterrupt:
    print("heeded")
"""


def heeding() -> None:
    """In a new process: a session of its own that Ctrl-C reaches, whatever the tests run in."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_that_a_library_swallowed_is_one() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heeded\n"), done.stderr


def test_without_one_an_error_is_an_error() -> None:
    assert errors.told(ValueError("a"))[0] == errors.UNFORESEEN


@pytest.mark.skipif(sys.platform == "win32", reason="no such process groups")
@pytest.mark.parametrize("after", [1.3, *(pytest.param(after, marks=pytest.mark.slow) for after in (0.7, 2.5, 5.0))])
def test_ctrl_c_of_a_terminal_ends_all_processes_with_one_line(after: float, tmp_path) -> None:
    words = [sys.executable, "-m", "invbench", "run", "--methods", "pti", "--images", "2", "--workers", "2", "--quiet"]
    run = subprocess.Popen([*words, "--out", str(tmp_path / "run")], preexec_fn=heeding, stderr=subprocess.PIPE, text=True)
    try:
        run.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGINT)
    said = run.communicate()[1]
    assert run.returncode in (130, -signal.SIGINT)
    assert said.splitlines() == [errors.HALTED]
    with pytest.raises(ProcessLookupError):  # the last process of the group ends when it has loaded what it was loading
        for _ in range(600):
            os.killpg(run.pid, 0)
            time.sleep(0.1)
