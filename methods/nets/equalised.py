"""Building blocks shared by the StyleGAN2 generator and discriminator.

Equalised learning rate: weights are stored as N(0, 1) / lr_multiplier and scaled at run time by
lr_multiplier / sqrt(fan_in), so that every layer learns at the same relative speed
(Karras et al. 2018, section 4.1; NVlabs/stylegan2-ada-pytorch).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.fused import LEAKY_SLOPE, Blur, TapPower

SQRT2 = math.sqrt(2.0)
NO_OVERRIDES: Mapping[str, Tensor] = {}


def binomial_filter() -> Tensor:
    """The [4,4] resampling filter of StyleGAN2: outer product of [1,3,3,1], normalised to sum 1."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def blur(x: Tensor, kernel: Tensor, *, padding: int, stride: int = 1) -> Tensor:
    """Filter every channel of x [N,C,H,W] with one symmetric constant kernel [k,k], zero-padded by `padding`."""
    channels = x.shape[1]
    weight = kernel.expand(channels, 1, *kernel.shape)
    if stride == 1:
        return Blur.apply(x, weight, padding)
    return F.conv2d(x, weight, padding=padding, stride=stride, groups=channels)


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the resolution of x [N,C,H,W] with the [4,4] filter of sum 1 (gain 4 keeps the mean)."""
    channels = x.shape[1]
    weight = (4.0 * kernel).expand(channels, 1, *kernel.shape)
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=channels)


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, times sqrt(2) to keep the variance."""
    return F.leaky_relu(x, LEAKY_SLOPE) * SQRT2


class EqualLinear(nn.Module):
    """x [N,I] -> [N,O], without activation; `lr_multiplier` scales weight and bias at run time.

    `overrides` may replace `weight` by one matrix per image [N,O,I] and `bias` by [N,O].
    """

    def __init__(self, n_in: int, n_out: int, *, lr_multiplier: float = 1.0, bias_init: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((n_out,), bias_init / lr_multiplier))
        self.gain = lr_multiplier / math.sqrt(n_in)
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor, overrides: Mapping[str, Tensor] = NO_OVERRIDES) -> Tensor:
        """x [N,I] -> [N,O]."""
        weight = overrides.get("weight", self.weight)
        bias = overrides.get("bias", self.bias)
        if self.lr_multiplier != 1.0:
            bias = bias * self.lr_multiplier
        if weight.ndim == 2 and bias.ndim == 1:
            return F.linear(x, weight * self.gain, bias)
        return (weight @ x.unsqueeze(-1)).squeeze(-1) * self.gain + bias


class EqualConv(nn.Module):
    """x [N,I,H,W] -> [N,O,H',W'], without activation; stride 2 blurs with the [4,4] filter first."""

    kernel: Tensor

    def __init__(self, n_in: int, n_out: int, size: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, size, size))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.gain = 1.0 / math.sqrt(n_in * size * size)
        self.stride = stride
        self.register_buffer("kernel", binomial_filter(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [N,I,H,W] -> [N,O,H',W']."""
        size = self.weight.shape[-1]
        if self.stride == 1:
            return F.conv2d(x, self.weight * self.gain, self.bias, padding=size // 2)
        if size == 1:  # a 1x1 convolution reads every second pixel only: the others need no blur
            x = blur(x, self.kernel, padding=1, stride=self.stride)
            return F.conv2d(x, self.weight * self.gain, self.bias)
        x = blur(x, self.kernel, padding=(size + 1) // 2)
        return F.conv2d(x, self.weight * self.gain, self.bias, stride=self.stride)


def modulated_conv(x: Tensor, weight: Tensor, *, up_kernel: Tensor | None = None) -> Tensor:
    """Convolution of modulated activations: x [N,I,H,W], weight [O,I,k,k] or per image [N,O,I,k,k].

    With `up_kernel` the convolution is the transposed one of stride 2, followed by that filter (gain 4).
    The forms were chosen by measurement on CPU: dense for shared weights; grouped for per-image ones, but
    one matrix product an image plus `fold` for the transposed case, where grouped is half as fast.
    """
    if weight.ndim == 4:
        if up_kernel is None:
            return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return blur(y, 4.0 * up_kernel, padding=1)
    n, n_out, n_in, size, _ = weight.shape
    height, width = x.shape[2:]
    if up_kernel is None:
        stacked = x.reshape(1, n * n_in, height, width)
        y = F.conv2d(stacked, weight.reshape(n * n_out, n_in, size, size), padding=size // 2, groups=n)
        return y.view(n, n_out, height, width)
    products = torch.bmm(weight.permute(0, 1, 3, 4, 2).reshape(n, n_out * size * size, n_in), x.flatten(2))
    y = F.fold(products, (2 * height + size - 2, 2 * width + size - 2), size, stride=2)
    return blur(y, 4.0 * up_kernel, padding=1)


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """Factors [N,O] that give each modulated filter unit norm (StyleGAN2, equation 3).

    weight [O,I,k,k] or [N,O,I,k,k], style [N,I]. The equalised factor 1/sqrt(I k k) is included, as in
    rosinality/stylegan2-pytorch; NVlabs leaves it out, which differs only through the epsilon 1e-8.
    """
    n_in, size = weight.shape[-3], weight.shape[-1]
    gain = 1.0 / math.sqrt(n_in * size * size)
    power = TapPower.apply(weight)
    total = (power @ style.square().unsqueeze(-1)).squeeze(-1) if power.ndim == 3 else style.square() @ power.T
    return gain * torch.rsqrt(gain * gain * total + 1e-8)
