"""How much methods that change the generator's weights change each layer: Dinh et al. 2022 (HyperInverter), figure 8."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from invbench.api import InvbenchError
from invbench.plugins.config import DatasetChoice, MethodChoice, RunSettings
from invbench.run import calls
from invbench.run.executors.apart import Apart, blamed
from invbench.run.session import Session
from invbench.util.clock import StageClock
from invbench.util.images import dequantise
from invbench.util.progress import Progress

COLUMNS = ["method", "dataset", "image", "layer", "change", "weight"]


def measure(settings: RunSettings, progress: Progress, *, here: bool = False) -> pd.DataFrame:
    """One row for each method, picture and weight that the method changes. Plug-ins that are not of this package work in a
    process of their own, or ``here``.

    layer    name of the layer, in the generator's order ("b16.conv0")
    change   mean over the weight's numbers of |changed - original|, float64
    weight   mean of |original|

    Raises InvbenchError for a method that changes no weights, and where a method fails or ends its process.
    """
    opened = partial(Session, settings.suite, device=settings.device, readers=0)
    found: list[tuple[str, str, str, str, float, float]] = []
    with Apart(opened, limit=None, here=here or not settings.strangers()) as apart:
        counts = {}
        for choice in settings.datasets:
            with blamed(f"dataset {choice.id}"):
                counts[choice.id] = apart.call(_count, choice)
        progress.begin(len(settings.methods) * sum(counts.values()))
        for method in settings.methods:
            label, before = f"{method.id}:{method.preset}", len(found)
            with blamed(f"method {label}"):
                batch = settings.batch or apart.call(Session.batch, method)
                for dataset in settings.datasets:
                    progress.cell(f"{label} on {dataset.id}")
                    for start in range(0, counts[dataset.id], batch):
                        indices = range(start, min(start + batch, counts[dataset.id]))
                        rows = apart.call(_rows, method, dataset, indices=indices)
                        found += [(label, dataset.id, *row) for row in rows]
                        progress.done(len(indices))
            if len(found) == before:
                raise InvbenchError(f"method {label}: expected weights of the generator in its inversions, found none")
    return pd.DataFrame(found, columns=COLUMNS)


def _count(session: Session, choice: DatasetChoice) -> int:
    size = len(session.dataset(choice.spec).names)
    return size if choice.count is None else min(size, choice.count)


def _rows(
    session: Session, method: MethodChoice, choice: DatasetChoice, *, indices: range
) -> list[tuple[str, str, float, float]]:
    """(picture, layer, change, weight) of the pictures at ``indices``."""
    generator: Any = session.networks["generator"]
    layers = {name: value for name, value in generator.synthesis.named_parameters() if name.endswith(".weight")}
    dataset = session.dataset(choice.spec)
    samples = [dataset.read(index) for index in indices]
    images = dequantise(np.stack([sample.picture for sample in samples]), session.device)
    with StageClock(session.device) as clock:
        state = calls.invert(session.method(method), images, clock).state
    found = []
    for name, original in layers.items():
        if name in state:
            differences = (state[name] - original).flatten(1).abs().double().mean(1).tolist()
            size = float(original.abs().double().mean())
            for sample, difference in zip(samples, differences, strict=True):
                found.append((sample.name, name.removesuffix(".weight"), difference, size))
    return found
