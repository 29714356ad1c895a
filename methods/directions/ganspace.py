"""GANSpace (Härkönen et al., NeurIPS 2020; harskish/ganspace): principal components of W, over a range of layers."""

from __future__ import annotations

import torch
from torch import Tensor

from invbench.methods.directions.fitting import Task, chosen, layer_ranges, over

SAMPLES = 100_000  # of W; published: 1,000,000 in an incremental form, whose components depend on the order
STEP = 2.0  # standard deviations by which candidates are tried


def fit(task: Task) -> tuple[dict[str, Tensor], dict[str, float]]:
    """For each attribute the component and the layers that change it most for what else they change, [L, D]."""
    comp, _, std = components(task.latents(SAMPLES, 0), task.components)
    num_ws = task.generator.num_ws
    candidates = [
        over(STEP * std[number] * comp[number], layers, num_ws)
        for number in range(len(comp))
        for layers in layer_ranges(num_ws)
    ]
    found, figures = chosen(task, candidates)
    for name in found:
        best = int(figures.pop(f"{name}_candidate"))
        figures[f"{name}_component"] = float(best // len(layer_ranges(num_ws)))
        figures[f"{name}_first"], figures[f"{name}_end"] = map(float, layer_ranges(num_ws)[best % len(layer_ranges(num_ws))])
    return found, figures


def components(latents: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first principal components of latents [M, D]: unit vectors [K, D], the mean [D] and the standard deviations [K].

    Sorted by variance; signs are chosen so that the largest entry of each is positive. Sums in float64.
    """
    codes = latents.double()
    mean = codes.mean(0)
    centred = codes - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / (len(codes) - 1))
    comp = vectors.T.flip(0)[:count]
    comp = comp * torch.gather(comp, 1, comp.abs().argmax(1, keepdim=True)).sign()
    return comp.to(latents), mean.to(latents), values.flip(0)[:count].clamp_min(0).sqrt().to(latents)
