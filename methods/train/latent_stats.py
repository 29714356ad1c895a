"""Statistics of W of the trained generator; they are measured, not trained."""

from __future__ import annotations

import torch
from torch import nn

from invbench.methods.common.losses import gaussian_prior
from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.train.common import Recipe, Step, step_generator
from invbench.methods.train.frozen import load_frozen

RECIPES = {
    "latent_stats": {
        "minutes": 0.0,
        "seed": 0,
        "help": "mean, spread and Gaussian prior of W; needs the generator",
        "options": {"samples": 20_000},
    }
}


class Training(Recipe):
    """Measures the statistics on ``samples`` latents; there are no training steps."""

    float32 = ("mean", "std", "prior_mean", "prior_factor")  # keep their precision; the prior is in float64

    def __init__(self, *, seed: int, device: torch.device | str, samples: int):
        self.generator = load_frozen("generator", device=device)
        self.seed, self.samples = seed, samples
        self.config = {"dim": self.generator.w_dim}
        self.network: nn.Module = LatentStatistics(**self.config)
        self.heads, self.optimisers = nn.ModuleDict(), []

    def step(self, index: int, progress: float) -> Step:
        raise RuntimeError("latent_stats: nothing to train; give it no minutes")

    def finish(self, network: nn.Module) -> None:
        """Measure the statistics."""
        network.load_state_dict(LatentStatistics.measure(self._draw(0)).state_dict())

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on another sample: the distance of its mean in units of the spread, and the prior's term over D (near 1).

        ``prior_term`` is the mean over latents, ``prior_term_99`` the 99th percentile.
        """
        assert isinstance(network, LatentStatistics)
        latents = self._draw(1)
        shift = (latents.double().mean(0) - network.mean).norm() / network.std
        term = gaussian_prior(latents[:, None].double(), network.prior_mean, network.prior_factor) / latents.shape[1]
        return {
            "mean_shift": float(shift),
            "std": float(network.std),
            "prior_term": float(term.mean()),
            "prior_term_99": float(term.quantile(0.99)),
        }

    def _draw(self, stream: int) -> torch.Tensor:
        """Latents [samples, D] from the random stream ``stream``."""
        return self.generator.sample_w(self.samples, generator=step_generator(self.seed, 0, stream)).cpu()
