"""Compiled networks of methods: what is compiled, that numbers stay, keys, and what happens where nothing can be compiled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from invbench.cli import main
from invbench.methods.nets.stylegan2 import Generator
from invbench.metrics.nets.perceptual import Perceptual
from invbench.run import compilation, runner
from invbench.run.compilation import DEFAULT, GRAPHS, OFF, Compiler, effective, settled, trouble
from invbench.run.precision import BF16, computing
from invbench.run.switched import APART
from invbench.store import Store

CPU = torch.device("cpu")
CONFIG = {"resolution": 8, "channels": {4: 32, 8: 32}, "z_dim": 8, "w_dim": 8, "n_mapping": 1, "mapping_lr_multiplier": 1.0}


@pytest.fixture(autouse=True)
def _forget():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def backend(monkeypatch: pytest.MonkeyPatch, one: object) -> None:
    """Trace as the compiler does, but leave out its kernels, which take minutes."""
    monkeypatch.setitem(compilation.HOW, DEFAULT, {"backend": one})


def test_networks_are_compiled_whole_and_names_and_numbers_stay(monkeypatch) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    backend(monkeypatch, counter)
    torch.manual_seed(0)
    generator = Generator(CONFIG)
    names, latents = list(generator.state_dict()), generator.repeat(torch.randn(2, 8))

    def gradients() -> list[torch.Tensor]:
        own = generator.per_image_parameters(2)
        output = generator.synthesis(latents, weights=own)
        return [output.detach(), *torch.autograd.grad(output.square().sum(), list(own.values()))]

    plain, compiler = gradients(), Compiler(DEFAULT)
    for precision in ("fp32", BF16):
        with computing(precision, CPU):
            expected = gradients()
            with compiler.compiling([generator]):
                found = gradients()
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert counter.frame_count == 2  # one of the whole synthesis for each precision
    assert list(generator.state_dict()) == names
    assert all(torch.equal(one, other) for one, other in zip(gradients(), plain, strict=True))
    assert counter.frame_count == 2  # metrics and others call the network as it is


def test_what_a_method_calls_in_a_network_is_compiled_too(monkeypatch) -> None:
    counter = CompileCounter()
    backend(monkeypatch, counter)
    network, images = Perceptual(widths=(4, 4), depths=(1, 1)), torch.rand(1, 3, 16, 16)
    expected = network.distance(images, -images)
    with Compiler(DEFAULT).compiling([network]):
        found = network.distance(images, -images)  # not its forward pass, but of its stages
    assert counter.frame_count == 2 and torch.allclose(found, expected)


def test_many_sizes_of_a_batch_are_compiled(monkeypatch) -> None:
    counter = CompileCounter()
    backend(monkeypatch, counter)
    network, compiler = torch.nn.Sequential(torch.nn.Linear(2, 2)), Compiler(DEFAULT)
    with compiler.compiling([network]):
        for size in range(1, 13):
            network(torch.zeros(size, 2))
    assert counter.frame_count == 12


def test_results_of_a_graph_are_copied() -> None:
    place = torch.zeros(2)

    def replay(value: float) -> dict[str, torch.Tensor]:
        return {"image": place.fill_(value)}

    first, second = (compilation._copied(replay, value)["image"] for value in (1.0, 2.0))
    assert first.tolist() == [1, 1] and second.tolist() == [2, 2]


def test_graphs_gain_nothing_on_a_cpu() -> None:
    assert [effective(name, "cpu") for name in (OFF, DEFAULT, GRAPHS)] == [OFF, DEFAULT, OFF]
    assert effective(GRAPHS, "cuda:1") == GRAPHS
    assert settled(GRAPHS, "cpu", here=True) == (OFF, "--compile graphs: gains nothing on a cpu, so nothing is compiled")
    assert settled(GRAPHS, "cuda", here=False) == (GRAPHS, "")  # another machine does it
    assert settled(OFF, "cpu", here=True) == (OFF, "")


def test_a_machine_without_a_compiler_says_so(monkeypatch, capfd) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/missing/g++",))
    reason = trouble(CPU)
    assert "No working C++ compiler found" in reason and "\n" not in reason
    mode, said = settled(DEFAULT, CPU, here=True)
    assert mode == OFF and said.startswith("--compile default: the compiler does not work here, so nothing is compiled: ")
    capfd.readouterr()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    found = capsys.readouterr()
    return found.out + found.err


def test_a_compiled_run_has_other_keys_and_is_compared(make_settings, monkeypatch, capsys) -> None:
    monkeypatch.setattr(compilation, "trouble", lambda device: "")
    backend(monkeypatch, "eager")
    settings = make_settings()
    assert runner.run(settings, progress=False) == 0
    before = set(Store(settings.out).rows()["key"])
    capsys.readouterr()
    assert runner.run(make_settings(compile=DEFAULT)) == 0
    assert not before & set(Store(settings.out).rows()["key"])
    assert Store(settings.out).manifest["methods"]["toy.paper"]["compile"] == DEFAULT
    told = said(capsys)
    assert "toy:paper: PSNR of" in told and "in fp32 compiled (default)" in told and "in plain fp32" in told
    assert "0.00 dB apart" in told
    assert runner.run(make_settings(compile=DEFAULT, precision=BF16)) == 0
    assert "in bf16 compiled (default)" in said(capsys)


@pytest.mark.parametrize("asked", [DEFAULT, GRAPHS])
def test_where_nothing_can_be_compiled_the_run_is_plain_and_says_so(make_settings, monkeypatch, capsys, asked) -> None:
    monkeypatch.setattr(compilation, "trouble", lambda device: "no compiler")
    keys = []
    for compile in (OFF, asked):
        settings = make_settings(compile=compile)
        assert runner.run(settings) == 0
        keys.append(sorted(Store(settings.out).rows()["key"]))
    assert keys[0] == keys[1]
    assert f"--compile {asked}: " in (told := said(capsys)) and "so nothing is compiled" in told and "PSNR" not in told
    assert "compile" not in Store(settings.out).manifest["methods"]["toy.paper"]


@pytest.mark.slow
def test_an_encoder_of_the_embedded_suite_with_real_kernels(tmp_path: Path) -> None:
    words = ["--methods", "e4e", "--datasets", "procfaces-test:2", "--edits", "none", "--metrics", "psnr", "--batch", "2"]
    out = tmp_path / "run"
    found = CliRunner().invoke(main, ["run", *words, "--in-process", "--no-show", "--compile", "default", "--out", str(out)])
    assert found.exit_code == 0, found.output
    (line,) = [line for line in found.output.splitlines() if "PSNR of" in line]
    own, other = re.findall(r"([\d.]+) dB[,:]", line)
    assert abs(float(own) - float(other)) <= APART and "in fp32 compiled (default)" in line
    assert set(Store(out).rows()["status"]) == {"ok"}
