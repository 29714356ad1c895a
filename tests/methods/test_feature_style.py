"""The Feature-Style encoder: the official layout, its network against another build of it, an inversion and its edits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Edit, InvbenchError
from invbench.methods.feature_style import SPEC, FeatureStyle
from invbench.methods.nets.feature_style import FeatureStyleEncoder, averaged
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.options import make
from invbench.util.clock import StageClock
from tests import golden_vectors
from tests.methods.test_encoders import filled

SMALL = {
    "num_ws": 8, "w_dim": 8, "size": 32, "stages": [[4, 1], [6, 2], [8, 1], [8, 1]], "strides": [1, 2, 1, 2], "feature": 8,
    "feature_stride": 1,
}  # fmt: skip


def test_it_has_the_official_tensors():
    with torch.device("meta"):
        built = FeatureStyleEncoder()
    shapes = {key: list(value.shape) for key, value in built.state_dict().items()}
    assert shapes.pop("latent_avg") == [18, 512]
    assert shapes == golden_vectors.load("feature_style_layout")["enc"]


def normalised(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def leaky(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return torch.where(x > 0, x, x * state[f"{name}.weight"][:, None, None])


@torch.no_grad()
def test_the_network_from_its_tensors_alone(images):
    """Forward by functions, in the order of the public code: every stage at stride 2, the feature at stride 2."""
    network = filled(FeatureStyleEncoder(**{**SMALL, "strides": (2, 2, 2, 2), "feature_stride": 2}))
    network.latent_avg.copy_(torch.linspace(-1, 1, 64).reshape(8, 8))
    s = network.state_dict()
    x = leaky(normalised(F.conv2d(images, s["conv.0.weight"], padding=1), s, "conv.1"), s, "conv.2")
    pooled = []
    for number, (_, count) in enumerate(SMALL["stages"], start=1):
        for i in range(count):
            unit = f"block_{number}.{i}"
            y = F.conv2d(normalised(x, s, f"{unit}.bn1"), s[f"{unit}.conv1.weight"], padding=1)
            y = leaky(normalised(y, s, f"{unit}.bn2"), s, f"{unit}.prelu")
            y = normalised(F.conv2d(y, s[f"{unit}.conv2.weight"], padding=1, stride=1 if i else 2), s, f"{unit}.bn3")
            if not i:
                x = F.conv2d(x, s[f"{unit}.downsample.0.weight"], stride=2)
                x = normalised(x, s, f"{unit}.downsample.1")
            x = x + y
        if number == 3:
            y = F.conv2d(normalised(x, s, "content_layer.0"), s["content_layer.1.weight"], padding=1)
            y = leaky(normalised(y, s, "content_layer.2"), s, "content_layer.3")
            content = normalised(F.conv2d(y, s["content_layer.4.weight"], padding=1, stride=2), s, "content_layer.5")
        pooled.append(F.adaptive_avg_pool2d(x, 3))
    seen = torch.cat(pooled, 1).flatten(1)
    latents = torch.stack([seen @ s[f"styles.{i}.weight"].T + s[f"styles.{i}.bias"] for i in range(8)], 1)
    found = network(images)
    torch.testing.assert_close(found[0], s["latent_avg"] + latents, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[1], content, atol=1e-4, rtol=1e-4)


def test_large_pictures_are_halved_twice():
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    half = F.interpolate(images, scale_factor=0.5, mode="bilinear")
    torch.testing.assert_close(averaged(images, 16), F.interpolate(half, scale_factor=0.5, mode="bilinear"))


@pytest.fixture(scope="module")
def trained(networks):
    encoder = filled(FeatureStyleEncoder(**SMALL)).requires_grad_(False)
    encoder.latent_avg.copy_(networks["generator"].mean_latent.expand(8, 8))
    return networks | {"encoder_feature_style": encoder}


def row(networks, **options) -> FeatureStyle:
    return FeatureStyle(networks, make(SPEC, options))


@torch.no_grad()
def test_the_feature_replaces_the_generators_own_beyond_its_own_rgb(trained, images):
    generator = trained["generator"]
    found = row(trained).invert(images, StageClock("cpu"))
    latents, feature = trained["encoder_feature_style"](images)
    torch.testing.assert_close(found.state["feature"], feature)
    _, own = generator.synthesis(latents, return_features=["b16.conv1"])
    whole = FeatureEdit.add(feature - own["b16.conv1"])
    torch.testing.assert_close(found.images, generator.synthesis(latents, features={"b16.conv1": whole}))
    seen = FeatureEdit.add(feature - own["b16.conv1"], into_rgb=True)
    assert (found.images - generator.synthesis(latents, features={"b16.conv1": seen})).abs().max() > 1e-3


@torch.no_grad()
def test_an_edit_shifts_the_feature_by_the_generators_own_change(trained, images):
    generator, method, clock = trained["generator"], row(trained), StageClock("cpu")
    found = method.invert(images, clock)
    torch.testing.assert_close(method.edit(found, Edit("age", 0), clock), found.images)
    moved = found.latents + 2 * trained["directions"]["age"]
    before, after = (generator.synthesis(w, return_features=["b16.conv1"])[1]["b16.conv1"] for w in (found.latents, moved))
    shifted = FeatureEdit.add(found.state["feature"] + (after - before) - after)
    expected = generator.synthesis(moved, features={"b16.conv1": shifted})
    torch.testing.assert_close(method.edit(found, Edit("age", 2.0), clock), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_random_noise_is_a_pictures_own_and_the_same_in_its_edits(trained, images):
    method, clock = row(trained, noise="random", seed=3), StageClock("cpu")
    found = method.invert(images, clock)
    torch.testing.assert_close(method.edit(found, Edit("age", 0), clock), found.images)
    alone = method.invert(images[2:3], clock)
    torch.testing.assert_close(alone.images, found.images[2:3], atol=1e-4, rtol=1e-4)
    assert len(set(found.state["noise_seed"].tolist())) == len(images)
    other = row(trained, noise="random", seed=4).invert(images, clock)
    stored = row(trained).invert(images, clock)
    assert (other.images - found.images).abs().mean() > 1e-3 and (stored.images - found.images).abs().mean() > 1e-3


def test_a_place_or_a_feature_that_does_not_fit_is_refused(trained, images):
    with pytest.raises(InvbenchError, match=r"feature_style.feature_resolution: expected one of \[8, 16\] with 8 channels"):
        row(trained, feature_resolution=32)
    with pytest.raises(InvbenchError, match=r"expected a feature \(4, 8, 8, 8\) from the encoder, found \(4, 8, 16, 16\)"):
        row(trained, feature_resolution=8).invert(images, StageClock("cpu"))
