"""Methods on a device, to be run where there is a GPU: seconds an image, memory and agreement, as a table in Markdown.

    python -m tests.gpu.speed --out speed.md          suite faces, 1024 x 1024, random weights of the official shapes
    python -m tests.gpu.speed --toy --out speed.md    the embedded suite on a CPU, one step: the test of this script

Each method runs in fp32, tf32 and bf16, plainly, compiled and as CUDA graphs (`--precision` and `--compile` of a run), at
batch 1, 4 and 8, and beside PTI a loop that tunes one copy of the generator after the other. All counts of steps are cut to
``--steps``, so seconds are of so many steps and not of the published ones. The table is written anew after each row; what has
no time left says so.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.api import Inversion, Method
from invbench.options import at_least
from invbench.plugins import selection
from invbench.plugins.config import MethodChoice, Suite, load
from invbench.plugins.registry import Registry, discover
from invbench.run import calls, compilation
from invbench.run.compilation import OFF, Compiler
from invbench.run.precision import BF16, FP32, NAMES, effective
from invbench.run.session import Session
from invbench.run.switched import Switched
from invbench.util.clock import StageClock

METHODS = ("e4e", "hyperstyle", "dhr", "pti", "gani", "sam")  # the sooner done first
BATCHES = (1, 4, 8)
LOOP = "plain loop of pti"
HEAD = ("method", "compile", "batch", "precision", "seconds an image", "GB", "PSNR to fp32, dB", "PSNR to the picture, dB")


@dataclass(frozen=True)
class Asked:
    """What is measured, and until when (:func:`time.monotonic`)."""

    out: Path
    suite: Suite
    device: torch.device
    steps: int
    methods: Sequence[str]
    batches: Sequence[int]
    precisions: Sequence[str]
    modes: Sequence[str]
    end: float


def main(words: Sequence[str] | None = None) -> list[tuple[str, ...]]:
    """Measure and write the table. Returns its rows, of the columns HEAD."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the table")
    parser.add_argument("--steps", type=int, default=20, help="the most steps of each stage of a method")
    parser.add_argument("--minutes", type=float, default=7.5, help="no measurement begins later")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--toy", action="store_true", help="the embedded suite on a CPU, one step, batch 1 and 2")
    given = parser.parse_args(words)
    end = time.monotonic() + 60 * given.minutes
    methods = given.methods.split(",")
    if given.toy:
        suite, device = load()["procfaces"], torch.device("cpu")
        return _measure(Asked(given.out, suite, device, 1, methods, (1, 2), (FP32, BF16), [OFF], end))
    if not torch.cuda.is_available():
        raise SystemExit("expected a CUDA device, found none; --toy tries the script on a CPU")
    with tempfile.TemporaryDirectory() as home:
        os.environ["INVBENCH_HOME"] = home
        suite = _made_up(Path(home), methods)
        device = torch.device("cuda:0")
        return _measure(Asked(given.out, suite, device, given.steps, methods, BATCHES, NAMES, compilation.NAMES, end))


def _made_up(home: Path, methods: Sequence[str]) -> Suite:
    """The suite of faces, with a file of random weights and official shape for each network that the methods need."""
    from tests.e2e import weights

    weights.FEATURES[1024] = 1024
    suite, registry = load()["faces"], discover()
    choices = _choices(suite, registry, methods, steps=1)
    roles = {role for one in choices for role in (*one.spec.roles, *one.spec.optional)}
    used = [network for role, network in suite.networks.items() if role in roles]
    weights.say(weights.install(home / "weights", weights.needed(used)))
    return suite


def _choices(suite: Suite, registry: Registry, methods: Sequence[str], *, steps: int) -> tuple[MethodChoice, ...]:
    plain = selection.settings(suite, registry, methods=methods, metrics=["mse"], edits=["none"], device="cpu", seed=0).methods
    changes = [
        f"{one.id}.{name}={at_least(option, min(steps, one.options[name]))}"
        for one in plain
        for name, option in one.spec.options.items()
        if option.unit == "steps"
    ]
    return selection.settings(
        suite, registry, methods=methods, metrics=["mse"], edits=["none"], device="cpu", seed=0, overrides=changes
    ).methods


def _measure(asked: Asked) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    registry = discover()
    choices = {one.id: one for one in _choices(asked.suite, registry, asked.methods, steps=asked.steps)}
    least = {one.id: one for one in _choices(asked.suite, registry, asked.methods, steps=1)}
    compilers = {mode: Compiler(mode) for mode in asked.modes if mode != OFF}
    with Session(asked.suite, device=str(asked.device), readers=0) as session:
        images = _pictures(session.networks["generator"], max(asked.batches), asked.device)
        plain: dict[tuple[str, int], Tensor] = {}  # reconstructions in fp32 by method and batch
        for mode, batch, name, precision in _plan(asked):
            row = (name, mode, f"{batch}", precision)
            if time.monotonic() > asked.end:
                rows.append((*row, "no time left", "", "", ""))
                continue
            try:
                if name == LOOP:
                    call = _Loop(session.networks, asked.steps)
                    found = _timed(call, call, images[:batch], asked.device)
                else:
                    own, warm = (
                        Switched(
                            session.build(one[name].spec, one[name].options),
                            precision,
                            asked.device,
                            compilers.get(mode),
                            [*session.networks.chosen(one[name].spec, one[name].options).values()],
                        )
                        for one in (choices, least)
                    )
                    found = _timed(own, warm, images[:batch], asked.device)
                plain.setdefault((name, batch), found.images)
                values = (found.seconds, found.gigabytes, _psnr(found.images, plain[name, batch]))
                rows.append((*row, *(f"{value:.3f}" for value in values), f"{_psnr(found.images, images[:batch]):.3f}"))
            except Exception as error:  # one that fails costs its row only
                rows.append((*row, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}", "", "", ""))
            print(" | ".join(rows[-1]), flush=True)
            asked.out.write_text(_table(asked, rows))
    asked.out.write_text(_table(asked, rows))
    return rows


def _plan(asked: Asked) -> Iterator[tuple[str, int, str, str]]:
    """Mode, batch, method and precision of each row; what matters most first."""
    for mode, batch in itertools.product(asked.modes, asked.batches):
        for name in asked.methods:
            yield from ((mode, batch, name, precision) for precision in asked.precisions)
        if mode == OFF and "pti" in asked.methods:
            yield mode, batch, LOOP, FP32


@dataclass(frozen=True)
class _Found:
    images: Tensor
    seconds: float
    gigabytes: float


def _timed(method: Method, short: Method, images: Tensor, device: torch.device) -> _Found:
    """A method on images, after ``short`` (the same with the fewest steps) was called on them, untimed."""
    calls.invert(short, images, StageClock(device))
    clock = StageClock(device)
    with clock:
        inversion = calls.invert(method, images, clock)
    peak = clock.device_peak if device.type == "cuda" else clock.rss_peak
    return _Found(inversion.images.detach().clone(), clock.total / len(images), peak / 1e9)


class _Loop:
    """Pivotal tuning as its own code does it: a copy of the generator for each image, one after the other; nothing is kept."""

    def __init__(self, networks: Any, steps: int) -> None:
        self.generator, self.perceptual, self.steps = networks["generator"], networks["perceptual_alex"], steps

    def invert(self, images: Tensor, clock: Any) -> Inversion:
        """From the mean latent, which costs no time, unlike the projection of the method."""
        latents = self.generator.repeat(self.generator.mean_latent[None])
        found = torch.cat([self._tuned(one[None], latents) for one in images])
        return Inversion(latents.expand(len(images), -1, -1), found, {})

    def _tuned(self, image: Tensor, latents: Tensor) -> Tensor:
        synthesis = copy.deepcopy(self.generator.synthesis).requires_grad_()
        adam = torch.optim.Adam(synthesis.parameters(), lr=3e-4)
        for _ in range(self.steps):
            output = synthesis(latents)
            loss = (output - image).square().mean() + self.perceptual.distance(output, image).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            return synthesis(latents)


@torch.no_grad()
def _pictures(generator: Any, count: int, device: torch.device) -> Tensor:
    """Pictures of the generator with coarse errors, [count, 3, H, W] in [-1, 1]."""
    draws = torch.Generator().manual_seed(0)
    drawn = generator.synthesis(generator.repeat(generator.sample_w(count, generator=draws))).clamp(-1, 1)
    coarse = torch.randn(count, 3, 8, 8, generator=draws).to(device) / 4
    return (drawn + nn.functional.interpolate(coarse, size=drawn.shape[-2:], mode="bilinear")).clamp(-1, 1)


def _psnr(a: Tensor, b: Tensor) -> float:
    """The least PSNR [dB] of the images; inf where all are equal."""
    error = (a.clamp(-1, 1) - b.clamp(-1, 1)).double().square().flatten(1).mean(1)
    return float((10 * torch.log10(4 / error)).min())


def _table(asked: Asked, rows: Sequence[Sequence[str]]) -> str:
    device = torch.cuda.get_device_name(asked.device) if asked.device.type == "cuda" else "a CPU"
    used = ", ".join(dict.fromkeys(effective(name, asked.device) for name in asked.precisions))
    head = [f"Suite {asked.suite.id}, {device}, torch {torch.__version__}, at most {asked.steps} steps a stage, {used}.", ""]
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join([*head, *("| " + " | ".join(line) + " |" for line in lines), ""])


if __name__ == "__main__":
    main()
