"""The face parser of procfaces; out-of-domain extras have their own class, as hats and earrings do in CelebAMask-HQ."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.datasets.procfaces import PARSING_CLASSES, render_split, sample_factors
from invbench.methods.train.common import Recipe, Step, cosine, descend, muon_and_adam, seeded, step_generator, step_rng
from invbench.methods.train.renders import as_images, draw, rendered, softened, some_extras
from invbench.metrics.nets.parser import Parser

RECIPES = {"parser": {"minutes": 4.0, "seed": 51, "help": "parsing map of a picture", "options": {}}}

BATCH = 16
OCCLUDED = 0.5
VALIDATION = 90_000


class Training(Recipe):
    """Cross-entropy at every pixel of mildly degraded renders, half of them with out-of-domain extras."""

    def __init__(self, *, seed: int, device: torch.device | str) -> None:
        self.seed, self.device = seed, device
        self.config: dict[str, Any] = {"classes": list(PARSING_CLASSES), "widths": [32, 48, 64, 64]}
        with seeded(seed):
            self.network = Parser(**self.config).to(device)
        self.heads = nn.Identity()
        body = nn.ModuleList(module for name, module in self.network.named_children() if name != "head")
        self.optimisers = muon_and_adam(body, self.network.head)

    def step(self, index: int, progress: float) -> Step:
        batch = draw(step_rng(self.seed, index), BATCH, self.device, occluded=OCCLUDED)
        images = softened(batch.images, step_generator(self.seed, index, device=self.device))
        loss = F.cross_entropy(self.network(images), batch.parsing)
        descend(loss, self.optimisers, cosine(progress))
        return Step(images=BATCH, losses={"entropy": float(loss.detach())})

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Pixel accuracy, mean IoU and IoU of every class: on the split "val", and on 300 new faces with extras ("ood")."""
        val = render_split("val")
        pictures = as_images(val.images, self.device)
        rng = step_rng(self.seed, VALIDATION)
        u = sample_factors(rng, 300)
        hidden = rendered(u, some_extras(rng, u, 1.0), self.device)
        figures: dict[str, float] = {}
        for label, images, truth in (
            ("val", pictures, torch.from_numpy(val.parsing).to(self.device).long()),
            ("ood", hidden.images, hidden.parsing),
        ):
            found = torch.cat([network(part).argmax(1) for part in images.split(64)])
            overlap = iou(found, truth, len(PARSING_CLASSES))
            figures[f"accuracy_{label}"] = float((found == truth).double().mean())
            figures[f"miou_{label}"] = float(np.nanmean(overlap))
            present = [(name, value) for name, value in zip(PARSING_CLASSES, overlap, strict=True) if not np.isnan(value)]
            figures |= {f"iou_{name}_{label}": float(value) for name, value in present}
        return figures


def iou(found: Tensor, truth: Tensor, classes: int) -> np.ndarray:
    """Intersection over union of each class over all pixels of two label maps -> float64 [classes], in [0, 1].

    NaN for a class that is absent from ``truth``; its false pixels count against the classes that they replace.
    """
    counts = torch.bincount((truth * classes + found).flatten(), minlength=classes * classes).view(classes, classes)
    table = counts.double().cpu().numpy()
    union = table.sum(0) + table.sum(1) - np.diag(table)
    with np.errstate(invalid="ignore"):
        return np.where(table.sum(1) > 0, np.diag(table) / union, np.nan)
