"""In-domain inversion: the encoder against the published layers, and the optimisation against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Edit
from invbench.methods.idinvert import IDInvert
from invbench.methods.nets.idinvert import DomainEncoder
from invbench.options import Options
from tests.methods.test_encoders import filled

DEFAULTS = {"steps": 3, "lr": 0.01, "perceptual_weight": 0.5, "domain_weight": 2.0}


def row(networks, **changes) -> IDInvert:
    return IDInvert(networks, Options("idinvert", DEFAULTS | changes))


@pytest.fixture(scope="module")
def trained(networks):
    encoder = filled(DomainEncoder(32, 8, base=4, maximum=8)).requires_grad_(False)
    return networks | {"encoder_idinvert": encoder, "features_idinvert": networks["perceptual_vgg"]}


def published(state: dict[str, Tensor], images: Tensor, blocks: int) -> Tensor:
    """The encoder layer by layer, with the numbers by which the public code divides and multiplies again."""

    def normalised(x, name):
        mean, var = state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"]
        scale = state[f"{name}.bn.weight"] / (var + 1e-5).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bn.bias"][:, None, None]

    def active(x):
        return torch.where(x > 0, x, 0.2 * x)

    def half(x, block, number):
        weight = state[f"{block}.conv{number}.weight"]
        scale = math.sqrt(2) / math.sqrt(weight[0].numel())
        x = F.conv2d(x, weight, padding=1) / scale
        x = x * scale + state[f"{block}.wscale{number}.bias"][:, None, None]
        return active(normalised(x, f"{block}.bn{number}"))

    x = active(normalised(F.conv2d(images, state["block0.conv.weight"], padding=1), "block0.bn"))
    for number in range(1, blocks - 1):
        block = f"block{number}"
        x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
        shortcut = x
        if f"{block}.conv.weight" in state:
            shortcut = active(normalised(F.conv2d(x, state[f"{block}.conv.weight"]), f"{block}.bn"))
        x = half(half(x, block, 1), block, 2) + shortcut
    weight = state[f"block{blocks - 1}.fc.weight"]
    x = x.reshape(len(x), -1) @ weight.T / math.sqrt(weight.shape[1])
    return normalised(x[:, :, None, None], f"block{blocks - 1}.bn").flatten(1)


@torch.no_grad()
def test_the_encoder_is_the_published_one(trained, images):
    encoder = trained["encoder_idinvert"]
    assert [name for name, block in encoder.named_children() if getattr(block, "widens", False)] == ["block1"]
    expected = published(encoder.state_dict(), images, 5).reshape(4, 8, 8)
    torch.testing.assert_close(encoder(images), expected, atol=1e-4, rtol=1e-4)


def test_the_official_encoder_has_the_published_size():
    with torch.device("meta"):
        encoder = DomainEncoder()
    assert sum(one.numel() for one in encoder.state_dict().values()) == 165_359_122
    assert (encoder.num_ws, encoder.w_dim, len(encoder.state_dict())) == (14, 512, 120)


def test_impossible_sizes_are_refused(trained, images):
    with pytest.raises(ValueError, match="power of two of at least 16, found 48"):
        DomainEncoder(48)
    with pytest.raises(ValueError, match=r"expected shape \[N, 3, 32, 32\], found \[4, 3, 16, 16\]"):
        trained["encoder_idinvert"](images[..., :16, :16])


@pytest.mark.parametrize("domain_weight", [0.0, 2.0])
def test_the_optimisation_minimises_the_published_objective(trained, images, clock, domain_weight):
    """One picture, Adam written out."""
    generator, encoder = trained["generator"], trained["encoder_idinvert"]
    code = encoder(images[:1]).clone().requires_grad_()
    adam = torch.optim.Adam([code], lr=0.01)
    for _ in range(3):
        drawn = generator.synthesis(code)
        loss = ((drawn - images[:1]) ** 2).mean() + 0.5 * trained["features_idinvert"].distance(drawn, images[:1]).sum()
        loss = loss + domain_weight * ((code - encoder(drawn)) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    method = row(trained, domain_weight=domain_weight)
    found = method.invert(images, clock)
    torch.testing.assert_close(found.latents[:1], code.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.images, generator.synthesis(found.latents))
    assert clock.stages == ["encode", "optimise", "synthesise"]
    assert torch.equal(method.embed(images, clock), found.latents)


def test_the_domain_term_keeps_codes_where_the_encoder_finds_them(trained, images, clock):
    encoder, distances = trained["encoder_idinvert"], []
    for weight in (0.0, 20.0):
        found = row(trained, domain_weight=weight, steps=40, lr=0.05).invert(images, clock)
        distances.append((found.latents - encoder(found.images)).square().mean().item())
    assert distances[1] < 0.5 * distances[0]


def test_without_steps_it_is_the_encoder_and_edits_move_the_codes(trained, images, clock):
    method = row(trained, steps=0)
    found = method.invert(images, clock)
    assert torch.equal(found.latents, trained["encoder_idinvert"](images)) and "optimise" not in clock.stages
    assert torch.equal(method.edit(found, Edit("age", 0.0), clock), found.images)
    moved = trained["generator"].synthesis(found.latents + 2 * trained["directions"]["age"])
    torch.testing.assert_close(method.edit(found, Edit("age", 2.0), clock), moved)
