"""The discriminator of true and encoded W codes in e4e's training (Tov et al. 2021, section 4.1.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentDiscriminator(nn.Module):
    """Latent codes [N, w_dim] -> logits [N], high for codes that look like mapping(z).

    Linear layers with leaky ReLU 0.2 between; module names of omertov/encoder4editing (``mlp.0`` to ``mlp.6``).
    """

    def __init__(self, w_dim: int = 512, *, layers: int = 4) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for _ in range(layers - 1):
            modules += [nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2)]
        self.mlp = nn.Sequential(*modules, nn.Linear(w_dim, 1))

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [N, w_dim] -> logits [N]."""
        logits: Tensor = self.mlp(latents)[:, 0]
        return logits


class LatentPool(nn.Module):
    """A history of codes: half of the discriminator's input is replaced by older codes (Shrivastava et al. 2017).

    Kept in buffers, so that a resumed training continues with the same history.
    """

    def __init__(self, w_dim: int, *, size: int = 50) -> None:
        super().__init__()
        self.codes = nn.Buffer(torch.zeros(size, w_dim))
        self.filled = nn.Buffer(torch.zeros((), dtype=torch.int64))

    def exchange(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        """``latents`` [N, w_dim] -> [N, w_dim]: with probability 1/2 each code is swapped with a stored one."""
        shown = []
        for code in latents.detach():
            filled = int(self.filled)
            if filled < len(self.codes):
                self.codes[filled] = code
                self.filled.add_(1)
                shown.append(code)
            elif torch.rand((), generator=generator) < 0.5:
                slot = int(torch.randint(filled, (), generator=generator))
                shown.append(self.codes[slot].clone())
                self.codes[slot] = code
            else:
                shown.append(code)
        return torch.stack(shown)
