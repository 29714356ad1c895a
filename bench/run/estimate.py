"""Estimates of a run's time and memory before it starts, from a short probe of each method on this machine.

A method's time is linear in each of its step counts (the options whose unit is "steps"). The probe runs it on a batch of noise
with every count at 1, and once more for each count at 3; the slopes give the time for the requested counts. Methods that stop
images early take less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invbench.api import Edit, Inversion, Method
from invbench.options import at_least
from invbench.plugins.config import MethodChoice, RunSettings
from invbench.run.session import Session
from invbench.specs import MethodSpec
from invbench.util.clock import StageClock

FEW, MORE = 1, 3  # steps of the probes
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """Seconds per image in a batch: ``invert`` with the requested step counts, ``edit`` for one edit; ``memory`` in bytes."""

    invert: float
    edit: float
    memory: int


def step_options(spec: MethodSpec, options: Mapping[str, Any]) -> dict[str, int]:
    """The values of the options of a method that count steps."""
    return {name: int(options[name]) for name, option in spec.options.items() if option.unit == "steps"}


def of(settings: RunSettings, method: MethodChoice, session: Session, *, batch: int) -> Estimate:
    """The estimate of a method in a run, on the session's device. Raises what the method raises."""
    return probe(
        lambda steps: session.build(method.spec, {**method.options, **steps}),
        step_options(method.spec, method.options),
        least=lambda name, count: at_least(method.spec.options[name], count),
        edit=settings.edits[0] if settings.edits else None,
        size=settings.suite.picture_size,
        batch=batch,
        device=session.device,
    )


def warm_up(settings: RunSettings, method: MethodChoice, session: Session, *, batch: int) -> None:
    """Run a method with the fewest steps on ``batch`` pictures of noise, so that whatever is made once is made. Raises what the
    method raises."""
    counts = step_options(method.spec, method.options)
    few = {name: min(at_least(method.spec.options[name], FEW), count) for name, count in counts.items()}
    made, clock = session.build(method.spec, {**method.options, **few}), StageClock(session.device)
    with clock:
        made.invert(_noise(batch, settings.suite.picture_size, session.device), clock)


def _noise(batch: int, size: tuple[int, int], device: torch.device) -> Tensor:
    draws = torch.Generator().manual_seed(SEED)
    return (torch.rand(batch, 3, *size, generator=draws) * 2 - 1).to(device)


def probe(
    build: Callable[[Mapping[str, int]], Method],
    counts: Mapping[str, int],
    *,
    least: Callable[[str, int], int] = lambda name, count: count,
    edit: Edit | None,
    size: tuple[int, int],
    batch: int,
    device: torch.device,
) -> Estimate:
    """Run a method for a few steps on ``batch`` pictures of noise of ``size`` (height, width) and extrapolate.

    ``build`` makes the method with given step counts; ``counts`` are the requested ones, by option; ``least`` gives the
    smallest admitted count of an option that is at least a number. Raises what the method raises.
    """
    images = _noise(batch, size, device)
    few = {name: min(least(name, FEW), count) for name, count in counts.items()}

    def timed(steps: Mapping[str, int]) -> tuple[float, Inversion, StageClock]:
        method = build(steps)
        clock = StageClock(device)
        with clock:
            inversion = method.invert(images.clone(), clock)
        return clock.total, inversion, clock

    timed(few)  # warm-up: the first call chooses kernels and allocates memory
    base, inversion, clock = timed(few)
    seconds = base
    for name, count in counts.items():
        more = min(least(name, few[name] + MORE - FEW), count)
        if more > few[name]:
            longer, _, clock = timed({**few, name: more})
            seconds += max(longer - base, 0.0) / (more - few[name]) * (count - few[name])
    method = build(few)
    return Estimate(
        invert=seconds / batch,
        edit=0.0 if edit is None else _edit_seconds(method, inversion, edit, device) / batch,
        memory=clock.device_peak if device.type == "cuda" else _memory(method, batch),
    )


def _edit_seconds(method: Method, inversion: Inversion, edit: Edit, device: torch.device) -> float:
    clock = StageClock(device)
    with clock:
        _: Tensor = method.edit(inversion, edit, clock)
    return clock.total


def _memory(method: Method, batch: int) -> int:
    """The smallest memory, to 1 %, for which the method's ``max_batch`` is at least ``batch``; in bytes."""
    low, high = 0, 2**20
    while method.max_batch(high) < batch and high < 2**50:
        low, high = high, 2 * high
    while high - low > high // 100:
        middle = (low + high) // 2
        low, high = (low, middle) if method.max_batch(middle) >= batch else (middle, high)
    return high
