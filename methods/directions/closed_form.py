"""SeFa (Shen and Zhou, CVPR 2021; genforce/sefa): eigenvectors of a generator's own weights, over a range of layers."""

from __future__ import annotations

from torch import Tensor

from invbench.methods.convert.directions import sefa
from invbench.methods.directions.fitting import Task, chosen, layer_ranges

SPREAD = 20_000  # latents whose spread along a component gives the length of a step
STEP = 2.0  # standard deviations by which candidates are tried


def fit(task: Task) -> tuple[dict[str, Tensor], dict[str, float]]:
    """For each attribute the component and the layers that change it most for what else they change, [L, D].

    The components of a range are those of the weights of its layers, as published.
    """
    ranges, latents = layer_ranges(task.generator.num_ws), task.latents(SPREAD, 0).double()
    places = [(number, layers) for number in range(min(task.components, task.generator.w_dim)) for layers in ranges]
    edits = {str(index): {"component": number, "layers": list(layers)} for index, (number, layers) in enumerate(places)}
    network, _ = sefa(task.generator, edits=edits)
    candidates = []
    for index, (_, (first, _)) in enumerate(places):
        vector = network[str(index)].to(task.generator.mean_latent)
        spread = float((latents @ vector[first].double()).std())
        candidates.append(STEP * spread * vector)
    found, figures = chosen(task, candidates)
    for name in found:
        number, (first, end) = places[int(figures.pop(f"{name}_candidate"))]
        figures[f"{name}_component"], figures[f"{name}_first"], figures[f"{name}_end"] = float(number), float(first), float(end)
    return found, figures
