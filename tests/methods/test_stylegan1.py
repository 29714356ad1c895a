"""The StyleGAN of 2019: synthesis and mapping written out pixel by pixel, noise, truncation, growing, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from invbench.methods.nets.stylegan1 import StyleGAN1Generator
from tests.methods.test_encoders import filled

CONFIG = {
    "resolution": 32, "channels": {4: 6, 8: 5, 16: 4, 32: 3}, "z_dim": 7, "w_dim": 8, "n_mapping": 3,
    "mapping_lr_multiplier": 0.01,
}  # fmt: skip
FUSED = 16


@pytest.fixture(scope="module")
def drawer() -> StyleGAN1Generator:
    found = filled(StyleGAN1Generator(CONFIG, fused_from=FUSED)).requires_grad_(False)
    for name, value in found.named_parameters():
        if name.startswith("mapping"):
            value.data.mul_(100 if name.endswith("weight") else 10)  # as stored for a multiplier of 0.01
    return found.double()


@pytest.fixture(scope="module")
def codes() -> Tensor:
    return torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def same(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlation of x [I, H, W] with [O, I, 3, 3] between zeros, tap by tap."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    h, w = x.shape[1:]
    windows = [(kernel[:, :, a, b], padded[:, a : a + h, b : b + w]) for a in range(3) for b in range(3)]
    return sum(np.einsum("oi,ihw->ohw", tap, window) for tap, window in windows)


def spread(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Every pixel of x [I, H, W] adds its kernel [3, 3, I, O] four times, half a pixel up, down, left and right of it."""
    _, h, w = x.shape
    out = np.zeros((kernel.shape[3], 2 * h + 2, 2 * w + 2))
    for a in (0, 1):
        for b in (0, 1):
            for i in range(3):
                for j in range(3):
                    mixed = np.einsum("io,ihw->ohw", kernel[i, j], x)
                    out[:, a + i : a + i + 2 * h : 2, b + j : b + j + 2 * w : 2] += mixed
    return out[:, 1:-1, 1:-1]


def plain(drawer: StyleGAN1Generator, ws: Tensor, *, noise: bool = True, blocks: int = 4) -> np.ndarray:
    """The picture [3, H, H] of one picture's codes [L, D] before tanh."""
    p = {key: value.numpy() for key, value in drawer.synthesis.state_dict().items()}
    taps = np.array([1.0, 2.0, 1.0])
    smooth = np.outer(taps, taps) / 16
    x = p["layer0.const"][0]
    for index in range(2 * blocks):
        layer = f"layer{index}"
        if index and index % 2:
            kernel = p[f"{layer}.conv.weight"]
            x = same(x, kernel * math.sqrt(2 / kernel[0].size))
        elif index:
            if f"{layer}.weight" in p:
                kernel = p[f"{layer}.weight"]
                x = spread(x, kernel * math.sqrt(2 / (9 * kernel.shape[2])))
            else:
                kernel = p[f"{layer}.conv.weight"]
                x = same(x.repeat(2, 1).repeat(2, 2), kernel * math.sqrt(2 / kernel[0].size))
            x = same(x, np.eye(len(x))[:, :, None, None] * smooth)
        part = f"{layer}.epilogue"
        if noise:
            x = x + p[f"{part}.apply_noise.weight"][:, None, None] * p[f"{part}.apply_noise.noise"][0]
        x = x + p[f"{part}.bias"][:, None, None]
        x = np.where(x > 0, x, 0.2 * x)
        x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-8)
        weight = p[f"{part}.style_mod.dense.fc.weight"]
        style = weight @ ws[index].numpy() / math.sqrt(weight.shape[1]) + p[f"{part}.style_mod.dense.wscale.bias"]
        scale, shift = style.reshape(2, -1)
        x = x * (1 + scale)[:, None, None] + shift[:, None, None]
    kernel = p[f"output{blocks - 1}.conv.weight"][:, :, 0, 0]
    return np.einsum("oi,ihw->ohw", kernel, x) / math.sqrt(len(x)) + p[f"output{blocks - 1}.bias"][:, None, None]


@pytest.mark.parametrize("noise", [True, False])
def test_synthesis_is_the_published_one(drawer, codes, noise):
    found = drawer.synthesis(codes, noise="const" if noise else "none").numpy()
    assert "layer4.weight" in drawer.synthesis.state_dict() and "layer2.conv.weight" in drawer.synthesis.state_dict()
    for one, ws in zip(found, codes, strict=True):
        np.testing.assert_allclose(one, np.tanh(plain(drawer, ws, noise=noise)), atol=1e-9)


def test_resolutions_that_were_not_trained_are_enlarged(drawer, codes):
    early = StyleGAN1Generator(CONFIG, fused_from=FUSED, left_out=1).double().requires_grad_(False)
    early.load_state_dict(drawer.state_dict())
    expected = np.tanh(plain(drawer, codes[0], blocks=3)).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(early.synthesis(codes[:1])[0].numpy(), expected, atol=1e-9)


def test_mapping_gives_each_layer_its_code_and_truncation_reaches_the_first_eight(drawer):
    z = torch.randn(3, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = z.numpy() / np.sqrt((z.numpy() ** 2).mean(1, keepdims=True) + 1e-8)
    for number in range(3):
        state = drawer.mapping.get_submodule(f"dense{number}").state_dict()
        weight = state["fc.weight"].numpy() * 0.01 * math.sqrt(2 / x.shape[1])
        x = x @ weight.T + 0.01 * state["wscale.bias"].numpy()
        x = np.where(x > 0, x, 0.2 * x)
    ws = drawer.mapping(z)
    np.testing.assert_allclose(ws.numpy(), x.reshape(3, 8, 8), atol=1e-9)
    larger = StyleGAN1Generator(CONFIG | {"resolution": 64, "channels": dict.fromkeys((4, 8, 16, 32, 64), 2)})
    larger.truncation.w_avg.copy_(torch.linspace(-1, 1, 8))
    ten = torch.randn(1, 10, 8, generator=torch.Generator().manual_seed(2))
    near = larger.truncate(ten, 0.7)
    torch.testing.assert_close(near[:, :8], larger.mean_latent + 0.7 * (ten[:, :8] - larger.mean_latent))
    torch.testing.assert_close(near[:, 8:], ten[:, 8:])
    torch.testing.assert_close(drawer(z, truncation=0.7), drawer.synthesis(drawer.truncate(ws, 0.7)))


def test_noise_is_given_or_drawn(drawer, codes):
    draw = torch.Generator().manual_seed(3)
    first = drawer.synthesis(codes, noise="random", generator=draw)
    again = drawer.synthesis(codes, noise="random", generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, again) and not torch.equal(first, drawer.synthesis(codes))
    assert drawer.noise_resolutions["layer5"] == 16
    map_ = drawer.synthesis.get_buffer("layer5.epilogue.apply_noise.noise").expand(2, -1, -1, -1)
    torch.testing.assert_close(drawer.synthesis(codes, noise_maps={"layer5": map_}), drawer.synthesis(codes))
    with pytest.raises(ValueError, match="no such layer"):
        drawer.synthesis(codes, noise_maps={"b16.conv1": map_})
    with pytest.raises(ValueError, match="needs a torch.Generator"):
        drawer.synthesis(codes, noise="random")
    with pytest.raises(ValueError, match=r"ws: expected \[N,8,8\]"):
        drawer.synthesis(codes[:, :7])


def test_gradients_of_codes_are_those_of_differences(drawer, codes):
    one = codes[:1].clone().requires_grad_()
    direction = torch.randn(one.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    drawer.synthesis(one).square().sum().backward()
    step = 1e-5
    with torch.no_grad():
        ahead, behind = (drawer.synthesis(codes[:1] + sign * step * direction).square().sum() for sign in (1, -1))
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx((one.grad * direction).sum().item(), rel=1e-5)


def test_more_memory_holds_more_pictures(drawer):
    assert drawer.max_batch(1) == 1 < drawer.max_batch(2**30)
