"""The precision of methods: what is rounded and what is not, keys, and the line that compares it with fp32."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

from invbench.cli import main
from invbench.methods.common.batching import PerImageAdam
from invbench.methods.common.losses import mse
from invbench.methods.nets.stylegan2 import Generator
from invbench.run import guard, runner
from invbench.run.precision import BF16, FEW, FP32, TF32, computing, effective, plain
from invbench.run.session import Session
from invbench.run.switched import APART, Switched
from invbench.store import Store

CPU = torch.device("cpu")


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.bfloat16().float()


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_convolution_rounds_its_factors_and_gives_float32() -> None:
    x, weight, bias = draw(2, 32, 8, 8), draw(24, 32, 3, 3, seed=1), draw(24, seed=2)
    exact = F.conv2d(rounded(x), rounded(weight), rounded(bias), padding=1)
    with computing(BF16, CPU):
        found = F.conv2d(x, weight, bias, padding=1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=0, rtol=2**-7)  # the sum is rounded once more
    assert not torch.equal(found, F.conv2d(x, weight, bias, padding=1))


def test_batched_products_and_transposed_convolutions_round_too() -> None:
    a, b = draw(2, 32, 20), draw(2, 20, 40, seed=1)
    x, weight = draw(2, 32, 8, 8), draw(32, 24, 3, 3, seed=1)
    with computing(BF16, CPU):
        product, grown = torch.bmm(a, b), F.conv_transpose2d(x, weight, stride=2)
    assert product.dtype == grown.dtype == torch.float32
    assert not torch.equal(product, torch.bmm(a, b)) and not torch.equal(grown, F.conv_transpose2d(x, weight, stride=2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(draw(1, 32, 8, 8), draw(3, 32, 1, 1, seed=1)),  # to RGB, weights of LPIPS
        lambda: F.conv2d(draw(1, 32, 8, 8), draw(32, 1, 4, 4, seed=1), groups=32),  # blur
        lambda: F.conv2d(draw(1, 32, 8, 8), draw(32, 1, 3, 3, seed=1), None, 1, 1, 1, 32),
        lambda: torch.bmm(draw(1, 3, 32), draw(1, 32, 64, seed=1)),
        lambda: F.linear(draw(4, 32), draw(32, 32, seed=1)),  # mapping, styles
        lambda: draw(4, 32) @ draw(32, 32, seed=1),
        lambda: draw(1, 3, 64, 64).square().mean(),  # losses
        lambda: torch.bmm(draw(1, FEW, 32).double(), draw(1, 32, 64, seed=1).double()),  # statistics
    ],
)
def test_everything_else_stays_as_it_is(call) -> None:
    with computing(BF16, CPU):
        found = call()
    assert torch.equal(found, call()) and found.dtype == call().dtype


def test_parameters_moments_and_losses_of_a_refinement_stay_float32() -> None:
    torch.manual_seed(0)
    config = {"resolution": 16, "channels": {4: 32, 8: 32, 16: 32}, "z_dim": 8, "w_dim": 8, "n_mapping": 1}
    generator = Generator({**config, "mapping_lr_multiplier": 1.0})
    latents = generator.repeat(generator.sample_w(2, generator=torch.Generator().manual_seed(1)))
    images = generator.synthesis(latents.flip(0)).detach()

    def tuned(precision: str) -> tuple[PerImageAdam, torch.Tensor]:
        adam = PerImageAdam(generator.per_image_parameters(2), 1e-2)
        with computing(precision, CPU):
            for _ in range(5):
                loss = mse(generator.synthesis(latents, weights=adam.parameters), images)
                adam.zero_grad()
                loss.sum().backward()
                adam.step()
        return adam, loss.detach()

    adam, loss = tuned(BF16)
    _, expected = tuned(FP32)
    assert loss.dtype == torch.float32 and not torch.equal(loss, expected)
    torch.testing.assert_close(loss, expected, atol=0, rtol=0.05)
    held = [one for state in adam._adam.state.values() for one in state.values()]
    assert {one.dtype for one in [*adam.parameters.values(), *held]} == {torch.float32}


def test_fp32_is_what_a_run_without_the_switch_does(make_settings) -> None:
    settings = make_settings()
    assert settings.precision == FP32
    with Session(settings.suite, device="cpu", readers=0) as session:
        assert not isinstance(session.method(settings.methods[0]), Switched)


def test_a_cpu_has_no_tf32(make_settings, tmp_path: Path) -> None:
    assert (effective(TF32, "cpu"), effective(TF32, "cuda:1"), effective(BF16, "cpu")) == (FP32, TF32, BF16)
    keys = []
    for precision in (FP32, TF32):
        settings = make_settings(precision=precision, out=tmp_path / precision)
        assert runner.run(settings, progress=False) == 0
        keys.append(list(Store(settings.out).rows()["key"]))
    assert keys[0] == keys[1]


@pytest.fixture
def tf32_allowed():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.usefixtures("tf32_allowed")
def test_float32_on_a_gpu_is_float32() -> None:
    plain(CPU)
    assert torch.backends.cudnn.allow_tf32
    plain(torch.device("cuda"))
    seen = []
    with computing(TF32, torch.device("cuda")):
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
    seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
    assert seen == [(True, True), (False, False)]


def test_another_precision_is_another_row_and_is_compared(make_settings, capsys) -> None:
    settings = make_settings()
    assert runner.run(settings, progress=False) == 0
    before = set(Store(settings.out).rows()["key"])
    capsys.readouterr()
    assert runner.run(make_settings(precision=BF16)) == 0
    assert not before & set(Store(settings.out).rows()["key"])
    said = capsys.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "PSNR" in line]
    assert len(lines) == 1 and "toy:paper: PSNR of" in lines[0] and "in bf16" in lines[0] and "0.00 dB apart" in lines[0]
    assert runner.run(make_settings(precision=BF16)) == 0  # nothing to do, nothing to compare
    assert "PSNR" not in capsys.readouterr().err


def test_a_precision_that_is_too_far_from_fp32_is_told(make_settings, monkeypatch, capsys) -> None:
    calls = []

    def psnr(a, b) -> float:
        calls.append(1)
        return 20.0 if len(calls) == 1 else 20.2

    monkeypatch.setattr(guard, "_psnr", psnr)
    assert runner.run(make_settings(precision=BF16)) == 0
    said = capsys.readouterr()
    assert "0.20 dB APART, more than 0.1: do not trust it for this method" in said.out + said.err


def test_a_method_that_fails_is_not_compared(make_settings, monkeypatch, capsys) -> None:
    def psnr(a, b) -> float:
        raise RuntimeError("no products")

    monkeypatch.setattr(guard, "_psnr", psnr)
    assert runner.run(make_settings(precision=BF16)) == 0
    said = capsys.readouterr()
    assert "RuntimeError: no products" in said.out + said.err and "bf16: not compared with fp32 on" in said.out + said.err


def test_an_unknown_precision_is_refused() -> None:
    found = CliRunner().invoke(main, ["run", "--precision", "fp16"])
    assert found.exit_code == 2 and "fp16" in found.output


@pytest.mark.slow
def test_pti_and_dhr_of_the_embedded_suite_in_bf16(tmp_path: Path) -> None:
    steps = {"pti.steps": 3, "pti.embedder.steps": 3, "dhr.coarse_steps": 3, "dhr.feature_steps": 3, "dhr.weight_steps": 2}
    given = [word for name, count in steps.items() for word in ("--set", f"{name}={count}")]
    shared = ["--methods", "pti,dhr", "--datasets", "procfaces-test:1", "--edits", "none", "--in-process", "--no-show"]
    out = str(tmp_path / "run")
    found = CliRunner().invoke(main, ["run", *shared, *given, "--precision", "bf16", "--metrics", "psnr", "--out", out])
    assert found.exit_code == 0, found.output
    lines = [line for line in found.output.splitlines() if "PSNR of" in line]
    apart = [abs(float(own) - float(other)) for line in lines for own, other in [re.findall(r"([\d.]+) dB[,:]", line)]]
    assert len(apart) == 2 and max(apart) < 0.3, found.output  # after 3 steps; a run of all says how far it is
    assert all("APART" in line for line, value in zip(lines, apart, strict=True) if value > APART + 0.02)
