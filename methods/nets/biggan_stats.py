"""Statistics of the conditions of a BigGAN: what :class:`invbench.methods.nets.latent_stats.LatentStatistics` is for W."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RIDGE = 0.01  # share of the mean variance, as for W: a few classes span less than their embedding's space


class ConditionStatistics(nn.Module):
    """Statistics of conditions (z, embedding of a class), z truncated normal, random classes.

    mean          float32 [D]
    std           float32 scalar, root of the mean squared distance from the mean
    prior_factor  float32 [D, D], lower triangular, of the inverse covariance, such that the term of a random condition is D in
                  the mean. For z this is nearly the identity: the prior is the squared length of z, as z itself is drawn; W's
                  leaky ReLU has no part in it.
    """

    mean: Tensor
    std: Tensor
    prior_factor: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("prior_factor", torch.eye(dim))

    @classmethod
    def measure(cls, conditions: Tensor) -> ConditionStatistics:
        """``conditions`` [M, D], M much larger than D; all sums in float64.

        Raises ValueError if they are not such a matrix, are not finite or do not vary.
        """
        if conditions.ndim != 2 or len(conditions) < 2:
            raise ValueError(f"conditions: expected shape [M, D] with M of 2 and more, found {tuple(conditions.shape)}")
        c = conditions.double()
        mean = c.mean(0)
        offset = c - mean
        distance = offset.square().sum(1).mean().sqrt()
        if not torch.isfinite(distance) or distance == 0:
            raise ValueError(f"conditions: expected finite rows that differ, found a spread of {distance.item()}")
        identity = torch.eye(c.shape[1], dtype=torch.float64, device=c.device)
        covariance = offset.T @ offset / (len(c) - 1)
        root = torch.linalg.cholesky(covariance + RIDGE * covariance.diagonal().mean() * identity)
        factor = torch.linalg.solve_triangular(root, identity, upper=False)
        term = (offset @ factor.T).square().sum(1).mean()
        stats = cls(c.shape[1])
        stats.mean, stats.std = mean.float(), distance.float()
        stats.prior_factor = (factor * (c.shape[1] / term).sqrt()).float()
        return stats

    def prior(self, latents: Tensor) -> Tensor:
        """Sum over the L latents [N, L, D] of the squared length of ``prior_factor (c - mean)`` -> [N]."""
        return ((latents - self.mean) @ self.prior_factor.T).square().sum((1, 2))
