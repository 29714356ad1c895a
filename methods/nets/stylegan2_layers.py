"""The layers of the StyleGAN2 generator; see `invbench.methods.nets.stylegan2` for how they are put together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from invbench.methods.nets.equalised import (
    NO_OVERRIDES,
    SQRT2,
    EqualLinear,
    binomial_filter,
    demodulation,
    modulated_conv,
    scaled_leaky_relu,
)
from invbench.methods.nets.fused import StyledActivation
from invbench.methods.nets.stylegan2_config import GeneratorConfig


class Mapper(nn.Module):
    """Mapping network: z [N,Z] -> w [N,D]. `w_avg` [D] is the mean latent, updated by the training code."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.n_layers, self.z_dim = config.n_mapping, config.z_dim
        widths = [config.z_dim] + [config.w_dim] * config.n_mapping
        for i in range(self.n_layers):
            layer = EqualLinear(widths[i], widths[i + 1], lr_multiplier=config.mapping_lr_multiplier)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor) -> Tensor:
        """z [N,Z] -> w [N,D]. Raises ValueError on another shape."""
        expected = self.z_dim
        if z.ndim != 2 or z.shape[1] != expected:
            raise ValueError(f"z: expected [N,{expected}], found {tuple(z.shape)}")
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for i in range(self.n_layers):
            x = scaled_leaky_relu(self.get_submodule(f"fc{i}")(x))
        return x


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU: x [N,I,r,r] -> [N,O,R,R], R = 2r if `up` else r.

    The result is clamped to [-`clamp`, `clamp`] unless that is None.
    """

    noise_const: Tensor
    kernel: Tensor | None

    def __init__(
        self, n_in: int, n_out: int, *, w_dim: int, resolution: int, up: bool, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualLinear(w_dim, n_in, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("kernel", binomial_filter() if up else None, persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, overrides: Mapping[str, Tensor]) -> Tensor:
        """x [N,I,r,r], w [N,D], noise [N or 1,1,R,R] or None -> [N,O,R,R]; `overrides` replace parameters by their names."""
        weight = overrides.get("weight", self.weight)
        bias = overrides.get("bias", self.bias).reshape(-1, self.bias.shape[0], 1, 1)
        style = self.affine(w, below("affine", overrides))
        # Scaling activations before and after an unmodulated convolution is exact, and keeps shared weights dense.
        y = modulated_conv(x * style[:, :, None, None], weight, up_kernel=self.kernel)
        # Leaky ReLU is positively homogeneous: its gain sqrt(2) is cheaper on the factors than on the feature.
        factor = SQRT2 * demodulation(weight, style)
        if noise is not None:
            noise = SQRT2 * overrides.get("noise_strength", self.noise_strength).reshape(-1, 1, 1, 1) * noise
        y = StyledActivation.apply(y, factor[:, :, None, None], SQRT2 * bias, noise)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation: x [N,I,r,r] -> [N,3,r,r], held within `clamp` as in StyledConv."""

    def __init__(self, n_in: int, *, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualLinear(w_dim, n_in, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor, overrides: Mapping[str, Tensor]) -> Tensor:
        """x [N,I,r,r], w [N,D] -> RGB [N,3,r,r]; `overrides` replace parameters by their names."""
        n, n_in, height, width = x.shape
        style = self.affine(w, below("affine", overrides)) / math.sqrt(n_in)
        weight = overrides.get("weight", self.weight).reshape(-1, 3, n_in) * style[:, None, :]
        # Either product gives the gradient of x in the layout of x: elementwise steps on two layouts are 4 to 15 times as slow.
        if x.is_contiguous():
            rgb = torch.bmm(weight, x.flatten(2)).view(n, 3, height, width)
        else:
            pixels = x.permute(0, 2, 3, 1).reshape(n, height * width, n_in)
            rgb = torch.bmm(pixels, weight.transpose(1, 2)).view(n, height, width, 3).permute(0, 3, 1, 2)
        rgb = rgb + overrides.get("bias", self.bias).reshape(-1, 3, 1, 1)
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


def below(prefix: str, overrides: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The overrides of a submodule, by their names inside it."""
    if not overrides:
        return NO_OVERRIDES
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in overrides.items() if name.startswith(start)}
