"""StyleFlow as a source of edits: a latent goes to the flow's z under the conditions that it has, and back under others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invbench.api import Edit, InvbenchError
from invbench.methods.nets.styleflow import Flow


class FlowDirections(nn.Module):
    """Named edits by a conditional flow on single latent vectors: every layer's vector is one sample.

    flow      the flow under K conditions
    reading   linear map that reads the conditions [K] of a latent from the mean of its layers; the published method asks for
              them from outside
    steps     [E]: change of the edit's condition for strength 1
    gains     [E]: factor on it, by which the edit does what it asks for
    layers    [E, L]: 1 in the layers that take the flow's result

    An edit of strength 0 leaves latents exactly as they are; there the flow would come back to them but for the solver's error.
    """

    steps: Tensor
    gains: Tensor
    layers: Tensor

    def __init__(
        self, *, names: Sequence[str], columns: Sequence[int], num_ws: int, dim: int, hidden: Sequence[int], conditions: int
    ) -> None:
        super().__init__()
        self.names, self.columns, self.num_ws = tuple(names), tuple(columns), num_ws
        self.flow = Flow(dim, hidden, conditions)
        self.reading = nn.Linear(dim, conditions)
        self.register_buffer("steps", torch.ones(len(self.names)))
        self.register_buffer("gains", torch.ones(len(self.names)))
        self.register_buffer("layers", torch.ones(len(self.names), num_ws))

    def move(self, latents: Tensor, edit: Edit) -> Tensor:
        """Latents [N, L, D] -> edited latents [N, L, D]. InvbenchError when there is no such edit."""
        if edit.name not in self.names:
            raise InvbenchError(f"edit {edit.name!r}: this flow has conditions for {', '.join(self.names)}")
        index = self.names.index(edit.name)
        if edit.strength == 0:
            return latents
        found = self.reading(latents.mean(1))
        asked = found.clone()
        asked[:, self.columns[index]] += edit.strength * self.steps[index] * self.gains[index]
        vectors = latents.flatten(0, 1)
        before, after = (one.repeat_interleave(self.num_ws, dim=0) for one in (found, asked))
        moved = self.flow(self.flow(vectors, before), after, reverse=True).view_as(latents)
        return torch.where(self.layers[index].bool()[:, None], moved, latents)


@torch.no_grad()
def fit_reading(reading: nn.Linear, latents: Tensor, conditions: Tensor, *, ridge: float) -> None:
    """Set a linear map to the ridge regression of conditions [M, K] on latents [M, D]; ``ridge`` is a share of the mean
    eigenvalue. Sums in float64."""
    x, y = latents.double(), conditions.double()
    centred = x - x.mean(0)
    gram = centred.T @ centred
    penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weight = torch.linalg.solve(gram + penalty, centred.T @ (y - y.mean(0))).T
    reading.weight.copy_(weight)
    reading.bias.copy_(y.mean(0) - weight @ x.mean(0))
