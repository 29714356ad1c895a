"""The regressors that read all factors from a picture: one measures edits and the generator and gives features for FID and KID.

The second one, of another architecture and seed, shows how far a ranking depends on the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invbench.datasets.procfaces import EDITS, FACTORS, render_split, split
from invbench.methods.train.common import Recipe, Step, cosine, descend, muon_and_adam, seeded, step_generator, step_rng
from invbench.methods.train.figures import r_squared
from invbench.methods.train.renders import as_images, draw, rendered, softened, some_extras
from invbench.metrics.nets.regressor import Regressor

RECIPES = {
    "regressor": {
        "minutes": 18.0,
        "seed": 21,
        "help": "all factors of a picture; features for FID and KID",
        "options": {"architecture": {"widths": [24, 48, 80, 112], "features": 64}},
    },
    "regressor_second": {
        "minutes": 8.0,
        "seed": 22,
        "help": "all factors of a picture, for the second evaluators",
        "options": {"architecture": {"widths": [16, 32, 48, 64, 80], "grid": 2, "features": 48}, "eight_bits": True},
    },
}

BATCH = 16
OCCLUDED = 0.2  # methods are asked to reconstruct what the generator never saw, and the regressor reads those pictures, too
VALIDATION = 90_000


class Training(Recipe):
    """Least squares on u of mildly degraded renders; the edited factors count more."""

    def __init__(
        self, *, seed: int, device: torch.device | str, architecture: Mapping[str, Any], eight_bits: bool = False
    ) -> None:
        self.seed, self.device, self.eight_bits = seed, device, eight_bits
        self.config: dict[str, Any] = {
            "names": [factor.name for factor in FACTORS],
            "low": [factor.low for factor in FACTORS],
            "high": [factor.high for factor in FACTORS],
            "units": [factor.unit for factor in FACTORS],
            **architecture,
        }
        with seeded(seed):
            self.network = Regressor(**self.config).to(device)
        # its error must be smaller than that of the methods it measures, above all in the edited factors
        edited = {factor for factor, _, _ in EDITS.values()}
        self.emphasis = torch.tensor([4.0 if factor.name in edited else 1.0 for factor in FACTORS], device=device)
        self.heads = nn.Identity()
        self.optimisers = muon_and_adam(self.network.trunk, self.network.head)

    def step(self, index: int, progress: float) -> Step:
        batch = draw(step_rng(self.seed, index), BATCH, self.device, occluded=OCCLUDED)
        images = softened(batch.images, step_generator(self.seed, index, device=self.device))
        errors = (self.network(images) - batch.u).square().mean(0) * 12.0  # in units of the variance of u: 1 - R2
        loss = (errors * self.emphasis).sum() / self.emphasis.sum()
        descend(loss, self.optimisers, cosine(progress))
        return Step(images=BATCH, losses={"unexplained": float(loss.detach())})

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """R2 of every factor on the split "val", of some under extras and noise, and mean absolute errors in units."""
        assert isinstance(network, Regressor)
        u = split("val").u
        plain = as_images(render_split("val").images, self.device)
        rng = step_rng(self.seed, VALIDATION)
        hidden = rendered(u, some_extras(rng, u, 1.0), self.device).images
        noisy = softened(plain, step_generator(self.seed, VALIDATION, device=self.device), share=1.0)
        readings = self._read(network, plain)
        scores = r_squared(u, readings)
        figures = {"r2_mean": float(scores.mean()), "r2_least": float(scores.min())}
        figures |= {f"r2_{name}": float(score) for name, score in zip(network.names, scores, strict=True)}
        for label, images in (("occluded", hidden), ("degraded", noisy)):
            degraded = r_squared(u, self._read(network, images))
            figures[f"r2_mean_{label}"] = float(degraded.mean())
            figures |= {f"r2_{name}_{label}": float(degraded[network.names.index(name)]) for name in EDITS}
        error = np.abs(readings - u).mean(0)
        for name in ("age", "yaw"):
            i = network.names.index(name)
            figures[f"mean_error_{name}_{FACTORS[i].unit}"] = float(error[i] * (FACTORS[i].high - FACTORS[i].low))
        return figures

    def _read(self, network: Regressor, images: Tensor) -> np.ndarray:
        return torch.cat([network(part) for part in images.split(64)]).double().cpu().numpy()
