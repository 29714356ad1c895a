"""The style vectors of a generator, and how far those of a latent point from those of random latents: LSAP's distance.

Cao et al., "LSAP", 2022 (caopulan/GANInverter). A style vector is what a layer's affine map makes of a latent. LSAP takes those
of all convolutions and of the *last* ToRGB, L in all; the i-th comes from the i-th latent vector. The anchor of a layer is the
mean of the normalised style vectors of random latents, which is not normalised again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invbench.methods.nets.equalised import EqualLinear
from invbench.methods.nets.stylegan2 import Generator

SAMPLES, SEED = 100_000, 0  # the number is published
BATCH = 1000


class StyleSpace(nn.Module):
    """Affine maps and anchors of the L layers. ``forward(latents)`` takes [N, L, D] and gives, [N, L], the inner product of
    each normalised style vector with the anchor of its layer: at most the anchor's length, below 1.

    w_dim   D
    widths  length of the style vector of each layer
    """

    def __init__(self, w_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.affines = nn.ModuleList(EqualLinear(w_dim, width, bias_init=1.0) for width in widths)
        self.anchors = nn.ParameterList(torch.zeros(width) for width in widths)

    def styles(self, latents: Tensor) -> list[Tensor]:
        """The normalised style vectors [N, C_i] of latents [N, k, D], of the first k layers."""
        return [nn.functional.normalize(self.affines[i](latents[:, i]), dim=1) for i in range(latents.shape[1])]

    def forward(self, latents: Tensor) -> Tensor:
        """Inner products [N, k] of latents [N, k, D], of the first k layers."""
        return torch.stack([style @ self.anchors[i] for i, style in enumerate(self.styles(latents))], dim=1)

    def distance(self, latents: Tensor) -> Tensor:
        """NSCD of latents [N, L, D]: 1 minus the mean inner product over all layers -> [N], in [0, 2]."""
        return 1 - self(latents).mean(1)


@torch.no_grad()
def measure(
    generator: Generator, *, samples: int = SAMPLES, seed: int = SEED
) -> tuple[StyleSpace, dict[str, int | list[int]]]:
    """The style space of a generator with the anchors of ``samples`` random latents, and the configuration that builds it.

    Sums are in float64. Raises ValueError if the generator's layers do not use one latent vector each.
    """
    index = generator.synthesis.style_index
    last = max(generator.synthesis.resolutions)
    layers = sorted((name for name in index if not name.endswith("torgb") or name == f"b{last}.torgb"), key=index.__getitem__)
    if [index[name] for name in layers] != list(range(generator.num_ws)):
        raise ValueError(f"generator: expected a layer for each of {generator.num_ws} latent vectors, found {layers}")
    affines = [generator.synthesis.get_submodule(f"{name}.affine") for name in layers]
    widths = [affine.get_parameter("weight").shape[0] for affine in affines]
    space = StyleSpace(generator.w_dim, widths)
    for own, affine in zip(space.affines, affines, strict=True):
        own.load_state_dict(affine.state_dict())
    draw, done = torch.Generator().manual_seed(seed), 0
    sums = [torch.zeros(len(anchor), dtype=torch.float64) for anchor in space.anchors]
    while done < samples:
        latents = generator.sample_w(min(BATCH, samples - done), generator=draw).cpu()
        for total, style in zip(sums, space.styles(latents[:, None].expand(-1, generator.num_ws, -1)), strict=True):
            total += style.double().sum(0)
        done += len(latents)
    for anchor, total in zip(space.anchors, sums, strict=True):
        anchor.copy_(total / samples)
    return space.eval().requires_grad_(False), {"w_dim": generator.w_dim, "widths": widths}
