"""Statistics of W of the trained generator, or of the conditions of the class-conditional one; measured, not trained."""

from __future__ import annotations

import torch
from torch import nn

from invbench.methods.common.losses import gaussian_prior
from invbench.methods.nets.biggan_stats import ConditionStatistics
from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.train.common import Recipe, Step, step_generator
from invbench.methods.train.frozen import load_frozen

RECIPES = {
    "latent_stats": {
        "minutes": 0.0,
        "seed": 0,
        "help": "mean, spread and Gaussian prior of W; needs the generator",
        "options": {"samples": 20_000},
    },
    "biggan_latent_stats": {
        "minutes": 0.0,
        "seed": 0,
        "help": "mean, spread and Gaussian prior of z and class embedding; needs biggan",
        "options": {"samples": 20_000, "classes": True},
    },
}


class Training(Recipe):
    """Measures the statistics on ``samples`` latents; there are no training steps.

    classes  whether the generator is the class-conditional one, whose latents are z and the class's embedding
    """

    def __init__(self, *, seed: int, device: torch.device | str, samples: int, classes: bool = False):
        self.generator = load_frozen("biggan" if classes else "generator", device=device)
        self.seed, self.samples = seed, samples
        self.config = {"dim": self.generator.w_dim}
        self.network: nn.Module = (ConditionStatistics if classes else LatentStatistics)(**self.config)
        self.float32 = tuple(self.network.state_dict())  # all keep their precision; the prior of W is in float64
        self.heads, self.optimisers = nn.ModuleDict(), []

    def step(self, index: int, progress: float) -> Step:
        raise RuntimeError("latent_stats: nothing to train; give it no minutes")

    def finish(self, network: nn.Module) -> None:
        """Measure the statistics."""
        assert isinstance(network, ConditionStatistics | LatentStatistics)
        network.load_state_dict(type(network).measure(self._draw(0)).state_dict())

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on another sample: the distance of its mean in units of the spread, and the prior's term over D (near 1).

        ``prior_term`` is the mean over latents, ``prior_term_99`` the 99th percentile.
        """
        assert isinstance(network, ConditionStatistics | LatentStatistics)
        latents = self._draw(1)
        shift = (latents.double().mean(0) - network.mean).norm() / network.std
        if isinstance(network, ConditionStatistics):
            term = network.prior(latents[:, None]) / latents.shape[1]
        else:
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
