"""The StyleGAN2 discriminator (residual architecture), with the names of NVlabs/stylegan2-ada-pytorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.nets.equalised import EqualConv, EqualLinear, scaled_leaky_relu
from invbench.methods.nets.stylegan2_config import numbered, official_channels, powers_of_two


@dataclass(frozen=True)
class DiscriminatorConfig:
    """resolution in pixels; channels: resolution -> feature channels (empty = the rule of config-f);
    group: images that share one minibatch statistic."""

    resolution: int
    channels: Mapping[int, int] = field(default_factory=dict)
    group: int = 4

    def __post_init__(self) -> None:
        given = self.channels or official_channels(self.resolution)
        channels = {int(res): int(width) for res, width in given.items()}  # JSON turns the keys into strings
        if sorted(channels) != list(powers_of_two(self.resolution)):
            expected = list(powers_of_two(self.resolution))
            raise ValueError(f"channels: expected the resolutions {expected}, found {sorted(channels)}")
        object.__setattr__(self, "channels", dict(sorted(channels.items())))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DiscriminatorConfig:
        """Read the shape from a state dict with this project's (NVlabs') names.

        Raises ValueError if the names do not look like those of a discriminator.
        """
        widths, last = numbered(r"b(\d+)\.conv0\.weight", state), state.get("b4.fc.weight")
        if not widths or last is None:
            raise ValueError("state: expected 'b4.fc.weight' and 'bR.conv0.weight' for R = 8, 16, ...")
        return cls(resolution=max(widths), channels={4: last.shape[0], **widths})


class ResidualBlock(nn.Module):
    """x [N,I,R,R] -> [N,O,R/2,R/2]; the sum with the skip is divided by sqrt(2)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv0 = EqualConv(n_in, n_in, 3)
        self.conv1 = EqualConv(n_in, n_out, 3, stride=2)
        self.skip = EqualConv(n_in, n_out, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [N,I,R,R] -> [N,O,R/2,R/2]."""
        y = scaled_leaky_relu(self.conv1(scaled_leaky_relu(self.conv0(x))))
        return (self.skip(x) + y) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """Images [N,3,R,R] in [-1,1] -> logits [N,1], high for real.

    N must be at most `config.group` or a multiple of it, because of the minibatch statistic.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.resolutions = tuple(sorted(channels, reverse=True))
        for res, below in zip(self.resolutions, self.resolutions[1:], strict=False):
            block = ResidualBlock(channels[res], channels[below])
            if res == config.resolution:
                block.fromrgb = EqualConv(3, channels[res], 1)
            self.add_module(f"b{res}", block)
        self.b4 = nn.Module()
        self.b4.conv = EqualConv(channels[4] + 1, channels[4], 3)
        self.b4.fc = EqualLinear(channels[4] * 16, channels[4])
        self.b4.out = EqualLinear(channels[4], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N,3,R,R] in [-1,1] -> logits [N,1], high for real. Raises ValueError on another shape."""
        size = self.config.resolution
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
            raise ValueError(f"images: expected [N,3,{size},{size}], found {tuple(images.shape)}")
        x = scaled_leaky_relu(self.get_submodule(f"b{size}.fromrgb")(images))
        for res in self.resolutions[:-1]:
            x = self.get_submodule(f"b{res}")(x)
        x = torch.cat([x, minibatch_deviation(x, group=self.config.group)], 1)
        x = scaled_leaky_relu(self.get_submodule("b4.conv")(x))
        x = scaled_leaky_relu(self.get_submodule("b4.fc")(x.flatten(1)))
        return self.get_submodule("b4.out")(x)


def minibatch_deviation(x: Tensor, *, group: int) -> Tensor:
    """The mean standard deviation over each group of images, as one more channel: x [N,C,H,W] -> [N,1,H,W].

    Image i belongs to group i mod (N / group), as in the official code. Raises ValueError unless N fits the group.
    """
    n, _, height, width = x.shape
    size = min(group, n)
    if n % size:
        raise ValueError(f"images: expected at most {group} or a multiple of it, found {n}")
    grouped = x.reshape(size, n // size, -1)
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean(1)
    return deviation.repeat(size)[:, None, None, None].expand(-1, 1, height, width)
