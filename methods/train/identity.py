"""The identity networks of procfaces: one for losses, and one of another architecture and seed for the metric.

Supervised contrastive learning (Khosla et al., NeurIPS 2020) with new identities in every batch: the pictures of an identity
share its identity factors and differ in attributes, light, clothes and background. Half of the identities are siblings that
share half of their identity factors, since unrelated identities are too easy to tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from invbench.datasets.procfaces import FACTORS, sample_factors
from invbench.methods.train.common import Recipe, Step, cosine, descend, muon_and_adam, seeded, step_generator, step_rng
from invbench.methods.train.renders import rendered, softened, some_extras
from invbench.metrics.nets.identity import Identity

RECIPES = {
    "identity": {
        "minutes": 4.0,
        "seed": 41,
        "help": "identity embedding for losses",
        "options": {"architecture": {"widths": [24, 48, 80, 96], "depth": 1, "grid": 4, "embedding": 64}},
    },
    "identity_metric": {
        "minutes": 4.0,
        "seed": 42,
        "help": "identity embedding for the metric id_proc",
        "options": {"architecture": {"widths": [20, 40, 64, 96, 128], "depth": 1, "grid": 2, "embedding": 96}},
    },
}

PEOPLE, VIEWS = 8, 3  # identities in a batch, and pictures of each
TEMPERATURE = 0.1
OCCLUDED = 0.25
VALIDATION = 90_000
IDENTITY = np.array([factor.group == "identity" for factor in FACTORS])


class Training(Recipe):
    """Contrastive training: equal embeddings for pictures of one identity, distant ones for different identities."""

    def __init__(self, *, seed: int, device: torch.device | str, architecture: Mapping[str, Any]) -> None:
        self.seed, self.device = seed, device
        self.config: dict[str, Any] = dict(architecture)
        with seeded(seed):
            self.network = Identity(**self.config).to(device)
        self.heads = nn.Identity()
        self.optimisers = muon_and_adam(self.network)

    def step(self, index: int, progress: float) -> Step:
        rng = step_rng(self.seed, index)
        u = portraits(rng, people(rng, PEOPLE), VIEWS)
        batch = rendered(u, some_extras(rng, u, OCCLUDED), self.device)
        images = softened(batch.images, step_generator(self.seed, index, device=self.device), share=0.3)
        loss = contrastive(self.network(images), torch.arange(PEOPLE, device=self.device).repeat_interleave(VIEWS))
        descend(loss, self.optimisers, cosine(progress))
        return Step(images=PEOPLE * VIEWS, losses={"contrastive": float(loss.detach())})

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Verification of unseen identities: area under the ROC curve and best balanced accuracy.

        Measured against unrelated identities, without and with extras in one picture of each pair, and against siblings.
        """
        rng = step_rng(self.seed, VALIDATION)
        who = people(rng, 400)
        u = portraits(rng, who, 2)
        plain = self._embed(network, rendered(u, None, self.device).images)
        extras = [extra if i % 2 else None for i, extra in enumerate(some_extras(rng, u, 1.0))]
        hidden = self._embed(network, rendered(u, extras, self.device).images)
        siblings = slice(0, len(who) // 2, 2)  # each is next to its sibling
        figures: dict[str, float] = {}
        for label, embeddings in (("strangers", plain), ("occluded", hidden)):
            first, second = embeddings[0::2], embeddings[1::2]
            figures |= verification(label, (first * second).sum(1), (first * second.roll(-2, 0)).sum(1))
        first, second = plain[0::2], plain[1::2]
        same, different = (first * second).sum(1)[siblings], (first * second.roll(-1, 0)).sum(1)[siblings]
        return figures | verification("siblings", same, different)

    @staticmethod
    def _embed(network: nn.Module, images: Tensor) -> Tensor:
        return torch.cat([network(part) for part in images.split(64)])


def people(rng: np.random.Generator, n: int) -> np.ndarray:
    """n identities [n, K], n a multiple of 4; the first half are pairs of siblings, next to each other.

    Only the identity factors have a meaning.
    """
    u = sample_factors(rng, n)
    for i in range(0, n // 2, 2):
        shared = rng.random(u.shape[1]) < 0.5
        u[i + 1, shared] = u[i, shared]
    return u


def portraits(rng: np.random.Generator, identities: np.ndarray, views: int) -> np.ndarray:
    """Factors of ``views`` pictures of each identity [n, K] -> [n * views, K]; all but the identity factors are drawn."""
    u = identities.repeat(views, 0)
    return np.where(IDENTITY, u, sample_factors(rng, len(u)))


def contrastive(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Supervised contrastive loss of unit embeddings [N, E] with labels [N] (Khosla et al. 2020, the mean outside the log)."""
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    similarity = (embeddings @ embeddings.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    logs = F.log_softmax(similarity, dim=1).masked_fill(itself, 0.0)
    same = (labels[:, None] == labels) & ~itself
    return -((logs * same).sum(1) / same.sum(1)).mean()


def verification(label: str, same: Tensor, different: Tensor) -> dict[str, float]:
    """AUC and best balanced accuracy of separating the similarities [P] of equal pairs from [Q] of different pairs."""
    scores = torch.cat([same, different]).double().cpu().numpy()
    truth = np.repeat([1, 0], [len(same), len(different)])
    false, true, _ = roc_curve(truth, scores)
    return {
        f"auc_{label}": float(roc_auc_score(truth, scores)),
        f"accuracy_{label}": float((0.5 * (true + 1.0 - false)).max()),
        f"similarity_same_{label}": float(same.double().mean()),
        f"similarity_different_{label}": float(different.double().mean()),
    }
