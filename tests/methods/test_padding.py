"""Padding-space inversion: golden vectors, the padded convolution against the formula, and an inversion with its edits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Edit
from invbench.methods.convert.padding import generator, padding
from invbench.methods.nets.equalised import binomial_filter
from invbench.methods.nets.padding import PaddingEncoder, padded
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.padding import Padding
from invbench.options import Options
from invbench.util.clock import StageClock
from tests import golden_vectors
from tests.methods.test_encoders import filled

SMALL = {
    "num_ws": 8, "w_dim": 8, "size": 32, "stages": [[4, 1], [6, 1], [6, 2], [8, 1]], "heads": 9, "width": 8, "level": 2,
    "channels": [8, 8, 8, 8],
}  # fmt: skip


@pytest.mark.parametrize("precision", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
@torch.no_grad()
def test_official_files_reproduce_the_golden_vectors(precision):
    golden = golden_vectors.load("padinv")
    parts = {name: golden_vectors.state(golden, name) for name in ("encoder", "generator")}
    parts["generator"]["w_avg"] = golden_vectors.tensor(golden, "w_avg")
    encoder, notes = padding({"models": parts}, source="golden")
    drawer = padded(generator({"models": parts}, source="golden")[0].to(precision))
    assert encoder.num_ws == 14 and "latent_heads: 4 of 18 are idle" in notes
    images = golden_vectors.tensor(golden, "x").to(precision)
    whole = PaddingEncoder()
    whole.load_state_dict(encoder.state_dict())
    golden_vectors.check(golden, "codes", whole.eval().to(precision)(images)[0])
    for number, one in zip((0, 1, 3, 5, 7), whole.maps(images), strict=True):
        golden_vectors.check(golden, f"padding_map_{number}", one)
    latents, maps = encoder.to(precision)(images)
    # The official code demodulates without the equalised gain, which differs through the epsilon 1e-8 of a sum.
    golden_vectors.check(golden, "image_without_padding", drawer.synthesis(latents), relative=1e-6)
    golden_vectors.check(golden, "image", drawer.synthesis(latents, weights=maps), relative=1e-6)


@pytest.fixture(scope="module")
def trained(networks):
    encoder = filled(PaddingEncoder(**SMALL)).requires_grad_(False)
    encoder.latent_avg.copy_(networks["generator"].mean_latent)
    return networks | {"encoder_padding": encoder}


def row(networks) -> Padding:
    return Padding(networks, Options("padding", {}))


@torch.no_grad()
def plain(drawer: Generator, latents: Tensor, maps: dict[str, Tensor], *, modulated: bool = False) -> Tensor:
    """The padded generator written out: pad, then convolve with the weights of each picture; ``modulated``: its border, too."""
    synthesis, rgb, x = drawer.synthesis, None, maps["b4.const"]
    for size in synthesis.resolutions:
        names = ["conv1"] if size == 4 else ["conv0", "conv1"]
        for name in names:
            layer = f"b{size}.{name}"
            conv, w = synthesis.get_submodule(layer), latents[:, synthesis.style_index[layer]]
            style = conv.affine(w)
            weight = conv.weight * style[:, None, :, None, None]
            norm = (weight.square().sum((2, 3, 4)) / weight[0, 0].numel() + 1e-8).rsqrt()[:, :, None, None]
            out = []
            for i, one in enumerate(x):
                if name == "conv0":
                    y = F.conv_transpose2d(one[None], weight[i].transpose(0, 1), stride=2)
                    y = F.conv2d(y, 4 * binomial_filter().expand(y.shape[1], 1, 4, 4), padding=1, groups=y.shape[1])
                else:
                    border = maps[f"{layer}.border"][i].clone()
                    if not modulated:
                        border = border / style[i][:, None, None]  # the weights multiply it again
                    border[:, 1:-1, 1:-1] = one
                    y = F.conv2d(border[None], weight[i])
                out.append(y / weight[0, 0].numel() ** 0.5)
            y = torch.cat(out) * norm + conv.noise_strength * conv.noise_const + conv.bias[:, None, None]
            x = F.leaky_relu(y, 0.2) * 2**0.5
        torgb = synthesis.get_submodule(f"b{size}.torgb")
        skip = torgb(x, latents[:, synthesis.style_index[f"b{size}.torgb"]], {})
        if rgb is not None:
            skip = skip + F.conv_transpose2d(rgb, 4 * binomial_filter().expand(3, 1, 4, 4), stride=2, padding=1, groups=3)
        rgb = skip
    return rgb


@torch.no_grad()
def test_the_border_is_not_multiplied_by_the_style(trained, images):
    found = row(trained).invert(images, StageClock("cpu"))
    latents, maps = trained["encoder_padding"](images)
    assert {name: tuple(one.shape[1:]) for name, one in found.state.items()} == {
        "b4.const": (8, 4, 4), "b4.conv1.border": (8, 6, 6), "b8.conv1.border": (8, 10, 10), "b16.conv1.border": (8, 18, 18),
        "b32.conv1.border": (8, 34, 34),
    }  # fmt: skip
    torch.testing.assert_close(found.images, plain(trained["generator"], latents, maps), atol=1e-4, rtol=1e-4)
    fused = plain(trained["generator"], latents, maps, modulated=True)
    assert (found.images - fused).norm() > 0.02 * found.images.norm()


@torch.no_grad()
def test_only_the_ring_of_a_border_counts_and_zeros_leave_the_generator_as_it_is(trained, images):
    own, drawer = trained["generator"], padded(trained["generator"])
    latents, maps = trained["encoder_padding"](images)
    torch.testing.assert_close(drawer.synthesis(latents), own.synthesis(latents))
    filled_in = {name: one.clone() for name, one in maps.items()}
    for name, one in filled_in.items():
        if name.endswith("border"):
            one[:, :, 1:-1, 1:-1] = 7.0
    assert torch.equal(drawer.synthesis(latents, weights=filled_in), drawer.synthesis(latents, weights=maps))
    assert drawer.synthesis.b8.conv1.weight is own.synthesis.b8.conv1.weight  # no second copy of the generator
    assert "b8.conv1.border" not in dict(own.synthesis.named_parameters())


@torch.no_grad()
def test_a_map_is_the_middle_of_one_of_34_pixels(trained, images):
    encoder = trained["encoder_padding"]
    whole, maps = encoder.maps(images), encoder(images)[1]
    assert torch.equal(maps["b4.const"], whole[0][:, :, 15:19, 15:19])
    assert torch.equal(maps["b8.conv1.border"], whole[2][:, :, 12:22, 12:22])
    assert torch.equal(maps["b32.conv1.border"], whole[4])


@torch.no_grad()
def test_edits_move_the_latents_and_keep_the_maps(trained, images):
    method, clock = row(trained), StageClock("cpu")
    found = method.invert(images, clock)
    assert torch.equal(method.edit(found, Edit("age", 0), clock), found.images)
    moved = found.latents + 2 * trained["directions"]["age"]
    expected = plain(trained["generator"], moved, dict(found.state))
    torch.testing.assert_close(method.edit(found, Edit("age", 2.0), clock), expected, atol=1e-4, rtol=1e-4)


def test_gradients_reach_the_maps(trained, images):
    drawer = padded(trained["generator"])
    latents, maps = (trained["encoder_padding"](images[:1]))
    maps = {name: one.clone().requires_grad_() for name, one in maps.items()}
    drawer.synthesis(latents, weights=maps).square().mean().backward()
    for name, one in maps.items():
        assert one.grad.abs().max() > 0, name
        assert name == "b4.const" or (one.grad[:, :, 1:-1, 1:-1] == 0).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_ws": 10}, "num_ws: expected at most 9"),
        ({"channels": [4, 8, 8, 8]}, "channels: expected 1 to 4 numbers, the first 8"),
        ({"level": 3}, "level: expected 4 and 0 to 2, found 4 and 3"),
    ],
)
def test_impossible_architectures_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        PaddingEncoder(**{**SMALL, **changes})
