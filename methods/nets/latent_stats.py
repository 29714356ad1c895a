"""What is known of W before any image is seen: its mean, its spread, and a Gaussian prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invbench.methods.common.losses import leaky_inverse


class LatentStatistics(nn.Module):
    """Statistics of the latents w = mapping(z), z standard normal.

    mean             [D]
    std              scalar, square root of the mean squared distance from the mean (NVlabs/stylegan2-ada-pytorch, projector)
    prior_mean       [D], prior_precision [D, D]: Gaussian of ``leaky_inverse(w)``; the mean is that of w, passed through
                     the same function, as in adobe-research/sam_inversion
    """

    mean: Tensor
    std: Tensor
    prior_mean: Tensor
    prior_precision: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("prior_mean", torch.zeros(dim))
        self.register_buffer("prior_precision", torch.eye(dim))

    @classmethod
    def measure(cls, latents: Tensor) -> LatentStatistics:
        """``latents`` [M, D], M much larger than D; sums and the inverse in float64."""
        w = latents.double()
        stats = cls(w.shape[1])
        stats.mean = w.mean(0)
        stats.std = (w - stats.mean).square().sum(1).mean().sqrt()
        covariance = torch.cov(leaky_inverse(w).T) + 1e-8 * torch.eye(w.shape[1], dtype=torch.float64)
        stats.prior_mean = leaky_inverse(stats.mean)
        stats.prior_precision = torch.linalg.inv(covariance)
        return stats.float()
