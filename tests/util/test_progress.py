"""Progress: each method has its own rate, steps are counted without its help, colours obey NO_COLOR."""

from __future__ import annotations

import os
import pty
import sys

import pytest
import torch

from invbench.util.clock import StageClock
from invbench.util.progress import Pace, Progress, duration


def test_what_is_left_is_told_by_the_own_rate_of_each_method() -> None:
    pace = Pace({"fast": 10, "slow": 10, "kept": 3}, now=100.0)
    pace.done("kept", 3, now=100.0, computed=False)  # were there already: they say nothing of the rate
    pace.done("fast", 5, now=110.0, computed=True)
    assert (pace.rate("fast"), pace.rate("kept"), pace.eta("slow")) == (2.0, None, "")
    assert pace.eta_of_all() == "at least 10 s left"
    pace.done("slow", 1, now=170.0, computed=True)
    assert pace.eta("fast") == "10 s left" and pace.eta("slow") == "9:00 min left" and pace.eta_of_all() == "9:10 min left"
    assert [duration(seconds) for seconds in (0.4, 59, 61, 7500)] == ["0 s", "59 s", "1:01 min", "2:05 h"]


def test_steps_of_a_stage_are_counted_without_the_methods_help() -> None:
    seen: list[str] = []
    weight = torch.zeros(1, requires_grad=True)
    adam = torch.optim.Adam([weight])
    with StageClock(on_stage=seen.append) as clock:
        for name in ("optimise", "refine"):
            with clock.stage(name):
                for _ in range(2):
                    weight.sum().backward()
                    adam.step()
    adam.step()  # outside of stages nothing is told
    assert seen == [word for name in ("optimise", "refine") for word in (name, f"{name}, step 1", f"{name}, step 2")]


def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as bar:
        bar.begin(4, methods={"a": 2, "b": 2})
        bar.cell("a.paper.d", method="a")
        bar.done(2, seconds=0.5, failed=1)
        bar.stage("refine, step 3")
    assert capsys.readouterr().err.startswith("a.paper.d: 2/4 images, 0.50 s/image, 1 failed rows")


@pytest.mark.parametrize("plain", [True, False])
def test_a_terminal_has_bars_and_colours_unless_told(monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    parent, child = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with open(child, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress() as bar:
            bar.begin(3, methods={"dhr:paper": 3})
            bar.cell("dhr.paper.d", method="dhr:paper")
            bar.done(1, seconds=0.25)
            bar.stage("refine, step 7")
            bar.say("a line with \x1b[31m in it")
        said = b""
        while b"step 7" not in said:
            said += os.read(parent, 2**16)
    os.close(parent)
    assert b"1/3" in said and b"0.25 s/image" in said and rb"\x1b[31m in it" in said
    assert (b"\x1b[38;5;" in said) is not plain
