"""StyleFlow's conditional continuous normalising flow (Abdal et al., TOG 2021; RameenAbdal/StyleFlow), its parameter names.

A chain of batch norm, one differential equation dw/dt = net([t, c], w) from t = 0 to sqrt_end_time^2, and batch norm takes one
latent vector w [D] under conditions c [K] to z, which is normal, and back. Batch norm here always uses its stored statistics.

The published code integrates all samples of a call together, with a random probe of the log density in the error estimate, so
its last digits differ from run to run. Here every sample takes its own steps, by the same method and tolerances: the result of
a latent does not depend on what stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from invbench.api import InvbenchError

EPS = 1e-4  # of the batch norms
TOLERANCE = 1e-5  # absolute and relative, of the solver
MOST = 1000  # steps of the solver
NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (  # Dormand and Prince 1980, order 5 with an estimate of order 4
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
Rate = Callable[[Tensor, Tensor], Tensor]  # (t [N], x [N, D]) -> dx/dt [N, D]


class ConcatSquash(nn.Module):
    """(W x + b) * sigmoid(G q + g) + H q, of x [N, I] and q [N, Q] = [t, c]."""

    def __init__(self, width_in: int, width: int, context: int) -> None:
        super().__init__()
        self._layer = nn.Linear(width_in, width)
        self._hyper_bias = nn.Linear(context, width, bias=False)
        self._hyper_gate = nn.Linear(context, width)

    def forward(self, x: Tensor, q: Tensor) -> Tensor:
        """x [N, D], and time and conditions q [N, 1 + K] -> [N, width]."""
        found: Tensor = self._layer(x) * torch.sigmoid(self._hyper_gate(q)) + self._hyper_bias(q)
        return found


class ODENet(nn.Module):
    """The right side of the equation: tanh after all layers but the last."""

    def __init__(self, dim: int, hidden: Sequence[int], conditions: int) -> None:
        super().__init__()
        widths = [dim, *hidden, dim]
        self.layers = nn.ModuleList(ConcatSquash(a, b, conditions + 1) for a, b in zip(widths, widths[1:]))

    def forward(self, t: Tensor, x: Tensor, conditions: Tensor) -> Tensor:
        """t [N], x [N, D], conditions [N, K] -> [N, D]."""
        q = torch.cat([t[:, None], conditions], dim=1)
        for index, layer in enumerate(self.layers):
            x = layer(x, q)
            x = torch.tanh(x) if index < len(self.layers) - 1 else x
        return x


class ODEFunc(nn.Module):
    """The equation, with the counter that the published file has; it counts nothing here."""

    def __init__(self, net: ODENet) -> None:
        super().__init__()
        self.diffeq = net
        self.register_buffer("_num_evals", torch.tensor(0.0))


class CNF(nn.Module):
    """The equation and its end, T = sqrt_end_time^2."""

    def __init__(self, net: ODENet) -> None:
        super().__init__()
        self.sqrt_end_time = nn.Parameter(torch.tensor(0.5).sqrt())
        self.odefunc = ODEFunc(net)

    def rate(self, conditions: Tensor) -> Rate:
        """dx/dt under conditions [N, K]."""
        return lambda t, x: self.odefunc.diffeq(t, x, conditions)

    def forward(self, x: Tensor, conditions: Tensor, *, reverse: bool = False) -> Tensor:
        """x [N, D] and conditions [N, K] -> [N, D] at the end of the time, or at its start for one from the end."""
        end = float(self.sqrt_end_time) ** 2
        return dopri5(self.rate(conditions), x, *((end, 0.0) if reverse else (0.0, end)))


class MovingBatchNorm(nn.Module):
    """y = (x - mean) / sqrt(variance + 1e-4) * exp(weight) + bias, by the stored mean and variance."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("step", torch.zeros(1))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor, *, reverse: bool = False) -> Tensor:
        """[N, D] -> [N, D]; ``reverse``: its inverse."""
        scale = torch.exp(self.weight) / torch.sqrt(self.running_var + EPS)
        return (x - self.bias) / scale + self.running_mean if reverse else (x - self.running_mean) * scale + self.bias

    def log_scale(self) -> Tensor:
        """The log of the determinant of its Jacobian, a number."""
        return (self.weight - 0.5 * torch.log(self.running_var + EPS)).sum()


class Flow(nn.Module):
    """The chain. ``forward(w [N, D], conditions [N, K])`` gives z; with ``reverse`` z -> w."""

    def __init__(self, dim: int, hidden: Sequence[int], conditions: int) -> None:
        super().__init__()
        self.dim, self.hidden, self.conditions = dim, tuple(hidden), conditions
        parts = (MovingBatchNorm(dim), CNF(ODENet(dim, hidden, conditions)), MovingBatchNorm(dim))
        self.chain = nn.ModuleList(parts)

    def forward(self, x: Tensor, conditions: Tensor, *, reverse: bool = False) -> Tensor:
        """Latents [N, D] of conditions [N, K] -> noise [N, D]; ``reverse``: noise -> latents."""
        first, equation, last = reversed(self.chain) if reverse else self.chain
        middle = equation(first(x, reverse=reverse), conditions, reverse=reverse)
        found: Tensor = last(middle, reverse=reverse)
        return found


def dopri5(rate: Rate, x: Tensor, start: float, end: float, *, tolerance: float = TOLERANCE, most: int = MOST) -> Tensor:
    """x(end) of dx/dt = rate(t, x) for x(start) = x [N, D], each sample by steps of its own (Dormand and Prince, order 5).

    Raises InvbenchError if a sample does not arrive within ``most`` steps.
    """
    sign, span = (1.0 if end >= start else -1.0), abs(end - start)
    done = x.new_zeros(len(x))
    step = torch.full_like(done, 0.1 * span)
    first = sign * rate(start + sign * done, x)
    for _ in range(most):
        active = done < span
        if not bool(active.any()):
            return x
        last = step >= span - done
        h = torch.where(last, span - done, step)
        slopes = [first]
        for node, weights in zip(NODES[1:], STAGES[1:]):
            moved = x + h[:, None] * sum(w * k for w, k in zip(weights, slopes))
            slopes.append(sign * rate(start + sign * (done + node * h), moved))
        error = h[:, None] * sum(w * k for w, k in zip(ERROR, slopes))
        allowed = tolerance * (1 + torch.maximum(x.abs(), moved.abs()))
        ratio = (error / allowed).square().mean(1).sqrt()
        taken = active & (ratio <= 1)
        x = torch.where(taken[:, None], moved, x)
        first = torch.where(taken[:, None], slopes[-1], first)
        done = torch.where(taken, torch.where(last, torch.full_like(done, span), done + h), done)
        step = h * (0.9 * ratio.clamp_min(1e-10) ** -0.2).clamp(0.2, 5.0)
    raise InvbenchError(f"flow: expected its equation to be solved within {most} steps, found latents that it does not carry")
