"""The classifier of binary attributes, for labels of edit directions and for the leakage of edits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.datasets.procfaces import FACTORS, INDEX, render_split, split
from invbench.methods.train.common import Recipe, Step, cosine, descend, muon_and_adam, seeded, step_generator, step_rng
from invbench.methods.train.renders import as_images, draw, softened
from invbench.metrics.nets.attributes import Attributes

RECIPES = {"attributes": {"minutes": 4.0, "seed": 31, "help": "binary attributes of a picture", "options": {}}}

BATCH = 16
OCCLUDED = 0.2
# attribute -> (factor, threshold in the factor's unit, whether the attribute means above it)
ATTRIBUTES: dict[str, tuple[str, float, bool]] = {
    "smiling": ("smile", 0.5, True),
    "eyes_open": ("eye_openness", 0.5, True),
    "old": ("age", 45.0, True),
    "facing_left": ("yaw", 0.0, False),
    "looking_left": ("gaze", 0.0, False),
    "dark_hair": ("hair_lightness", 0.61, False),
    "long_hair": ("hair_length", 31.0, True),
    "dark_skin": ("skin_tone", 0.5, True),
    "dark_clothes": ("clothes_lightness", 0.675, False),
    "bright_background": ("background_lightness", 0.775, True),
}


class Training(Recipe):
    """Binary cross-entropy on mildly degraded renders; the labels come from the factors."""

    def __init__(self, *, seed: int, device: torch.device | str) -> None:
        self.seed, self.device = seed, device
        factors = [FACTORS[INDEX[factor]] for factor, _, _ in ATTRIBUTES.values()]
        thresholds = [threshold for _, threshold, _ in ATTRIBUTES.values()]
        self.config: dict[str, Any] = {
            "names": list(ATTRIBUTES),
            "factors": [factor.name for factor in factors],
            "thresholds": [(t - f.low) / (f.high - f.low) for t, f in zip(thresholds, factors, strict=True)],
            "above": [above for _, _, above in ATTRIBUTES.values()],
        }
        with seeded(seed):
            self.network = Attributes(**self.config).to(device)
        self.heads = nn.Identity()
        self.optimisers = muon_and_adam(self.network.trunk, self.network.head)

    def step(self, index: int, progress: float) -> Step:
        batch = draw(step_rng(self.seed, index), BATCH, self.device, occluded=OCCLUDED)
        images = softened(batch.images, step_generator(self.seed, index, device=self.device))
        loss = F.binary_cross_entropy_with_logits(self.network(images), self._labels(batch.u))
        descend(loss, self.optimisers, cosine(progress))
        return Step(images=BATCH, losses={"entropy": float(loss.detach())})

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Accuracy of every attribute on the split "val"."""
        pictures = as_images(render_split("val").images, self.device)
        logits = torch.cat([network(part) for part in pictures.split(64)])
        labels = self._labels(torch.from_numpy(split("val").u.copy()).to(self.device))
        right = ((logits > 0) == (labels > 0.5)).double().mean(0).tolist()
        return {"accuracy_mean": sum(right) / len(right)} | {
            f"accuracy_{name}": value for name, value in zip(ATTRIBUTES, right, strict=True)
        }

    def _labels(self, u: Tensor) -> Tensor:
        """Factors [N, K] -> labels [N, A], 0 or 1."""
        chosen = u[:, [INDEX[factor] for factor in self.config["factors"]]]
        exceeds = chosen > torch.tensor(self.config["thresholds"], dtype=u.dtype, device=u.device)
        return (exceeds == torch.tensor(self.config["above"], device=u.device)).float()
