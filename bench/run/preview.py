"""The table of ``invbench plan``: a line for each method and dataset, and the sum."""

from __future__ import annotations

from typing import Any

import torch
from tabulate import tabulate

from invbench.api import InvbenchError
from invbench.data import sources
from invbench.plugins.config import DatasetChoice, MethodChoice, RunSettings
from invbench.plugins.registry import load
from invbench.run.estimate import Estimate, probe, step_options
from invbench.run.runner import choose_batch, choose_device
from invbench.util.progress import Progress
from invbench.weights.networks import Networks

HEAD = ("method", "dataset", "images", "edits each", "steps an image", "batch", "s/image", "time", "memory GiB")


def table(settings: RunSettings, *, probe: bool) -> tuple[str, list[str]]:
    """The text, and what is missing: the networks of methods, the pictures of datasets.

    Without ``probe`` no time and no memory are given, and no network is loaded. Raises InvbenchError for an unknown device.
    """
    device = choose_device(settings.device)
    networks = Networks(settings.suite, device)
    counts, missing = _counts(settings)
    rows, hours = [], 0.0
    with Progress(enabled=probe) as bar:
        bar.begin(len(settings.methods))
        for method in settings.methods:
            bar.cell(f"probing {method.id}:{method.preset}")
            estimate, batch = None, settings.batch
            if probe:
                try:
                    batch, estimate = _estimate(settings, method, networks, device)
                except (InvbenchError, RuntimeError) as error:  # a device without memory raises torch's own
                    missing.append(f"{method.id}: {error}")
            bar.done(1)
            for dataset in settings.datasets:
                row, spent = _row(method, dataset, counts[dataset.id], len(settings.edits), batch, estimate)
                rows.append(row)
                hours += spent
    edited = sum(count or 0 for count in counts.values()) * len(settings.methods) * (1 + len(settings.edits))
    lines = [tabulate(rows, HEAD, floatfmt=".3g", missingval="-"), "", f"{edited} pictures in all"]
    if probe:
        lines[-1] += f", about {_duration(hours)} on {device} without metrics"
    return "\n".join([*lines, *(f"missing: {item}" for item in missing)]), missing


def _counts(settings: RunSettings) -> tuple[dict[str, int | None], list[str]]:
    """Images by dataset, None where the dataset is not there."""
    counts: dict[str, int | None] = {}
    missing = []
    for choice in settings.datasets:
        try:
            size = len(sources.open_dataset(choice.spec).names)
            counts[choice.id] = size if choice.count is None else min(size, choice.count)
        except InvbenchError as error:
            counts[choice.id] = choice.spec.size if choice.count is None else choice.count
            missing.append(f"{choice.id}: {error}")
    return counts, missing


def _estimate(
    settings: RunSettings, method: MethodChoice, networks: Networks, device: torch.device
) -> tuple[int, Estimate]:
    cls = load(method.spec)
    own = networks.chosen(method.spec)
    suite = settings.suite
    batch = settings.batch or choose_batch(cls(own, **method.options), device, bound=suite.max_batch)
    edit = settings.edits[0] if settings.edits else None
    return batch, probe(
        cls, own, spec=method.spec, options=method.options, edit=edit, size=suite.picture_size, batch=batch, device=device
    )


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
