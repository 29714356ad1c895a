"""Edit directions fitted on what is read of a generator's pictures: what all sources share.

A source gives a direction of any length and sign for each attribute. Here directions get the length at which strength 1 changes
the attribute by the suite's unit, and their effect and leakage are measured on latents that no fit saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import Edit, InvbenchError
from invbench.methods.directions.positions import EditDirections

Read = Callable[[Tensor], np.ndarray]
STRENGTHS = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
MOST, LEAST = 4.0, 0.25  # a correction of a length stays between these, since far steps leave the data
CORRECTIONS = 4
STREAM = 2**40  # seeds of probes lie beyond those of samples


@dataclass(frozen=True)
class Wanted:
    """An attribute: its column of the readings, and the change of the reading that strength 1 asks for."""

    column: int
    step: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a fit works on.

    generator  the suite's generator
    read       latents [N, L, D] -> readings of their pictures, float64 [N, K]
    wanted     attribute -> what of the readings it is
    scale      [K]: the change of each reading that counts as equal, in which leakage is compared
    samples    latents that a source looks at: pictures for a source that reads labels, else only latents
    probes     latents on which lengths and effects are measured
    components the number of components that a source without labels chooses from
    conditional  of InterFaceGAN: directions without their parts along those of the other attributes
    """

    generator: Any
    read: Read
    wanted: Mapping[str, Wanted]
    scale: Sequence[float]
    seed: int
    samples: int = 5_000
    probes: int = 100
    components: int = 20
    conditional: bool = False

    def latents(self, count: int, stream: int) -> Tensor:
        """Random latents [count, D] of W; each stream has other ones."""
        device = self.generator.mean_latent.device
        draw = torch.Generator(device).manual_seed(self.seed * STREAM + stream)
        found: Tensor = self.generator.sample_w(count, generator=draw)
        return found

    def ws(self, latents: Tensor) -> Tensor:
        """The same latent in every layer: [N, D] -> [N, L, D]."""
        repeated: Tensor = self.generator.repeat(latents)
        return repeated

    def change(self, base: Tensor, before: np.ndarray, vector: Tensor) -> np.ndarray:
        """Change of the readings [N, K] by a step ``vector`` [L, D] from ``base`` [N, L, D], whose readings are ``before``."""
        return self.read(base + vector) - before


Fit = Callable[[Task], tuple[dict[str, Tensor], dict[str, float]]]


@torch.no_grad()
def fitted(fit: Fit, task: Task) -> tuple[EditDirections, dict[str, Any], dict[str, float]]:
    """The directions of a source, each of the length of its attribute's unit; its configuration; figures of the fit.

    Raises InvbenchError for an attribute that a direction does not change.
    """
    vectors, figures = fit(task)
    config = {"names": list(vectors), "num_ws": task.generator.num_ws, "dim": task.generator.w_dim}
    network = EditDirections(**config)
    base = task.ws(task.latents(task.probes, 1))
    before = task.read(base)
    for index, (name, vector) in enumerate(vectors.items()):
        network.vectors[index] = vector * length(task, base, before, vector, task.wanted[name], name)
    return network.eval().requires_grad_(False), config, figures


def length(task: Task, base: Tensor, before: np.ndarray, vector: Tensor, wanted: Wanted, name: str) -> float:
    """The factor on ``vector`` [L, D] at which the mean change over STRENGTHS is strength times the attribute's unit.

    Its sign is that of the change. Raises InvbenchError where nothing changes.
    """

    def slope_at(factor: float) -> float:
        changes = [task.change(base, before, s * factor * vector)[:, wanted.column].mean() / s for s in STRENGTHS]
        return float(np.mean(changes)) / wanted.step

    return corrected(slope_at, name)


def corrected(slope_at: Callable[[float], float], name: str) -> float:
    """The factor at which ``slope_at(factor)`` is 1 (secants from 1 on), negative if the slope is. Raises as :func:`length`."""
    found = 1.0
    for number in range(CORRECTIONS):
        slope = slope_at(found)
        if number == 0 and slope < 0:
            found, slope = -found, -slope
        if not np.isfinite(slope) or slope == 0:
            raise InvbenchError(f"direction {name}: expected a change of what it is named after, found {slope}")
        found /= float(np.clip(slope, LEAST, MOST))
    return found


@torch.no_grad()
def slope(task: Task, network: Any, base: Tensor, before: np.ndarray, name: str, wanted: Wanted) -> float:
    """Mean over STRENGTHS of the change by an edit of ``network``, in units of the edit, over the strength."""
    changes = [(task.read(network.move(base, Edit(name, s))) - before)[:, wanted.column].mean() / s for s in STRENGTHS]
    return float(np.mean(changes)) / wanted.step


@torch.no_grad()
def measured(task: Task, network: Any) -> dict[str, float]:
    """Effect and leakage of each direction, on latents that no fit saw.

    The effect is in units of the edit; the ideal effect equals the strength. The leakage is the root mean square change of the
    other readings, in units of their scale, at strengths 3 and -3, divided by that of the attribute.
    """
    base = task.ws(task.latents(task.probes, 2))
    before, scale, figures = task.read(base), np.asarray(task.scale), dict[str, float]()
    names = [name for name in task.wanted if name in network.names]
    for name in names:
        own, ends = task.wanted[name], []
        for s in STRENGTHS:
            change = task.read(network.move(base, Edit(name, s))) - before
            figures[f"{name}_effect_{s:+.0f}"] = float(change[:, own.column].mean() / own.step)
            ends += [change] if abs(s) == max(STRENGTHS) else []
        rms = np.sqrt(np.square(np.concatenate(ends) / scale).mean(0))
        others = np.delete(rms, own.column) / rms[own.column]
        figures[f"{name}_leakage_mean"], figures[f"{name}_leakage_worst"] = float(others.mean()), float(others.max())
    return figures


def chosen(task: Task, candidates: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """For each attribute the candidate that changes it most for what it changes of everything else, and how much that is.

    candidates  directions [L, D] that no label asked for, each of the length of a usual step

    The authors of GANSpace and SeFa look at pictures and name what they see. Here a component is named by measurement: over
    steps up and down, the mean change of the attribute over the root mean square change of all other readings, each in units of
    its scale. Only candidates that change the attribute by half of the unit are compared, where there are any.
    """
    base = task.ws(task.latents(max(8, task.probes // 4), 3))
    before, scale = task.read(base), np.asarray(task.scale)
    means, spreads = [], []
    for one in candidates:
        up, down = (task.change(base, before, sign * one) / scale for sign in (1.0, -1.0))
        means.append((up.mean(0) - down.mean(0)) / 2)
        spreads.append(np.sqrt((np.square(up) + np.square(down)).mean(0) / 2))
    mean, spread = np.stack(means), np.stack(spreads)
    found, figures = {}, {}
    for name, wanted in task.wanted.items():
        own = np.abs(mean[:, wanted.column])
        rest = np.sqrt(np.square(np.delete(spread, wanted.column, axis=1)).mean(1)) + 1e-12
        enough = own >= 0.5 * wanted.step / scale[wanted.column]
        best = int(np.where(enough if enough.any() else True, own / rest, -np.inf).argmax())
        found[name] = candidates[best]
        figures[f"{name}_candidate"] = float(best)
        figures[f"{name}_selectivity"] = float(own[best] / rest[best])
    return found, figures


def layer_ranges(num_ws: int) -> list[tuple[int, int]]:
    """Ranges [first, end) of layers that components are tried on: all, and StyleGAN's coarse, middle and fine layers."""
    ranges = [(0, num_ws), (0, 4), (4, 8), (8, num_ws)]
    return list(dict.fromkeys((first, min(end, num_ws)) for first, end in ranges if first < num_ws))


def over(vector: Tensor, layers: tuple[int, int], num_ws: int) -> Tensor:
    """A vector [D] in the layers first <= i < end, zero elsewhere: [L, D]."""
    index = torch.arange(num_ws, device=vector.device)
    return ((index >= layers[0]) & (index < layers[1])).to(vector)[:, None] * vector
