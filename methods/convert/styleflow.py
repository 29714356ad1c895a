"""Read the flow of RameenAbdal/StyleFlow, with the latents and attributes that it is shown on.

A published edit needs all 17 conditions of a picture, for which no network was released. Here they are read from the latents,
by ridge regression on the 1,000 latents and conditions that stand beside the flow (``data/``): a stand-in that is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.directions.styleflow import FlowDirections, fit_reading
from invbench.methods.nets.styleflow import Flow
from invbench.metrics.nets.published import fitted, tensors

LIGHT, CONDITIONS = 9, 17
RIDGE = 1e-2  # of the mean eigenvalue: 1,000 latents of 512 numbers


@dataclass(frozen=True)
class Attribute:
    """A condition of the published flow: column, factor on a change of it, and the layers [first, end) that it moves."""

    column: int
    gain: float
    layers: tuple[int, int]


ATTRIBUTES = {  # raw units: 0 or 1, degrees, shares, years
    "gender": Attribute(9, 1.5, (0, 8)),
    "glasses": Attribute(10, 2.5, (2, 4)),
    "yaw": Attribute(11, 1.0, (0, 4)),
    "pitch": Attribute(12, 1.0, (0, 4)),
    "baldness": Attribute(13, 2.0, (0, 6)),
    "beard": Attribute(14, 1.7, (5, 10)),
    "age": Attribute(15, 0.93, (4, 8)),
    "expression": Attribute(16, 1.0, (4, 6)),
}
ALSO = {"smile": "expression"}  # what suites call it


@torch.no_grad()
def directions(
    checkpoint: Mapping[str, Any],
    *,
    source: str,
    latents: Tensor,
    attributes: Tensor,
    light: Tensor,
    edits: Mapping[str, float],
) -> tuple[FlowDirections, dict[str, Any]]:
    """The flow as a source of edits, and its configuration. Every tensor of the file is used.

    latents     [M, L, 512], attributes [M, 8, ...] and light [M, ..., 9, ...]: the published data
    edits       edit -> change of its condition, in raw units, for strength 1

    Raises InvbenchError naming ``source`` for a file or data that do not fit, and for an edit without a condition.
    """
    state = tensors(checkpoint, source=source)
    end = len([key for key in state if key.endswith("._layer.weight")])
    first = state.get("chain.1.odefunc.diffeq.layers.0._hyper_gate.weight")
    hidden = [len(state[f"chain.1.odefunc.diffeq.layers.{index}._layer.bias"]) for index in range(max(0, end - 1))]
    if first is None or first.ndim != 2 or first.shape[1] != CONDITIONS + 1:
        raise InvbenchError(f"{source}: expected a flow under {CONDITIONS} conditions, found another file")
    dim = len(state.get("chain.0.weight", first))
    flow = fitted(lambda: Flow(dim, hidden, CONDITIONS), state, source=source)
    known = {**ATTRIBUTES, **{name: ATTRIBUTES[own] for name, own in ALSO.items()}}
    for name in edits:
        if name not in known:
            raise InvbenchError(f"{source}: edit {name!r}: expected one of {', '.join(known)}")
    count = len(latents)
    if latents.ndim != 3 or latents.shape[2] != dim or attributes.numel() != 8 * count or light.numel() != LIGHT * count:
        found = f"{tuple(latents.shape)}, {tuple(attributes.shape)} and {tuple(light.shape)}"
        raise InvbenchError(f"{source}: expected latents [M, L, {dim}], attributes [M, 8] and light [M, 9], found {found}")
    config: dict[str, Any] = {
        "names": list(edits),
        "columns": [known[name].column for name in edits],
        "num_ws": latents.shape[1],
        "dim": dim,
        "hidden": hidden,
        "conditions": CONDITIONS,
    }
    network = FlowDirections(**config)
    network.flow = flow
    conditions = torch.cat([light.reshape(count, LIGHT), attributes.reshape(count, 8)], dim=1)
    fit_reading(network.reading, latents.mean(1), conditions, ridge=RIDGE)
    index = torch.arange(latents.shape[1])
    for row, (name, change) in enumerate(edits.items()):
        network.steps[row], network.gains[row] = change, known[name].gain
        network.layers[row] = ((index >= known[name].layers[0]) & (index < known[name].layers[1])).float()
    return network.eval().requires_grad_(False), config
