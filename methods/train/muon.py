"""Muon: momentum with orthogonalised steps (Jordan et al. 2024, KellerJordan/Muon).

``torch.optim.Muon`` accepts only 2-D weights and computes in bfloat16, which takes three times as long on a CPU without
bfloat16 units (0.22 s against 0.08 s per step for this project's generator).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic Newton-Schulz iteration


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; convolution kernels [O, I, k, k] count as matrices [O, I*k*k].

    ``lr`` is comparable to Adam's: a step has root mean square 0.2 * lr.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, *, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; ``closure`` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                direction = parameter.grad.lerp(average, group["momentum"]).flatten(1)
                scale = 0.2 * max(direction.shape) ** 0.5
                parameter.add_(orthogonal(direction).view_as(parameter), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, *, iterations: int = 5) -> Tensor:
    """``matrix`` [R, C] with singular values moved towards 1 (to about 0.7 to 1.2) and equal singular vectors."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    if wide := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if wide else x
