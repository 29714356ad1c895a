"""How much methods that change the generator's weights change each layer: Dinh et al. 2022 (HyperInverter), figure 8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from invbench.api import InvbenchError, Method
from invbench.plugins.config import DatasetChoice, RunSettings
from invbench.run import calls
from invbench.run.session import Session
from invbench.util.clock import StageClock
from invbench.util.images import dequantise
from invbench.util.progress import Progress

COLUMNS = ["method", "dataset", "image", "layer", "change", "weight"]


def measure(settings: RunSettings, session: Session, progress: Progress) -> pd.DataFrame:
    """One row for each method, picture and weight that the method changes.

    layer    name of the layer, in the generator's order ("b16.conv0")
    change   mean over the weight's numbers of |changed - original|, float64
    weight   mean of |original|

    Raises InvbenchError for a method that changes no weights, and where a method fails.
    """
    generator: Any = session.networks["generator"]
    layers = {name: value for name, value in generator.synthesis.named_parameters() if name.endswith(".weight")}
    counts = {choice.id: _count(choice, session) for choice in settings.datasets}
    progress.begin(len(settings.methods) * sum(counts.values()))
    found: list[tuple[str, str, str, str, float, float]] = []
    for choice in settings.methods:
        label, before = f"{choice.id}:{choice.preset}", len(found)
        method, batch = session.method(choice), settings.batch or session.batch(choice)
        for dataset in settings.datasets:
            progress.cell(f"{label} on {dataset.id}")
            for start in range(0, counts[dataset.id], batch):
                indices = range(start, min(start + batch, counts[dataset.id]))
                try:
                    rows = _rows(method, dataset, session, layers, indices=indices)
                    found += [(label, dataset.id, *row) for row in rows]
                except (RuntimeError, TypeError, ValueError) as error:
                    raise InvbenchError(f"method {label}: {type(error).__name__}: {error}") from error
                progress.done(len(indices))
        if len(found) == before:
            raise InvbenchError(f"method {label}: expected weights of the generator in its inversions, found none")
    return pd.DataFrame(found, columns=COLUMNS)


def _count(choice: DatasetChoice, session: Session) -> int:
    size = len(session.dataset(choice.spec).names)
    return size if choice.count is None else min(size, choice.count)


def _rows(
    method: Method, choice: DatasetChoice, session: Session, layers: Mapping[str, Tensor], *, indices: range
) -> Iterator[tuple[str, str, float, float]]:
    """(picture, layer, change, weight) of the pictures at ``indices``."""
    dataset = session.dataset(choice.spec)
    samples = [dataset.read(index) for index in indices]
    images = dequantise(np.stack([sample.picture for sample in samples]), session.device)
    with StageClock(session.device) as clock:
        state = calls.invert(method, images, clock).state
    for name, original in layers.items():
        if name in state:
            differences = (state[name] - original).flatten(1).abs().double().mean(1).tolist()
            size = float(original.abs().double().mean())
            for sample, difference in zip(samples, differences, strict=True):
                yield sample.name, name.removesuffix(".weight"), difference, size
