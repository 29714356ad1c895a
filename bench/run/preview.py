"""The table of ``invbench plan``: a line for each method and dataset, and the sum."""

from __future__ import annotations

from functools import partial
from typing import Any

from tabulate import tabulate

from invbench.api import InvbenchError
from invbench.plugins.config import DatasetChoice, MethodChoice, RunSettings
from invbench.plugins.registry import strangers
from invbench.run import estimate
from invbench.run.estimate import Estimate, step_options
from invbench.run.executors.apart import LONGEST, Apart
from invbench.run.foreign.code import expect_programs
from invbench.run.session import Session
from invbench.specs import DatasetSpec
from invbench.util.progress import Progress

HEAD = ("method", "dataset", "images", "edits each", "steps an image", "batch", "s/image", "time", "memory GiB")


def table(settings: RunSettings, *, probe: bool, here: bool = False) -> tuple[str, list[str]]:
    """The text, and a list of what is missing: networks of methods, pictures of datasets, methods that fail in their probe.

    Without ``probe`` there is no time and no memory, and no network is loaded. Probes are made in a process of their own, or
    ``here``. Raises InvbenchError for an unknown device.
    """
    rows, hours = [], 0.0
    opened = partial(Session, settings.suite, device=settings.device, readers=0)
    with opened() as session, Apart(opened, limit=LONGEST, here=here) as apart, Progress(enabled=probe) as bar:
        counts, missing = _counts(settings, session, apart)
        bar.begin(len(settings.methods))
        for method in settings.methods:
            try:
                expect_programs([method])
            except InvbenchError as error:
                missing.append(str(error))
            bar.cell(f"probing {method.id}:{method.preset}")
            known, batch = None, settings.batch
            if probe and method.foreign is None:  # a command is not started for an estimate
                try:
                    batch, known = apart.call(_estimate, settings, method)
                except InvbenchError as error:
                    missing.append(f"{method.id}: {str(error).removeprefix(f'method {method.id}: ')}")
                except (Exception, GeneratorExit, SystemExit) as error:
                    missing.append(f"{method.id}: its probe failed: {type(error).__name__}: {error}")
            bar.done(1)
            for dataset in settings.datasets:
                row, spent = _row(method, dataset, counts[dataset.id], len(settings.edits), batch, known)
                rows.append(row)
                hours += spent
    edited = sum(count or 0 for count in counts.values()) * len(settings.methods) * (1 + len(settings.edits))
    lines = [tabulate(rows, HEAD, floatfmt=".3g", missingval="-"), "", f"{edited} pictures in all"]
    if probe:
        foreign = any(method.foreign is not None for method in settings.methods)
        lines[-1] += f", about {_duration(hours)} on {session.device} without metrics{' and foreign code' if foreign else ''}"
    return "\n".join([*lines, *(f"missing: {item}" for item in missing)]), missing


def _counts(settings: RunSettings, session: Session, apart: Apart[Session]) -> tuple[dict[str, int | None], list[str]]:
    """Number of images by dataset (None if it cannot be opened), and the reasons."""
    counts: dict[str, int | None] = {}
    missing = []
    for choice in settings.datasets:
        try:
            size = apart.call(_size, choice.spec) if strangers([choice.spec]) else _size(session, choice.spec)
            counts[choice.id] = size if choice.count is None else min(size, choice.count)
        except (Exception, GeneratorExit, SystemExit) as error:
            counts[choice.id] = choice.spec.size if choice.count is None else choice.count
            told = str(error) if isinstance(error, InvbenchError) else f"{type(error).__name__}: {error}"
            missing.append(f"{choice.id}: {told}")
    return counts, missing


def _size(session: Session, spec: DatasetSpec) -> int:
    return len(session.dataset(spec).names)


def _estimate(session: Session, settings: RunSettings, method: MethodChoice) -> tuple[int, Estimate]:
    batch = settings.batch or session.batch(method)
    return batch, estimate.of(settings, method, session, batch=batch)


def _row(
    method: MethodChoice, dataset: DatasetChoice, images: int | None, edits: int, batch: int | None, estimate: Estimate | None
) -> tuple[list[Any], float]:
    steps = sum(step_options(method.spec, method.options).values())
    head = [f"{method.id}:{method.preset}", dataset.id, images, edits, steps, batch]
    if estimate is None or images is None:
        return [*head, None, None, None], 0.0
    seconds = estimate.invert + edits * estimate.edit
    hours = images * seconds / 3600
    return [*head, seconds, _duration(hours), estimate.memory / 2**30], hours


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.0f} min" if hours > 1 / 60 else f"{3600 * hours:.0f} s"
