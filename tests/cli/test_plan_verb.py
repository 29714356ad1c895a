"""``invbench plan``: estimates from a short probe, and what is missing."""

from __future__ import annotations

import time

import pytest
import torch
from click.testing import CliRunner

from invbench.api import Inversion
from invbench.cli import main
from invbench.options import at_least, make
from invbench.run.estimate import probe, step_options
from invbench.specs import MethodSpec, Option

COARSE, FINE, EDIT = 0.01, 0.02, 0.03  # seconds


class Steps:
    """Sleeps for each step of two kinds; takes 1 MB an image."""

    def __init__(self, networks, options):
        self.seconds = COARSE * options.coarse + FINE * options.fine

    def invert(self, images, clock):
        time.sleep(self.seconds)
        return Inversion(torch.zeros(len(images), 1, 1), images)

    def edit(self, inversion, edit, clock):
        time.sleep(EDIT)
        return inversion.images

    def max_batch(self, memory):
        return memory // 10**6


OPTIONS = {"coarse": Option(40, "steps", ""), "fine": Option(100, "steps", ""), "rate": Option(0.1, "per step", "")}
SPEC = MethodSpec("steps", "Steps", "x:Steps", "optimisation", roles=(), options=OPTIONS, presets={"paper": {}})


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time of a clock that only sleeping moves, so that a busy machine changes nothing."""
    seconds = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    monkeypatch.setattr(time, "sleep", lambda more: seconds.append(seconds.pop() + more))
    return seconds


def test_time_and_memory_are_extrapolated_from_few_steps(now):
    from invbench.api import Edit

    options = {name: option.default for name, option in OPTIONS.items()}
    assert step_options(SPEC, options) == {"coarse": 40, "fine": 100}
    counts = step_options(SPEC, options)
    how = {"edit": Edit("age", 1), "size": (8, 16), "batch": 2, "device": torch.device("cpu")}
    found = probe(lambda steps: Steps({}, make(SPEC, steps)), counts, **how)
    assert now[0] < 1.2  # the whole would take 2.4 seconds
    assert found.invert == pytest.approx((40 * COARSE + 100 * FINE) / 2)
    assert found.edit == pytest.approx(EDIT / 2)
    assert found.memory == pytest.approx(2e6, rel=0.02)


def test_probes_take_only_counts_that_an_option_admits(now):
    option, built = Option(40, "steps", "", "[10, inf)"), []

    def build(steps):
        built.append(steps["coarse"])
        return Steps({}, make(SPEC, {"fine": 0, **steps}))

    how = {"edit": None, "size": (8, 16), "batch": 1, "device": torch.device("cpu")}
    found = probe(build, {"coarse": 40}, least=lambda name, count: at_least(option, count), **how)
    assert set(built) == {10, 12}
    assert found.invert == pytest.approx(40 * COARSE)


def test_the_table_counts_without_loading_anything():
    result = CliRunner().invoke(main, ["plan", "--methods", "dhr,pti", "--images", "3", "--edits", "age", "--no-probe"])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines() if line.startswith(("dhr", "pti"))]
    assert [line[:5] for line in lines] == [
        ["dhr:released", "procfaces-test", "3", "6", "190"],
        ["dhr:released", "procfaces-test-ood", "3", "6", "190"],
        ["pti:released", "procfaces-test", "3", "6", "550"],
        ["pti:released", "procfaces-test-ood", "3", "6", "550"],
    ]
    assert "84 pictures in all" in result.output  # 2 methods, 2 x 3 images, an inversion and 6 edits


def test_a_method_without_its_weights_is_named(tmp_path):
    overlay = tmp_path / "other.toml"
    overlay.write_text('[suites.procfaces.networks.encoder_e4e]\nweights = "absent.safetensors"\n')
    arguments = ["plan", "--methods", "e4e", "--images", "1", "--edits", "none", "--config", str(overlay)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "missing: e4e: weights missing" in result.output and "absent.safetensors" in result.output
