"""Sources of edit directions for procfaces, beside InterFaceGAN's (:mod:`invbench.methods.train.directions`).

What the regressor reads of a generator's pictures are the labels, the measure of lengths, and what names a component.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from invbench.datasets.procfaces import EDITS, FACTORS, INDEX
from invbench.methods.directions import closed_form, distillation, fitting, ganspace
from invbench.methods.directions.fitting import Task, Wanted
from invbench.methods.directions.positions import EditDirections
from invbench.methods.train.common import Recipe, Step
from invbench.methods.train.directions import unit_of
from invbench.methods.train.frozen import load_frozen

RECIPES = {
    "directions_ganspace": {
        "minutes": 0.0,
        "seed": 0,
        "help": "edit directions by GANSpace: principal components of W, named by the regressor",
        "options": {"source": "ganspace"},
    },
    "directions_sefa": {
        "minutes": 0.0,
        "seed": 0,
        "help": "edit directions by SeFa: eigenvectors of the generator's weights, named by the regressor",
        "options": {"source": "sefa"},
    },
    "directions_distillation": {
        "minutes": 0.0,
        "seed": 0,
        "help": "edit directions as StyleGAN2 distillation fits them: logistic regression on the regressor's readings",
        "options": {"source": "distillation"},
    },
}
FITS = {"ganspace": ganspace.fit, "sefa": closed_form.fit, "distillation": distillation.fit}
BATCH = 50  # pictures


class Training(Recipe):
    """Fits the directions of ``source``; there are no training steps."""

    float32 = ("vectors", "readings", "mean")

    def __init__(self, *, seed: int, device: torch.device | str, source: str):
        self.generator = load_frozen("generator", device=device)
        self.regressor = load_frozen("regressor", device=device)
        wanted = {name: Wanted(INDEX[factor], unit_of(name)) for name, (factor, _, _) in EDITS.items()}
        self.task = Task(generator=self.generator, read=self.read, wanted=wanted, scale=[1.0] * len(FACTORS), seed=seed)
        self.source = source
        self.config = {"names": list(EDITS), "num_ws": self.generator.num_ws, "dim": self.generator.w_dim}
        self.network: nn.Module = EditDirections(**self.config).to(device)
        self.heads, self.optimisers = nn.ModuleDict(), []
        self.figures: dict[str, float] = {}

    def step(self, index: int, progress: float) -> Step:
        raise RuntimeError("directions: nothing to train; give it no minutes")

    def finish(self, network: nn.Module) -> None:
        """Fit the direction of every edit, with its length."""
        found, _, self.figures = fitting.fitted(FITS[self.source], self.task)
        network.load_state_dict(found.state_dict())

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures of the fit, and effect and leakage on other latents, as :func:`fitting.measured` has them."""
        return self.figures | fitting.measured(self.task, network)

    @torch.no_grad()
    def read(self, latents: Tensor) -> np.ndarray:
        """Factors that the regressor measures on the pictures of latents [N, L, D]: float64 [N, K], shares of their ranges."""
        parts = [self.regressor(self.generator.synthesis(part).clamp(-1, 1)) for part in latents.split(BATCH)]
        return torch.cat(parts).double().cpu().numpy()
