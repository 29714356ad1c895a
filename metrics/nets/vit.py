"""Vision transformers under the names of DINO and DINOv2 (facebookresearch/dino, facebookresearch/dinov2; Apache-2.0).

The CLIP networks that DreamSim ships have the same names, one normalisation more and another activation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.api import InvbenchError

HEAD = 64  # channels of an attention head, in all networks of this kind
OFFSET = 0.1  # added to the number of patches where positions are interpolated; part of the published networks


class VisionTransformer(nn.Module):
    """Tokens of a picture, the first of which stands for the whole.

    width, depth  channels of a token, number of blocks
    patch         side of a patch in pixels
    positions     number of patches whose positions were trained, a square; other sizes are interpolated
    scaled        whether each branch of a block has trained scales (DINOv2)
    masked        whether the file has the token of masked patches, which only training uses (DINOv2)
    first         whether the tokens are normalised before the first block (CLIP)
    quick         whether the activation is x * sigmoid(1.702 x) (OpenAI's CLIP) instead of GELU
    eps           of all normalisations
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        patch: int,
        positions: int,
        scaled: bool = False,
        masked: bool = False,
        first: bool = False,
        quick: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + positions, width))
        if masked:
            self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.pos_drop: nn.Module = nn.LayerNorm(width, eps=eps) if first else nn.Identity()
        self.blocks = nn.ModuleList(Block(width, scaled=scaled, quick=quick, eps=eps) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=eps)

    def tokens(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W], sides multiples of the patch -> tokens [N, 1 + patches, width] of the last block.

        They are not yet normalised by ``norm``. Raises ValueError on other sides.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % self.patch or images.shape[3] % self.patch:
            raise ValueError(f"images: expected [N, 3, H, W], sides multiples of {self.patch}, found {tuple(images.shape)}")
        patches = self.patch_embed.proj(images)  # type: ignore[operator]
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        x = self.pos_drop(x + self._positions(*patches.shape[2:]))
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Images as for :meth:`tokens` -> the normalised first token [N, width]."""
        return self.norm(self.tokens(images)[:, 0])

    def _positions(self, height: int, width: int) -> Tensor:
        """[1, 1 + height * width, C], bicubic from the trained square if that is another."""
        own, places = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = math.isqrt(places.shape[1])
        if (height, width) == (side, side):
            return self.pos_embed
        grid = places.transpose(1, 2).unflatten(2, (side, side))
        scale = ((height + OFFSET) / side, (width + OFFSET) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat([own, grid.flatten(2).transpose(1, 2)], 1)


class Block(nn.Module):
    """Attention and a two-layer perceptron, each added to its input after a normalisation before it."""

    def __init__(self, width: int, *, scaled: bool, quick: bool, eps: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attn = nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.ls1, self.ls2 = (Scale(width) if scaled else nn.Identity() for _ in range(2))
        self.quick = quick

    def forward(self, x: Tensor) -> Tensor:
        """x [N, T, C] -> the same shape."""
        x = x + self.ls1(self._attention(self.norm1(x)))
        hidden = self.mlp.fc1(self.norm2(x))  # type: ignore[operator]
        hidden = hidden * torch.sigmoid(1.702 * hidden) if self.quick else F.gelu(hidden)
        return x + self.ls2(self.mlp.fc2(hidden))  # type: ignore[operator]

    def _attention(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.attn.qkv(x).view(n, t, 3, c // HEAD, HEAD).permute(2, 0, 3, 1, 4)  # type: ignore[operator]
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.attn.proj(mixed.transpose(1, 2).reshape(n, t, c))  # type: ignore[operator]


class Scale(nn.Module):
    """One trained factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., C] -> the same shape."""
        return x * self.gamma


def shape_of(state: Mapping[str, Tensor], *, source: str) -> dict[str, int]:
    """Width, depth, patch and positions that the tensors of a file show.

    Raises InvbenchError naming ``source`` if it is no such file.
    The keys that it reads are ``patch_embed.proj.weight``, ``pos_embed`` and ``blocks.N.*``; all others are checked by whoever
    loads the network.
    """
    for key, axes in (("patch_embed.proj.weight", 4), ("pos_embed", 3)):
        if key not in state or state[key].ndim != axes:
            found = f"shape {list(state[key].shape)}" if key in state else f"the keys {', '.join([*state][:5])}"
            raise InvbenchError(f"{source}: expected a vision transformer with {key!r} of {axes} axes, found {found}")
    weight, numbers = state["patch_embed.proj.weight"], [re.match(r"blocks\.(\d+)\.", key) for key in state]
    depth = 1 + max((int(match[1]) for match in numbers if match), default=-1)
    width, positions = int(weight.shape[0]), int(state["pos_embed"].shape[1]) - 1
    if width % HEAD or not depth or math.isqrt(max(positions, 0)) ** 2 != positions:
        raise InvbenchError(
            f"{source}: expected a width that is a multiple of {HEAD}, blocks, and a square of positions, "
            f"found width {width}, {depth} blocks and {positions} positions"
        )
    return {"width": width, "depth": depth, "patch": int(weight.shape[2]), "positions": positions}
