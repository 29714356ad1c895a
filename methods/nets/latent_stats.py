"""Statistics of W: its mean, its spread, and a Gaussian prior."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from invbench.methods.common.losses import gaussian_prior, leaky_inverse

RIDGE = 0.01  # share of the mean variance: a distance of a tenth of the spread from the random latents is not unusual
PRIOR = ("prior_mean", "prior_factor")


class LatentStatistics(nn.Module):
    """Statistics of the latents w = mapping(z), z standard normal.

    mean          float32 [D]
    std           float32 scalar, root of the mean squared distance from the mean (NVlabs/stylegan2-ada-pytorch, projector)
    prior_mean    float64 [D], prior_factor float64 [D, D], lower triangular: Gaussian of ``leaky_inverse(w)``, as
                  ``gaussian_prior`` takes it. The mean is that of w, passed through the same function, as in
                  adobe-research/sam_inversion. The factor is that of the inverse covariance, and its scale such that the
                  term of a random latent is D in the mean.

    A well-conditioned covariance gives such a term by itself. If random latents fill only a subspace (a mapping network with
    few inputs, or of low rank), the inverse consists of rounding errors, and a small distance of an encoder's latents from the
    subspace costs millions. Therefore a ridge of ``RIDGE`` times the mean variance of a coordinate is added, and the scale is
    set; the released code adds 1e-8 for any spread. Both departures are small for a well-conditioned covariance.
    """

    mean: Tensor
    std: Tensor
    prior_mean: Tensor
    prior_factor: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("prior_mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("prior_factor", torch.eye(dim, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LatentStatistics:
        """Move the statistics to another device; the prior stays float64 whatever the rest is cast to."""
        kept = {name: getattr(self, name) for name in PRIOR}
        super()._apply(fn, recurse)
        for name, value in kept.items():
            setattr(self, name, value.to(self.mean.device))
        return self

    @classmethod
    def measure(cls, latents: Tensor) -> LatentStatistics:
        """``latents`` [M, D], M much larger than D; all sums in float64.

        Raises ValueError if they are not such a matrix, are not finite or do not vary.
        """
        if latents.ndim != 2 or len(latents) < 2:
            raise ValueError(f"latents: expected shape [M, D] with M of 2 and more, found {tuple(latents.shape)}")
        w = latents.double()
        count, dim = w.shape
        mean = w.mean(0)
        distance = (w - mean).square().sum(1).mean().sqrt()
        if not torch.isfinite(distance) or distance == 0:
            raise ValueError(f"latents: expected finite rows that differ, found a spread of {distance.item()}")
        stats = cls(dim)
        stats.mean, stats.std = mean.float(), distance.float()
        stats.prior_mean = leaky_inverse(mean)
        v = leaky_inverse(w)
        covariance = (v - v.mean(0)).T @ (v - v.mean(0)) / (count - 1)
        identity = torch.eye(dim, dtype=torch.float64, device=w.device)
        root = torch.linalg.cholesky(covariance + RIDGE * covariance.diagonal().mean() * identity)
        stats.prior_factor = torch.linalg.solve_triangular(root, identity, upper=False)
        term = gaussian_prior(w[:, None], stats.prior_mean, stats.prior_factor).mean()
        stats.prior_factor = stats.prior_factor * (dim / term).sqrt()
        return stats
