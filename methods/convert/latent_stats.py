"""Statistics of W of an official generator; published files lack them, so they are computed from a fixed sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.nets.stylegan2 import Generator

SAMPLES, SEED = 10_000, 123  # as in the projector of NVlabs/stylegan2-ada-pytorch
BATCH = 1000


@torch.no_grad()
def measure(
    generator: Generator, *, samples: int = SAMPLES, seed: int = SEED
) -> tuple[LatentStatistics, dict[str, Any]]:
    """Mean, spread and Gaussian prior of w = mapping(z), and the configuration that builds such a network.

    The z are those of NVlabs' projector: float64 normal draws of ``numpy.random.RandomState(seed)``, rounded to float32.
    Other code draws differently: 5,000 samples for the prior in adobe-research/sam_inversion, 10,000 without a seed in the
    encoder papers. The mean is that of the sample, not the moving average in the file.
    """
    z = np.random.RandomState(seed).randn(samples, generator.z_dim)
    drawn = torch.from_numpy(z).to(generator.mean_latent)
    latents = torch.cat([generator.mapping(part) for part in drawn.split(BATCH)])
    return LatentStatistics.measure(latents.cpu()), {"dim": generator.w_dim}
