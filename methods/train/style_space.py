"""Style vectors of the trained generator and their anchors (invbench.methods.nets.style_space); measured, not trained."""

from __future__ import annotations

import torch
from torch import nn

from invbench.methods.nets.style_space import measure
from invbench.methods.train.common import Recipe, Step, step_generator
from invbench.methods.train.frozen import load_frozen

RECIPES = {
    "style_space": {
        "minutes": 0.0,
        "seed": 0,
        "help": "style vectors of the generator and LSAP's anchors; needs the generator",
        "options": {"samples": 100_000},
    }
}


class Training(Recipe):
    """Measures the anchors on ``samples`` latents, as many as published; there are no training steps."""

    def __init__(self, *, seed: int, device: torch.device | str, samples: int):
        self.generator = load_frozen("generator", device=device)
        self.seed = seed
        self.network, self.config = measure(self.generator, samples=samples, seed=seed)
        self.float32 = tuple(self.network.state_dict())  # the distances are small differences
        self.heads, self.optimisers = nn.ModuleDict(), []

    def step(self, index: int, progress: float) -> Step:
        raise RuntimeError("style_space: nothing to train; give it no minutes")

    def validate(self, network: nn.Module) -> dict[str, float]:
        """The distance of other random latents: its mean, and its 99th percentile."""
        latents = self.generator.sample_w(2000, generator=step_generator(self.seed, 0, 1)).cpu()
        distance = network.distance(self.generator.repeat(latents)).double()  # type: ignore[operator]
        return {"distance": float(distance.mean()), "distance_99": float(distance.quantile(0.99))}
