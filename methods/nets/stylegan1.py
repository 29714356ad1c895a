"""The StyleGAN generator of 2019 (Karras et al., CVPR 2019), as genforce/idinvert_pytorch trained it for in-domain inversion.

Module names are those of the public file, without its filters, which are constants. What differs from StyleGAN2: styles scale
and shift the normalised feature after each convolution; noise has a strength for every channel and comes before the bias; one
convolution makes colours, at the last resolution, and tanh bounds them. What differs from the StyleGAN of 2019: the mapping
gives a code of its own for every layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.equalised import SQRT2, blur
from invbench.methods.nets.idinvert import LEAKY_SLOPE, Bias
from invbench.methods.nets.stylegan2_config import GeneratorConfig

FUSED_FROM = 128  # resolution from which an upsampling convolution is a transposed one
TRUNCATED = 8  # layers that truncation reaches, the first ones
EPSILON = 1e-8  # of both normalisations
ACTIVATION_COPIES = 10  # that optimisation holds of a feature, as in StyleGAN2
NOISE_MODES = ("const", "none", "random")


class Dense(nn.Module):
    """x [N, I] -> [N, O], with equalised learning rate: weights are stored as N(0, 1) / lr_multiplier."""

    def __init__(self, n_in: int, n_out: int, *, gain: float, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.fc = nn.Linear(n_in, n_out, bias=False)
        self.wscale = Bias(n_out)
        self.gain, self.lr_multiplier = gain * lr_multiplier / math.sqrt(n_in), lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """x [N, I] -> [N, O]."""
        return F.linear(x, self.fc.weight * self.gain, self.wscale.bias * self.lr_multiplier)


class LayerwiseMapper(nn.Module):
    """Mapping network: z [N, Z] -> codes [N, L, D], a different one for every layer."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.num_ws, self.z_dim = config.num_ws, config.z_dim
        widths = [config.z_dim] + [config.w_dim] * (config.n_mapping - 1) + [config.num_ws * config.w_dim]
        for i in range(config.n_mapping):
            layer = Dense(widths[i], widths[i + 1], gain=SQRT2, lr_multiplier=config.mapping_lr_multiplier)
            self.add_module(f"dense{i}", layer)
        self.layers = config.n_mapping

    def forward(self, z: Tensor) -> Tensor:
        """z [N, Z] -> codes [N, L, D]. Raises ValueError on another shape."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z: expected [N,{self.z_dim}], found {tuple(z.shape)}")
        x = z / (z.square().mean(1, keepdim=True) + EPSILON).sqrt()
        for i in range(self.layers):
            x = F.leaky_relu(self.get_submodule(f"dense{i}")(x), LEAKY_SLOPE)
        return x.reshape(len(z), self.num_ws, -1)


class Truncation(nn.Module):
    """Holds the mean latent [D]."""

    w_avg: Tensor

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("w_avg", torch.zeros(w_dim))


class NoiseStrength(nn.Module):
    """The stored noise map [1, 1, r, r] and its strength for every channel [C]."""

    noise: Tensor

    def __init__(self, channels: int, resolution: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))


class Styled(nn.Module):
    """Scale and shift [N, C] of a feature, from a code [N, D]; 0 and 0 leave it as it is."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.dense = Dense(w_dim, 2 * channels, gain=1.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, C, r, r], w [N, D] -> x * (1 + scale) + shift."""
        scale, shift = self.dense(w)[:, :, None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


class Epilogue(nn.Module):
    """What follows a convolution: noise, bias, leaky ReLU, normalisation of every channel of a picture, style."""

    def __init__(self, channels: int, w_dim: int, resolution: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.apply_noise = NoiseStrength(channels, resolution)
        self.style_mod = Styled(channels, w_dim)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """x [N, C, r, r], w [N, D], noise [N or 1, 1, r, r] or None -> [N, C, r, r]."""
        if noise is not None:
            x = x + self.apply_noise.weight[:, None, None] * noise
        x = F.leaky_relu(x + self.bias[:, None, None], LEAKY_SLOPE)
        x = x - x.mean((2, 3), keepdim=True)
        x = x / (x.square().mean((2, 3), keepdim=True) + EPSILON).sqrt()
        styled: Tensor = self.style_mod(x, w)
        return styled


class Layer(nn.Module):
    """One of the two layers of a resolution.

    kind  "const": a learned input in place of a convolution; "same"; "up": nearest neighbours, then a convolution, then a blur;
          "fused": a transposed convolution with four shifted copies of its kernel [3, 3, I, O], then a blur
    """

    kernel: Tensor | None

    def __init__(self, n_in: int, n_out: int, *, w_dim: int, resolution: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.gain = SQRT2 / math.sqrt(9 * n_in)
        if kind == "const":
            self.const = nn.Parameter(torch.ones(1, n_out, resolution, resolution))
        elif kind == "fused":
            self.weight = nn.Parameter(torch.randn(3, 3, n_in, n_out))
        else:
            self.conv = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.epilogue = Epilogue(n_out, w_dim, resolution)
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(taps, taps) if kind in ("up", "fused") else None, persistent=False)

    def forward(self, x: Tensor | None, w: Tensor, noise: Tensor | None) -> Tensor:
        """x [N, I, r, r] (None for "const"), w [N, D] -> [N, O, R, R]."""
        styled: Tensor = self.epilogue(self._convolved(x, len(w)), w, noise)
        return styled

    def _convolved(self, x: Tensor | None, n: int) -> Tensor:
        if x is None:
            return self.const.expand(n, -1, -1, -1)
        if self.kernel is None:
            return F.conv2d(x, self.conv.weight * self.gain, padding=1)
        if self.kind == "up":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = F.conv2d(x, self.conv.weight * self.gain, padding=1)
        else:
            padded = F.pad(self.weight * self.gain, (0, 0, 0, 0, 1, 1, 1, 1))
            summed = padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]
            x = F.conv_transpose2d(x, summed.permute(2, 3, 0, 1), stride=2, padding=1)
        return blur(x, self.kernel, padding=1)


class Colours(nn.Module):
    """A feature [N, C, r, r] -> RGB [N, 3, r, r]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 3, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain = 1 / math.sqrt(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, r, r] -> [N, 3, r, r]."""
        return F.conv2d(x, self.conv.weight * self.gain, self.bias)


class StyleGAN1Synthesis(nn.Module):
    """ws [N, L, D] -> images [N, 3, H, W] in (-1, 1).

    left_out  resolutions at the end that progressive growing had not reached, 0 in a finished network; the picture of the last
              one before them is enlarged
    """

    def __init__(self, config: GeneratorConfig, *, fused_from: int, left_out: int) -> None:
        super().__init__()
        self.num_ws, self.w_dim = config.num_ws, config.w_dim
        self.left_out = left_out
        self.sizes: dict[str, int] = {}
        """Layer -> height and width of its feature."""
        n_in = 0
        for number, (res, n_out) in enumerate(config.channels.items()):
            up = "const" if number == 0 else "fused" if res >= fused_from else "up"
            for name, width, kind in ((f"layer{2 * number}", n_in, up), (f"layer{2 * number + 1}", n_out, "same")):
                self.add_module(name, Layer(width or n_out, n_out, w_dim=config.w_dim, resolution=res, kind=kind))
                self.sizes[name] = res
            self.add_module(f"output{number}", Colours(n_out))
            n_in = n_out
        self.blocks = len(config.channels)

    def forward(
        self,
        ws: Tensor,
        *,
        noise: str = "const",
        generator: torch.Generator | None = None,
        noise_maps: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Images [N, 3, H, W] of ws [N, L, D].

        noise       "const" (stored maps), "none", or "random" (drawn from ``generator``, on its device)
        noise_maps  layer -> [N, 1, r, r] in place of the stored map, with "const" only

        Raises ValueError on unknown names and on wrong shapes.
        """
        if ws.ndim != 3 or tuple(ws.shape[1:]) != (self.num_ws, self.w_dim):
            raise ValueError(f"ws: expected [N,{self.num_ws},{self.w_dim}], found {tuple(ws.shape)}")
        if noise not in NOISE_MODES or (noise_maps and noise != "const"):
            raise ValueError(f"noise: expected one of {NOISE_MODES}, with noise_maps 'const', found {noise!r}")
        if noise == "random" and generator is None:
            raise ValueError("generator: noise 'random' needs a torch.Generator")
        given = noise_maps or {}
        if unknown := sorted(set(given) - set(self.sizes)):
            raise ValueError(f"noise_maps: no such layer {unknown}; expected some of {list(self.sizes)}")
        x: Tensor | None = None
        shown = self.blocks - self.left_out
        for index, (name, res) in enumerate(list(self.sizes.items())[: 2 * shown]):
            if name in given:
                used: Tensor | None = given[name]
            elif noise == "random":
                drawn = torch.randn(len(ws), 1, res, res, generator=generator, device=generator.device if generator else None)
                used = drawn.to(ws)
            else:
                used = None if noise == "none" else self.get_buffer(f"{name}.epilogue.apply_noise.noise")
            x = self.get_submodule(name)(x, ws[:, index], used)
        rgb: Tensor = self.get_submodule(f"output{shown - 1}")(x)
        if self.left_out:
            rgb = F.interpolate(rgb, scale_factor=2**self.left_out, mode="nearest")
        return rgb.tanh()


class StyleGAN1Generator(nn.Module):
    """Mapping and synthesis, with the members of :class:`invbench.methods.nets.stylegan2.Generator` that a method without
    weights of its own uses.

    config      GeneratorConfig, or the plain values of its ``to_dict``
    fused_from  resolution from which upsampling convolutions are transposed ones
    left_out    see :class:`StyleGAN1Synthesis`
    """

    def __init__(self, config: GeneratorConfig | Mapping[str, Any], *, fused_from: int = FUSED_FROM, left_out: int = 0) -> None:
        super().__init__()
        self.config = config = config if isinstance(config, GeneratorConfig) else GeneratorConfig(**config)
        self.resolution, self.num_ws = config.resolution, config.num_ws
        self.z_dim, self.w_dim = config.z_dim, config.w_dim
        self.mapping = LayerwiseMapper(config)
        self.truncation = Truncation(config.w_dim)
        self.synthesis = StyleGAN1Synthesis(config, fused_from=fused_from, left_out=left_out)

    @property
    def mean_latent(self) -> Tensor:
        """The mean latent [D], the same for all layers."""
        return self.truncation.w_avg

    @property
    def noise_resolutions(self) -> dict[str, int]:
        """Layer -> height and width r of its noise map [N, 1, r, r]."""
        return dict(self.synthesis.sizes)

    @property
    def channels(self) -> Mapping[int, int]:
        """Resolution -> channels of its features."""
        return self.config.channels

    def max_batch(self, memory: int) -> int:
        """Estimated number of images that fit into ``memory`` bytes while their codes are optimised; at least 1."""
        features = sum(2 * width * res * res for res, width in self.channels.items())
        return max(1, memory // (4 * ACTIVATION_COPIES * features))

    def truncate(self, ws: Tensor, truncation: float) -> Tensor:
        """Codes [N, L, D] whose first TRUNCATED layers are drawn towards the mean latent; 1 leaves them, 0.7 as released."""
        factor = torch.ones(self.num_ws, 1).to(ws)
        factor[:TRUNCATED] = truncation
        return self.mean_latent + (ws - self.mean_latent) * factor

    def forward(
        self, z: Tensor, *, truncation: float = 1.0, noise: str = "const", generator: torch.Generator | None = None
    ) -> Tensor:
        """z [N, Z] -> images [N, 3, H, W]."""
        images: Tensor = self.synthesis(self.truncate(self.mapping(z), truncation), noise=noise, generator=generator)
        return images
