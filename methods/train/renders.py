"""Training pictures, rendered when needed, and distortions that the networks must tolerate or measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invbench.datasets.procfaces import Extras, render, sample_extras, sample_factors

DISTORTIONS = ("blur", "noise", "colour", "contrast", "pixelate", "warp", "patch")
MAX_SHIFT = 0.05  # largest displacement of a warp, as a share of half the picture


@dataclass(frozen=True)
class Batch:
    """images float32 [N, 3, H, W] in [-1, 1]; parsing int64 [N, H, W]; u float32 [N, K] in [0, 1]; ood bool [N, 1, H, W]."""

    images: Tensor
    parsing: Tensor
    u: Tensor
    ood: Tensor


def rendered(u: np.ndarray, extras: Sequence[Extras | None] | None, device: torch.device | str) -> Batch:
    """Render factors u [N, K] in [0, 1] as a batch of tensors."""
    pictures = render(u, extras=extras)
    return Batch(
        images=as_images(pictures.images, device),
        parsing=torch.from_numpy(pictures.parsing).to(device).long(),
        u=torch.tensor(u, dtype=torch.float32, device=device),
        ood=torch.from_numpy(pictures.ood_mask).to(device)[:, None],
    )


def as_images(pictures: np.ndarray, device: torch.device | str) -> Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W] in [-1, 1]."""
    return (torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0).contiguous()


def draw(rng: np.random.Generator, n: int, device: torch.device | str, *, occluded: float = 0.0) -> Batch:
    """A batch of n random faces; each has out-of-domain extras with probability ``occluded``."""
    u = sample_factors(rng, n)
    return rendered(u, some_extras(rng, u, occluded), device)


def some_extras(rng: np.random.Generator, u: np.ndarray, share: float) -> list[Extras | None]:
    """Extras for the faces u [N, K]; each face has some with probability ``share``, else None."""
    return [sample_extras(rng, row) if rng.random() < share else None for row in u]


def softened(images: Tensor, generator: torch.Generator, *, share: float = 0.5) -> Tensor:
    """Images [N, 3, H, W], a ``share`` of them mildly blurred and noisy like images of a generator; the same shape."""
    n, device = len(images), images.device
    chosen = torch.rand((n, 1), generator=generator, device=device) < share
    severity = torch.rand((n, 2), generator=generator, device=device) * chosen
    noise = torch.randn(images.shape, generator=generator, device=device)
    return blurred(images, 0.5 * severity[:, 0]) + 0.08 * severity[:, 1].view(n, 1, 1, 1) * noise


@dataclass(frozen=True)
class Distortion:
    """One draw of every distortion for N images; the severities [N, len(DISTORTIONS)] in [0, 1] are chosen at application.

    Of two pictures with the same draw, the one with the higher severities is always worse.
    """

    noise: Tensor  # [N, 3, H, W]
    colour: Tensor  # [N, 3, 1, 1] in [-1, 1]
    contrast: Tensor  # [N, 1, 1, 1], -1 or 1
    shift: Tensor  # [N, 2, h, w] in [-1, 1]
    corner: Tensor  # [N, 2], upper left corner of the patch, in pixels
    size: Tensor  # [N, 2], sides of the patch, in pixels
    patch: Tensor  # [N, 3, 1, 1] in [-1, 1]

    @classmethod
    def draw(cls, images: Tensor, generator: torch.Generator) -> Distortion:
        """Draw random parameters for images [N, 3, H, W]."""
        n, _, height, width = images.shape

        def uniform(*shape: int) -> Tensor:
            return torch.rand((n, *shape), generator=generator, device=images.device) * 2.0 - 1.0

        extent = torch.tensor([height, width], device=images.device)
        return cls(
            noise=torch.randn(images.shape, generator=generator, device=images.device),
            colour=uniform(3, 1, 1),
            contrast=uniform(1, 1, 1).sign(),
            shift=uniform(2, 4, 4),
            corner=(0.5 + 0.5 * uniform(2)) * 0.8 * extent,
            size=(0.15 + 0.1 * uniform(2)) * extent,
            patch=uniform(3, 1, 1),
        )

    def apply(self, images: Tensor, severity: Tensor) -> Tensor:
        """Images [N, 3, H, W] distorted by ``severity`` [N, len(DISTORTIONS)] in [0, 1]; 0 leaves them unchanged."""
        n, _, height, width = images.shape
        blur, noise, colour, contrast, pixelate, warp, patch = (s.view(n, 1, 1, 1) for s in severity.unbind(1))
        shift = F.interpolate(self.shift * warp * MAX_SHIFT, size=(height, width), mode="bicubic", align_corners=False)
        plain = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
        grid = F.affine_grid(plain, list(images.shape), align_corners=False) + shift.permute(0, 2, 3, 1)
        moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        out = torch.where(warp > 0, moved, images)
        out = out.lerp(self.patch.expand_as(out), patch * self._inside_patch(height, width).float())
        coarse = F.interpolate(F.avg_pool2d(out, 4), scale_factor=4.0, mode="nearest")
        out = blurred(out.lerp(coarse, 0.7 * pixelate), blur.view(n))
        out = out * (1.0 + 0.4 * contrast * self.contrast) + 0.35 * colour * self.colour + 0.25 * noise * self.noise
        return out.clamp(-1.0, 1.0)

    def _inside_patch(self, height: int, width: int) -> Tensor:
        """Mask of the patch, bool [N, 1, H, W]."""
        y = torch.arange(height, device=self.corner.device).view(1, -1, 1)
        x = torch.arange(width, device=self.corner.device).view(1, 1, -1)
        end = self.corner + self.size
        rows = (y >= self.corner[:, 0].view(-1, 1, 1)) & (y < end[:, 0].view(-1, 1, 1))
        columns = (x >= self.corner[:, 1].view(-1, 1, 1)) & (x < end[:, 1].view(-1, 1, 1))
        return (rows & columns)[:, None]


def blurred(images: Tensor, severity: Tensor) -> Tensor:
    """Images [N, 3, H, W] blurred by ``severity`` [N] in [0, 1]: from no blur to a binomial filter of variance 4 pixels."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16.0
    filters = kernel.expand(3, 1, 1, 5)
    smooth = images
    for _ in range(4):
        smooth = F.conv2d(F.pad(smooth, (2, 2, 0, 0), mode="replicate"), filters, groups=3)
        smooth = F.conv2d(F.pad(smooth, (0, 0, 2, 2), mode="replicate"), filters.transpose(2, 3), groups=3)
    return images.lerp(smooth, severity.view(-1, 1, 1, 1))
