"""HyperStyle's hypernetwork: Alaluf et al., CVPR 2022 (yuval-alaluf/hyperstyle).

It sees six channels, the picture and what the generator draws at present, and gives for each convolution to tune a change
Delta of its weights, which become W (1 + Delta). The default arguments give the published network for faces, with the module
names of the public file; there the hypernetwork that the widest layers share is stored once more under each of them.

Layers have the numbers of the public code: 0 conv1, 1 to_rgb1, then for each resolution up-convolution, convolution, ToRGB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.encoders import resized
from invbench.methods.nets.equalised import EqualLinear
from invbench.methods.nets.restyle import BACKBONES, RESNET34
from invbench.methods.nets.stylegan2_config import official_channels

TAPS = 3  # of a convolution that is tuned, along each axis
INITIAL = 40  # the shared matrices begin as normal numbers divided by this, modulo 2


def layer_names(resolution: int) -> list[str]:
    """Names of all layers in the order of their numbers: 26, 23 and 20 for 1024, 512 and 256 pixels."""
    found = ["b4.conv1", "b4.torgb"]
    for power in range(3, int(math.log2(resolution)) + 1):
        found += [f"b{2**power}.{layer}" for layer in ("conv0", "conv1", "torgb")]
    return found


def weight_shapes(channels: Mapping[int, int]) -> dict[str, tuple[int, int, int, int]]:
    """Name of a layer -> shape [O, I, k, k] of its weight; ``channels``: resolution -> channels of its features."""
    found = {}
    for name in layer_names(max(channels)):
        block, layer = name.split(".")
        resolution = int(block.removeprefix("b"))
        width = channels[resolution]
        if layer == "torgb":
            found[name] = (3, width, 1, 1)
        else:
            found[name] = (width, channels[resolution // 2] if layer == "conv0" else width, TAPS, TAPS)
    return found


class SharedHypernetwork(nn.Module):
    """One code [N, code] for each image and layer -> Delta [N, width, width, 3, 3], by two matrices for all such layers."""

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.w1, self.b1 = _initial(code, width * TAPS * TAPS), _initial(width * TAPS * TAPS)
        self.w2, self.b2 = _initial(code, width * code), _initial(width * code)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes [N, code] -> Delta [N, width, width, 3, 3]."""
        rows = torch.addmm(self.b2, codes, self.w2).view(len(codes), self.width, -1)
        return (rows @ self.w1 + self.b1).view(-1, self.width, self.width, TAPS, TAPS)


class SharedBlock(nn.Module):
    """Features [N, C, s, s] -> the code [N, code] from which the shared hypernetwork makes a layer's Delta."""

    def __init__(self, features: int, inner: int, code: int, *, spatial: int) -> None:
        super().__init__()
        first = [nn.Conv2d(features, inner, 3, 1, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*first, *_strided(inner, inner, code, count=int(math.log2(spatial))))
        self.linear = EqualLinear(code, code)

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, C, s, s] -> codes [N, code]."""
        code: Tensor = self.linear(self.convs(features).flatten(1))
        return code


class OwnBlock(nn.Module):
    """Features [N, C, s, s] -> Delta [N, O, I, k, k] of one layer; of a 3x3 layer one number for all taps of a pair (O, I).

    ``separable`` makes the variant of the public code in which Delta of a 3x3 layer is a product of two factors.
    """

    def __init__(self, features: int, inner: int, code: int, *, spatial: int, shape: Sequence[int], separable: bool) -> None:
        super().__init__()
        self.shape = tuple(shape)
        n_out, n_in, taps, _ = shape
        pooled = taps > 1 and not separable
        count = int(math.log2(spatial)) - (1 if pooled else 0)
        self.convs = nn.Sequential(*_strided(features, inner, code, count=max(count, 2)))
        last: nn.Module = SeparableKernel(code, n_in, n_out) if taps > 1 and separable else nn.Conv2d(code, n_in * n_out, 1)
        self.output = nn.Sequential(*([nn.AdaptiveAvgPool2d(1)] if pooled else []), last)

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, C, s, s] -> Delta [N, O, I, k, k]."""
        found = self.output(self.convs(features))
        if found.ndim == 5:
            return found
        n_out, n_in, taps, _ = self.shape
        return found.view(-1, n_out, n_in, 1, 1).expand(-1, -1, -1, taps, taps)


class SeparableKernel(nn.Module):
    """A code [N, code, 1, 1] -> Delta [N, O, I, 3, 3]: for each tap the outer product of two vectors, mixed along both axes."""

    def __init__(self, code: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.make_kernel_in = nn.Linear(code, TAPS * TAPS * n_in)
        self.make_kernel_out = nn.Linear(code, TAPS * TAPS * n_out)
        self.kernel_linear_in = nn.Linear(n_in, n_in)
        self.kernel_linear_out = nn.Linear(n_out, n_out)

    def forward(self, code: Tensor) -> Tensor:
        """Codes [N, code, 1, 1] -> Delta [N, O, I, 3, 3]."""
        code = code.flatten(1)
        into = self.make_kernel_in(code).view(len(code), TAPS, TAPS, 1, -1)
        out = self.make_kernel_out(code).view(len(code), TAPS, TAPS, -1, 1)
        mixed = self.kernel_linear_in(out * into).transpose(3, 4)  # [N, 3, 3, I, O]
        return self.kernel_linear_out(mixed).permute(0, 4, 3, 1, 2)


class HyperStyleNetwork(nn.Module):
    """Pictures and drawings -> Delta of every convolution to tune.

    resolution  of the generator
    channels    resolution -> channels of the generator's features (None = config-f)
    layers      numbers of the layers to tune (None = every convolution but ToRGB, the published default)
    shared      those of them whose Delta comes from the shared hypernetwork (None = 3x3 layers from and to the greatest width)
    separable   the public code's other form of the layers that are not shared
    size        pictures are resized to this many pixels at their longer side; a power of two, at least 64
    stages      (width, blocks) of the ResNet's four stages, which makes 1/16 of the resolution and grows in width
    code        width of a layer's code
    inner       widths between features and code, of shared layers and of others

    Raises ValueError for arguments that the architecture cannot have.
    """

    def __init__(
        self,
        resolution: int = 1024,
        *,
        channels: Mapping[int, int] | None = None,
        layers: Sequence[int] | None = None,
        shared: Sequence[int] | None = None,
        separable: bool = False,
        size: int = 256,
        stages: Sequence[Sequence[int]] = RESNET34,
        code: int = 512,
        inner: Sequence[int] = (128, 256),
    ) -> None:
        super().__init__()
        if size < 64 or size & (size - 1):
            raise ValueError(f"size: expected a power of two of at least 64, found {size}")
        widths = {int(key): value for key, value in (channels or official_channels(resolution)).items()}  # JSON: strings
        shapes = weight_shapes(widths)
        if max(widths) != resolution:
            raise ValueError(f"channels: expected resolutions up to {resolution}, found {max(widths)}")
        names = list(shapes)
        chosen = [i for i, name in enumerate(names) if not name.endswith("torgb")] if layers is None else list(layers)
        wrong = [number for number in chosen if not 0 <= number < len(names)]
        if wrong or not chosen:
            raise ValueError(f"layers: expected numbers from 0 to {len(names) - 1}, found {list(layers or ())}")
        self.resolution, self.size = resolution, size
        self.targets = {f"{names[i]}.weight": shapes[names[i]] for i in chosen}
        """Name of a parameter of the generator's synthesis -> its shape."""
        self._names = {str(i): f"{names[i]}.weight" for i in chosen}
        self.trunk = tuple(modules := BACKBONES["resnet"](stages))
        for name, module in modules.items():
            self.add_module(name, module)
        widest = max(widths.values())
        whole = (widest, widest, TAPS, TAPS)
        common = [i for i in chosen if shapes[names[i]] == whole] if shared is None else [i for i in shared if i in chosen]
        if any(shapes[names[i]] != whole for i in common):
            raise ValueError(f"shared: expected layers with weights of shape {list(whole)}, found {common}")
        self.shared_weight_hypernet = SharedHypernetwork(code, widest)
        features, spatial = stages[-1][0], size >> 4
        self.refinement_blocks = nn.ModuleDict()
        for i in chosen:
            if i in common:
                block: nn.Module = SharedBlock(features, inner[0], code, spatial=spatial)
            else:
                shape = shapes[names[i]]
                block = OwnBlock(features, inner[1], code, spatial=spatial, shape=shape, separable=separable)
            self.refinement_blocks[str(i)] = block

    def last_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the last layer before each Delta: Delta is linear in all of them together."""
        yield from (self.shared_weight_hypernet.w1, self.shared_weight_hypernet.b1)
        for block in self.refinement_blocks.values():
            if isinstance(block, OwnBlock):
                last = block.output[-1]
                yield from (last.kernel_linear_out if isinstance(last, SeparableKernel) else last).parameters()

    def forward(self, images: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """Name of a parameter -> Delta [N, O, I, k, k], by which it becomes W (1 + Delta).

        images  [N, 3, H, W] in [-1, 1]
        drawn   [N, 3, h, w], what the generator draws at present, not clamped
        """
        x = resized(images, self.size)
        # The public code averages what the generator drew (adaptive pooling), and resizes pictures through PIL.
        x = torch.cat([x, F.interpolate(drawn, size=x.shape[2:], mode="area")], dim=1)
        for name in self.trunk:
            x = self.get_submodule(name)(x)
        found = {}
        for number, block in self.refinement_blocks.items():
            delta = block(x)
            found[self._names[number]] = self.shared_weight_hypernet(delta) if isinstance(block, SharedBlock) else delta
        return found


def _initial(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.fmod(torch.randn(shape) / INITIAL, 2))


def _strided(n_in: int, inner: int, n_out: int, *, count: int) -> list[nn.Module]:
    """``count`` convolutions of stride 2 with leaky ReLU, n_in -> inner -> ... -> n_out channels."""
    widths = [n_in, *[inner] * (count - 1), n_out]
    found: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        found += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.01)]
    return found
