"""StyleFlow for procfaces: a conditional flow of W under factors of the pictures, as edit directions.

The published flow is trained by maximum likelihood on latents and attributes that a face-analysis service gave; here they are
the true factors of each z. W of this generator depends on 38 numbers only, so its density in 128 dimensions has no bound: noise
of a tenth of each dimension's deviation is added to the latents, which the published training does not need. Training takes
two steps of the Runge-Kutta method of order 4 and Hutchinson's estimate of the trace; edits use the published solver.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invbench.datasets.procfaces import EDITS, FACTORS, INDEX, factors_from_z, sample_z
from invbench.methods.directions import fitting
from invbench.methods.directions.fitting import Task, Wanted
from invbench.methods.directions.styleflow import FlowDirections, fit_reading
from invbench.methods.nets.styleflow import Flow
from invbench.methods.train.common import Recipe, Step, cosine, descend, seeded, step_generator, step_rng
from invbench.methods.train.directions import unit_of
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.sources import BATCH as PICTURES

RECIPES = {
    "styleflow": {
        "minutes": 3.0,
        "seed": 0,
        "help": "StyleFlow's conditional flow of W; needs the generator and the regressor",
        "options": {"batch": 128},
    }
}
# What the flow is told of a picture: the factors of the edits, and others that an edit shall keep.
CONDITIONS = (
    "age", "yaw", "smile", "eye_openness", "face_width", "skin_tone", "eye_size", "mouth_width", "lip_fullness",
    "hair_lightness", "hair_length", "light_strength",
)  # fmt: skip
DEPTH = 5  # hidden layers, each as wide as a latent
NOISE = 0.1  # standard deviations of each dimension
SOLVER_STEPS = 2
MEASURED = 20_000  # latents of the batch norm's statistics and of the linear reading
RIDGE = 1e-3  # of the mean eigenvalue
PROBES = 50


class Training(Recipe):
    """Trains the flow by maximum likelihood; then reads conditions by ridge regression and sets each edit's gain."""

    eight_bits = True
    float32 = ("steps", "gains", "layers", "reading.weight", "reading.bias")

    def __init__(self, *, seed: int, device: torch.device | str, batch: int):
        self.generator = load_frozen("generator", device=device)
        self.regressor = load_frozen("regressor", device=device)
        self.seed, self.device, self.batch = seed, device, batch
        dim = self.generator.w_dim
        self.config = {
            "names": list(EDITS),
            "columns": [CONDITIONS.index(factor) for factor, _, _ in EDITS.values()],
            "num_ws": self.generator.num_ws,
            "dim": dim,
            "hidden": [dim] * DEPTH,
            "conditions": len(CONDITIONS),
        }
        with seeded(seed):
            network = FlowDirections(**self.config)
        self.network: nn.Module = network.to(device)
        latents, conditions = self._drawn(sample_z(seed, MEASURED))
        first: Any = network.flow.chain[0]
        first.running_mean.copy_(latents.mean(0))
        first.running_var.copy_(latents.var(0) * (1 + NOISE**2))
        self.spread = latents.std(0)
        fit_reading(network.reading, latents, conditions, ridge=RIDGE)
        network.steps.copy_(torch.tensor([unit_of(name) for name in EDITS]))
        self.heads = nn.ModuleDict()
        self.optimisers = [torch.optim.Adam(network.flow.parameters(), lr=2e-3)]
        self.ema = 0.99

    def step(self, index: int, progress: float) -> Step:
        """One step of maximum likelihood on fresh latents."""
        draws = step_generator(self.seed, index, 1, self.device)
        latents, conditions = self._drawn(step_rng(self.seed, index).standard_normal((self.batch, len(FACTORS))))
        noise = torch.randn(latents.shape, generator=draws, device=latents.device)
        probe = torch.randint(0, 2, latents.shape, generator=draws, device=latents.device) * 2.0 - 1.0
        assert isinstance(self.network, FlowDirections)
        z, log_scale = through(self.network.flow, latents + NOISE * self.spread * noise, conditions, probe)
        loss = likelihood(z, log_scale)
        descend(loss, self.optimisers, cosine(progress), clip=1.0)
        return Step(self.batch, {"nll": loss.item()})

    def finish(self, network: nn.Module) -> None:
        """Set the gain of each edit, so that strength 1 changes its factor by the unit, as the regressor sees it."""
        assert isinstance(network, FlowDirections)
        task = self._task()
        base = task.ws(task.latents(PROBES, 1))
        before = task.read(base)
        for index, (name, wanted) in enumerate(task.wanted.items()):

            def slope(gain: float, index: int = index, name: str = name, wanted: Wanted = wanted) -> float:
                network.gains[index] = gain
                return fitting.slope(task, network, base, before, name, wanted)

            with torch.no_grad():
                network.gains[index] = fitting.corrected(slope, name)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Negative log likelihood of other latents per dimension, how well conditions are read, effect and leakage of edits."""
        assert isinstance(network, FlowDirections)
        latents, conditions = self._drawn(sample_z(self.seed + 1, 2000))
        draws = step_generator(self.seed, 0, 2, self.device)
        noise, probe = (torch.randn(latents.shape, generator=draws, device=latents.device) for _ in range(2))
        noisy = latents + NOISE * self.spread * noise
        z, log_scale = through(network.flow, noisy, conditions, probe.sign())
        with torch.no_grad():
            read = network.reading(latents)
            error = (read - conditions).square().mean(0) / conditions.var(0)
            back = network.flow(network.flow(latents[:200], conditions[:200]), conditions[:200], reverse=True)
        figures = {"nll_per_dimension": likelihood(z, log_scale).item() / latents.shape[1]}
        figures |= {f"{name}_read_r2": 1 - error[CONDITIONS.index(EDITS[name][0])].item() for name in EDITS}
        figures["round_trip"] = (back - latents[:200]).abs().max().item()
        figures |= {f"{name}_gain": network.gains[index].item() for index, name in enumerate(EDITS)}
        return figures | fitting.measured(self._task(), network)

    def _task(self) -> Task:
        wanted = {name: Wanted(INDEX[factor], unit_of(name)) for name, (factor, _, _) in EDITS.items()}
        ones = [1.0] * len(FACTORS)
        return Task(generator=self.generator, read=self._read, wanted=wanted, scale=ones, seed=self.seed, probes=PROBES)

    @torch.no_grad()
    def _read(self, latents: Tensor) -> np.ndarray:
        parts = [self.regressor(self.generator.synthesis(part).clamp(-1, 1)) for part in latents.split(PICTURES)]
        return torch.cat(parts).double().cpu().numpy()

    @torch.no_grad()
    def _drawn(self, z: np.ndarray) -> tuple[Tensor, Tensor]:
        """Latents [N, D] of z [N, Z], and their conditions [N, K], the true factors in [0, 1]."""
        factors = factors_from_z(z)[:, [INDEX[name] for name in CONDITIONS]]
        latents = self.generator.mapping(torch.from_numpy(z).float().to(self.device))
        return latents, torch.from_numpy(factors).float().to(self.device)


def through(flow: Flow, latents: Tensor, conditions: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """z [N, D] and the log of the determinant of the whole Jacobian [N], estimated with ``probe`` [N, D] (Hutchinson).

    By SOLVER_STEPS equal steps of the Runge-Kutta method of order 4; differentiable in the flow's parameters.
    """
    parts: Any = flow.chain
    first, equation, last = parts
    rate, h = equation.rate(conditions), equation.sqrt_end_time**2 / SOLVER_STEPS

    def both(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            moved = rate(t.expand(len(x)), x)
            product = torch.autograd.grad(moved, x, probe, create_graph=True)[0]
        return moved, (product * probe).sum(1)

    x, total = first(latents), latents.new_zeros(len(latents))
    for number in range(SOLVER_STEPS):
        t = number * h
        a, trace_a = both(t, x)
        b, trace_b = both(t + h / 2, x + h / 2 * a)
        c, trace_c = both(t + h / 2, x + h / 2 * b)
        d, trace_d = both(t + h, x + h * c)
        x = x + h / 6 * (a + 2 * b + 2 * c + d)
        total = total + h / 6 * (trace_a + 2 * trace_b + 2 * trace_c + trace_d)
    z: Tensor = last(x)
    return z, total + first.log_scale() + last.log_scale()


def likelihood(z: Tensor, log_scale: Tensor) -> Tensor:
    """Mean negative log likelihood of latents whose z [N, D] is normal, with the log determinants [N] of their way there."""
    normal = -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
    return -(normal + log_scale).mean()
