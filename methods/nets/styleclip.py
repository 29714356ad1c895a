"""StyleCLIP's mapper networks (Patashnik et al., ICCV 2021; orpatashnik/StyleCLIP), with their parameter names.

Each group of layers has a network of its own: coarse 0 to 3, medium 4 to 7, fine the rest; a group that the file lacks moves
nothing. The normalisation at the entry runs over the *layers* of the group, as the published code has it on [N, n, D].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invbench.methods.nets.equalised import EqualLinear, scaled_leaky_relu

DEPTH, RATE = 4, 0.01  # layers, and the multiplier of their learning rate
GROUPS = {"course_mapping": (0, 4), "medium_mapping": (4, 8), "fine_mapping": (8, None)}  # spelling of the published files
SINGLE = "mapping"  # of the form with one network for all layers


class LayerNorm(nn.Module):
    """x [N, n, D] over the root mean square of its n layers."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, n, D] -> [N, n, D]."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Activated(EqualLinear):
    """A linear layer, then leaky ReLU of slope 0.2 times sqrt(2)."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return scaled_leaky_relu(super().forward(x))


class Mapping(nn.Module):
    """The network of a group."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(LayerNorm(), *(Activated(dim, dim, lr_multiplier=RATE) for _ in range(DEPTH)))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, n, D] -> [N, n, D]."""
        found: Tensor = self.mapping(x)
        return found


class Mapper(nn.Module):
    """W+ [N, L, D] -> offsets [N, L, D]; ``groups``: names of the networks that it has."""

    def __init__(self, dim: int, groups: tuple[str, ...] = tuple(GROUPS)) -> None:
        super().__init__()
        self.groups = tuple(groups)
        for name in self.groups:
            self.add_module(name, Mapping(dim))

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [N, n, D] -> what the mapper adds to them, [N, n, D]; 0 in the layers that it has no part for."""
        if SINGLE in self.groups:
            whole: Tensor = self.get_submodule(SINGLE)(latents)
            return whole
        parts = [
            self.get_submodule(name)(latents[:, first:end]) if name in self.groups else torch.zeros_like(latents[:, first:end])
            for name, (first, end) in GROUPS.items()
        ]
        return torch.cat(parts, dim=1)
