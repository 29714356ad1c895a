"""Shape of a StyleGAN2 network: enough to build it, small enough to store beside its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor


def official_channels(resolution: int, *, base: int = 32768, maximum: int = 512) -> dict[int, int]:
    """Channels per resolution of config-f: min(base / resolution, maximum); config-e has base 16384."""
    return {res: min(base // res, maximum) for res in powers_of_two(resolution)}


def powers_of_two(resolution: int) -> tuple[int, ...]:
    """4, 8, ..., resolution. Raises ValueError unless resolution is a power of two and at least 8."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ValueError(f"resolution: expected a power of two, at least 8, found {resolution}")
    return tuple(2**i for i in range(2, resolution.bit_length()))


@dataclass(frozen=True)
class GeneratorConfig:
    """Widths of a generator; `GeneratorConfig(**config.to_dict())` restores it, also after JSON.

    resolution             height and width of the pictures in pixels
    channels               resolution -> feature channels; empty means the rule of config-f
    n_mapping              layers of the mapping network
    mapping_lr_multiplier  relative learning rate of the mapping network (0.01 in the official networks);
                           it changes what stored mapping weights mean
    rows                   (first, end) rows of the square canvas that are the picture; None = all. LSUN cars: 64 to 448,
                           the network was trained on pictures of 512 x 384 between black bars
    conv_clamp             bound of the activations; None = unbounded. 256 in the networks of stylegan2-ada-pytorch
    """

    resolution: int
    channels: Mapping[int, int] = field(default_factory=dict)
    z_dim: int = 512
    w_dim: int = 512
    n_mapping: int = 8
    mapping_lr_multiplier: float = 0.01
    rows: tuple[int, int] | None = None
    conv_clamp: float | None = None

    def __post_init__(self) -> None:
        given = self.channels or official_channels(self.resolution)
        channels = {int(res): int(width) for res, width in given.items()}  # JSON turns the keys into strings
        if sorted(channels) != list(powers_of_two(self.resolution)):
            expected = list(powers_of_two(self.resolution))
            raise ValueError(f"channels: expected the resolutions {expected}, found {sorted(channels)}")
        object.__setattr__(self, "channels", dict(sorted(channels.items())))
        clamp = self.conv_clamp
        if clamp is not None and (isinstance(clamp, bool) or not isinstance(clamp, int | float) or clamp <= 0):
            raise ValueError(f"conv_clamp: expected a number above 0 or None, found {clamp!r}")
        if self.rows is not None:
            first, end = self.rows
            if not 0 <= first < end <= self.resolution:
                raise ValueError(f"rows: expected 0 <= first < end <= {self.resolution}, found {first} to {end}")
            object.__setattr__(self, "rows", (first, end))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ..., resolution."""
        return powers_of_two(self.resolution)

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels."""
        first, end = self.rows or (0, self.resolution)
        return end - first, self.resolution

    @property
    def num_ws(self) -> int:
        """Number of latent codes in W+: 2 log2(resolution) - 2."""
        return 2 * len(self.resolutions)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], *, mapping_lr_multiplier: float = 0.01, conv_clamp: float | None = None
    ) -> GeneratorConfig:
        """Read the shape from a state dict with this project's (NVlabs') names; multiplier and clamp are not stored there.

        Raises ValueError if the names do not look like those of a generator.
        """
        const, first = state.get("synthesis.b4.const"), state.get("mapping.fc0.weight")
        if const is None or first is None or const.ndim != 3 or first.ndim != 2:
            raise ValueError("state: expected 'synthesis.b4.const' [C,4,4] and 'mapping.fc0.weight' [D,Z]")
        widths = numbered(r"synthesis\.b(\d+)\.conv1\.(?:weight|bias)", state)
        depth = numbered(r"mapping\.fc(\d+)\.weight", state)
        return cls(
            resolution=max(widths, default=0),
            channels=widths,
            z_dim=first.shape[1],
            w_dim=first.shape[0],
            n_mapping=max(depth) + 1,
            mapping_lr_multiplier=mapping_lr_multiplier,
            conv_clamp=conv_clamp,
        )


def numbered(pattern: str, state: Mapping[str, Tensor]) -> dict[int, int]:
    """Number in a matching name -> first dimension of its tensor."""
    found = ((re.fullmatch(pattern, name), value) for name, value in state.items())
    return {int(match[1]): value.shape[0] for match, value in found if match}
