"""The deghosting network: it draws a composed picture anew, with a frozen StyleGAN2 in its middle (Song et al. 2022).

HaoruiSong622/Editing-Out-of-Domain, model/deghosting; after GLEAN (Chan et al., CVPR 2021; open-mmlab/mmediting). The network
sees the whole picture at ``in_size`` pixels, 128 of 1024 in the public code: every pixel passes that bottleneck. The branch of
RGB skips (``fusion_skip``) is computed in the public code and reaches no output; here it is only stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.stylegan2 import Generator

SLOPE, RESIDUAL = 0.2, 0.2


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it (ESRGAN, Wang et al. 2018): [N, C, h, w] -> the same shape."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for i in range(5):
            self.add_module(f"conv{i + 1}", nn.Conv2d(width + i * growth, growth if i < 4 else width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        known = [x]
        for i in range(1, 5):
            known.append(F.leaky_relu(self.get_submodule(f"conv{i}")(torch.cat(known, 1)), SLOPE))
        return x + RESIDUAL * self.get_submodule("conv5")(torch.cat(known, 1))


class Unit(nn.Module):
    """Three dense blocks with a residual connection: [N, C, h, w] -> the same shape."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        return x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))


class Extractor(nn.Module):
    """Images [N, 3, h, w] -> [N, outputs, h, w]."""

    def __init__(self, width: int, units: int, growth: int, outputs: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(Unit(width, growth) for _ in range(units)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, 3, h, w] -> [N, outputs, h, w]."""
        first = self.conv_first(x)
        return F.leaky_relu(self.conv_up(first + self.conv_body(self.body(first))), SLOPE)


class Upsampling(nn.Module):
    """A convolution and a pixel shuffle: [N, a, h, w] -> [N, b, 2h, 2w]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.upsample_conv = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, a, h, w] -> [N, b, 2h, 2w]."""
        return F.pixel_shuffle(self.upsample_conv(x), 2)


class Fusion:
    """A feature of the generator joined with one of the encoder; for ``features`` of its synthesis."""

    into_rgb = False

    def __init__(self, layer: nn.Module, encoded: Tensor) -> None:
        self.layer, self.encoded = layer, encoded

    def __call__(self, feature: Tensor, layer: str) -> Tensor:
        return self.layer(torch.cat([feature, self.encoded], 1))


class FCN(nn.Module):
    """What is trained: encoder, fusions and decoder around a generator of ``channels`` (resolution -> channels)."""

    def __init__(
        self,
        channels: Mapping[int, int],
        num_ws: int,
        w_dim: int,
        *,
        in_size: int,
        width: int,
        units: int,
        growth: int,
        encoded: Mapping[int, int],
        decoded: Sequence[int],
    ) -> None:
        super().__init__()
        self.sizes = [2**i for i in range(2, in_size.bit_length())]  # 4, 8, ..., in_size
        encoder: list[nn.Module] = [Extractor(width, units, growth, encoded[in_size])]
        for before, size in zip(self.sizes[::-1], self.sizes[-2::-1]):
            down = nn.Conv2d(encoded[before], encoded[size], 3, stride=2, padding=1)
            same = nn.Conv2d(encoded[size], encoded[size], 3, padding=1)
            encoder.append(nn.Sequential(down, nn.LeakyReLU(SLOPE), same, nn.LeakyReLU(SLOPE)))
        last = encoded[4]
        codes = nn.Linear(16 * last, num_ws * w_dim)
        encoder.append(nn.Sequential(nn.Conv2d(last, last, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Flatten(), codes))
        self.encoder = nn.ModuleList(encoder)
        both = [(channels[size], encoded[size]) for size in self.sizes]
        self.fusion_out = nn.ModuleList(nn.Conv2d(own + other, own, 3, padding=1) for own, other in both)
        self.fusion_skip = nn.ModuleList(nn.Conv2d(3 + other, 3, 3, padding=1) for _, other in both)
        decoder: list[nn.Module] = []
        inputs, size = encoded[in_size], in_size
        for outputs in decoded[:-1]:
            size *= 2
            decoder.append(Upsampling(inputs, outputs))
            inputs = outputs + channels[size]
        ends = nn.Conv2d(inputs, decoded[-1], 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(decoded[-1], 3, 3, padding=1)
        self.decoder = nn.ModuleList([*decoder, nn.Sequential(*ends)])


class Deghosting(nn.Module):
    """The default arguments give the published network: 128 pixels in, 1024 out.

    generator  the configuration of its own generator, as in the public file; None: it is given one in every call
    channels   resolution -> channels of that generator's features, and num_ws, w_dim of its latents
    in_size    pixels a side that the picture is seen at
    width, units, growth  of the residual dense network
    encoded    resolution -> channels of the encoder's features, 4 to in_size
    decoded    channels after each doubling, and before the last convolution
    """

    def __init__(
        self,
        channels: Mapping[int, int],
        num_ws: int,
        w_dim: int = 512,
        *,
        generator: Mapping[str, Any] | None = None,
        in_size: int = 128,
        width: int = 64,
        units: int = 23,
        growth: int = 32,
        encoded: Mapping[int, int] | None = None,
        decoded: Sequence[int] = (128, 64, 32, 64),
    ) -> None:
        super().__init__()
        channels = {int(size): int(value) for size, value in channels.items()}
        sizes = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256} if encoded is None else encoded
        sizes = {int(size): int(value) for size, value in sizes.items()}
        self.in_size, self.num_ws, self.w_dim = in_size, num_ws, w_dim
        self.out_size = in_size * 2 ** (len(decoded) - 1)
        self.FCN = FCN(
            channels, num_ws, w_dim, in_size=in_size, width=width, units=units, growth=growth, encoded=sizes, decoded=decoded
        )
        self.generator = None if generator is None else Generator(generator)

    def forward(self, images: Tensor, generator: Any) -> Tensor:
        """Composed pictures [N, 3, H, W] in [-1, 1] -> pictures [N, 3, out, out]. Its own generator goes first."""
        synthesis = (self.generator or generator).synthesis
        x = images
        if images.shape[-2:] != (self.in_size, self.in_size):
            x = F.interpolate(images, size=(self.in_size, self.in_size), mode="area")
        encoded = []
        for part in self.FCN.encoder[:-1]:
            x = part(x)
            encoded.append(x)
        latents = self.FCN.encoder[-1](x).reshape(-1, self.num_ws, self.w_dim)
        fusions = zip(self.FCN.sizes, self.FCN.fusion_out, encoded[::-1])
        features = {f"b{size}.conv1": Fusion(layer, feature) for size, layer, feature in fusions}
        wanted = [f"b{self.in_size * 2 ** (i + 1)}.conv1" for i in range(int(math.log2(self.out_size // self.in_size)))]
        _, drawn = synthesis(latents, features=features, return_features=wanted)
        x = encoded[0]
        for part, place in zip(self.FCN.decoder[:-1], wanted, strict=True):
            x = torch.cat([part(x), drawn[place]], 1)
        return self.FCN.decoder[-1](x)
