"""The steps with a backward pass of their own against the plain expressions, in double precision and in both layouts."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from invbench.methods.nets.equalised import binomial_filter
from invbench.methods.nets.fused import LEAKY_SLOPE, Blur, StyledActivation, TapPower
from invbench.methods.nets.stylegan2_layers import ToRGB

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def normal(*shape: int, seed: int, layout: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn.contiguous(memory_format=layout) if drawn.ndim == 4 else drawn).requires_grad_()


def same_with_gradients(fast: torch.Tensor, plain: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    torch.testing.assert_close(fast, plain)
    weight = torch.randn(fast.shape, generator=torch.Generator().manual_seed(0), dtype=fast.dtype)
    for of_fast, of_plain in zip(torch.autograd.grad(fast, inputs, weight), torch.autograd.grad(plain, inputs, weight)):
        torch.testing.assert_close(of_fast, of_plain)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("padding", [1, 2])
def test_blur(layout: torch.memory_format, padding: int) -> None:
    x, weight = normal(2, 3, 9, 7, seed=1, layout=layout), binomial_filter().double().expand(3, 1, 4, 4)
    same_with_gradients(Blur.apply(x, weight, padding), F.conv2d(x, weight, padding=padding, groups=3), [x])


def test_blur_can_be_differentiated_twice() -> None:
    x, weight = normal(1, 2, 6, 6, seed=1), binomial_filter().double().expand(2, 1, 4, 4)
    assert torch.autograd.gradgradcheck(lambda x: Blur.apply(x, weight, 1).square(), (x,))


@pytest.mark.parametrize("size", [1, 3])
def test_power_of_taps(size: int) -> None:
    weight = normal(2, 5, size, size, seed=1)
    same_with_gradients(TapPower.apply(weight), weight.square().sum((-2, -1)), [weight])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 3], ids=["shared", "own"])
@pytest.mark.parametrize("with_noise", [False, True])
def test_styled_activation(layout: torch.memory_format, rows: int, with_noise: bool) -> None:
    y, factor, bias = normal(3, 4, 6, 5, seed=1, layout=layout), normal(3, 4, 1, 1, seed=2), normal(rows, 4, 1, 1, seed=3)
    noise = normal(rows, 1, 6, 5, seed=4) if with_noise else None
    inputs = [y, factor, bias] + ([] if noise is None else [noise])
    plain = F.leaky_relu(y * factor + bias + (0 if noise is None else noise), LEAKY_SLOPE)
    same_with_gradients(StyledActivation.apply(y, factor, bias, noise), plain, inputs)


def test_styled_activation_where_only_the_style_is_asked_for() -> None:
    y, bias, noise = (normal(*shape, seed=1).detach() for shape in ((2, 3, 4, 4), (1, 3, 1, 1), (1, 1, 4, 4)))
    factor = normal(2, 3, 1, 1, seed=2)
    same_with_gradients(
        StyledActivation.apply(y, factor, bias, noise), F.leaky_relu(y * factor + bias + noise, LEAKY_SLOPE), [factor]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rgb_gives_its_gradient_in_the_layout_of_the_feature(layout: torch.memory_format) -> None:
    layer = ToRGB(5, w_dim=4).double()
    x, w = normal(2, 5, 6, 4, seed=1, layout=layout), normal(2, 4, seed=2)
    weight = layer.weight * (layer.affine(w) / 5**0.5)[:, None, :, None, None]
    plain = torch.cat([F.conv2d(x[i : i + 1], weight[i]) for i in range(2)])
    rgb = layer(x, w, {})
    same_with_gradients(rgb, plain + layer.bias.view(1, 3, 1, 1), [x, w])
    (gradient,) = torch.autograd.grad(layer(x, w, {}).sum(), x)
    assert gradient.is_contiguous(memory_format=layout)
