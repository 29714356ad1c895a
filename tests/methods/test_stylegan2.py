"""The StyleGAN2 generator: exactness, per-image parameters, noise, feature edits, errors."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.methods.nets.equalised import blur, demodulation, modulated_conv
from invbench.methods.nets.stylegan2 import FeatureEdit, Generator, GeneratorConfig
from invbench.methods.nets.stylegan2_layers import StyledConv

SMALL = GeneratorConfig(32, {4: 12, 8: 10, 16: 8, 32: 6}, z_dim=7, w_dim=9, n_mapping=3)
N = 3


@pytest.fixture
def network() -> Generator:
    """A small generator in float64 in which no parameter has a neutral value."""
    random = torch.Generator().manual_seed(1)
    made = Generator(SMALL)
    state = {name: torch.randn(value.shape, generator=random) for name, value in made.state_dict().items()}
    made.load_state_dict(state)
    return made.double().requires_grad_(False)


def latents(n: int = N, *, seed: int = 2) -> Tensor:
    return torch.randn(n, SMALL.num_ws, SMALL.w_dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shifted(network: Generator, n: int = N) -> dict[str, Tensor]:
    """Per-image parameters that differ from image to image."""
    copies = network.per_image_parameters(n)
    return {name: (value + 0.3 * normal(*value.shape, seed=4)).detach() for name, value in copies.items()}


# Exactness of the fast forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_modulated_convolution_equals_its_definition(
    per_image: bool, up: bool, dtype: torch.dtype, bound: float
) -> None:
    x, style = normal(N, 5, 6, 6).to(dtype), normal(N, 5, seed=5).to(dtype)
    weight = normal(*((N, 4, 5, 3, 3) if per_image else (4, 5, 3, 3)), seed=6).to(dtype)
    layer = StyledConv(5, 4, w_dim=2, resolution=12, up=up).to(dtype)
    fast = modulated_conv(x * style[:, :, None, None], weight, up_kernel=layer.kernel)
    fast = fast * demodulation(weight, style)[:, :, None, None]
    assert torch.allclose(fast, _plain(x, weight, style, up=up), rtol=0, atol=bound * fast.abs().max().item())


def _plain(x: Tensor, weight: Tensor, style: Tensor, *, up: bool) -> Tensor:
    """StyleGAN2 equations 1 and 3, image by image; zero-stuffing, correlation and blur for the up-convolution."""
    kernel = torch.outer(torch.tensor([1, 3, 3, 1]), torch.tensor([1, 3, 3, 1])).to(x) / 16
    pictures = []
    for i in range(x.shape[0]):
        shared = weight[i] if weight.ndim == 5 else weight
        scaled = shared / math.sqrt(shared[0].numel()) * style[i, None, :, None, None]
        scaled = scaled / (scaled.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        feature = x[i : i + 1]
        if up:
            stuffed = feature.new_zeros(1, feature.shape[1], 2 * x.shape[2] - 1, 2 * x.shape[3] - 1)
            stuffed[:, :, ::2, ::2] = feature
            pictures.append(blur(F.conv2d(stuffed, scaled.flip(2, 3), padding=2), kernel, padding=1))
        else:
            pictures.append(F.conv2d(feature, scaled, padding=1))
    return torch.cat(pictures)


def test_repeated_parameters_change_nothing(network: Generator) -> None:
    image = network.synthesis(latents(), weights=network.per_image_parameters(N))
    assert torch.allclose(image, network.synthesis(latents()), rtol=0, atol=1e-9)


def test_per_image_parameters_equal_one_network_an_image(network: Generator) -> None:
    ws, weights = latents(), shifted(network)
    together = network.synthesis(ws, weights=weights)
    for i in range(N):
        alone = Generator(SMALL).double()
        own = {f"synthesis.{name}": value[i] for name, value in weights.items()}
        alone.load_state_dict(network.state_dict() | own)
        assert torch.allclose(together[i], alone.synthesis(ws[i : i + 1])[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("per_image", [False, True])
def test_an_image_is_the_same_alone_and_in_a_batch(network: Generator, per_image: bool) -> None:
    network, ws = network.float(), latents(8).float()
    weights = {name: value.float() for name, value in shifted(network, 8).items()} if per_image else {}
    together = network.synthesis(ws, weights=weights)
    for i in range(8):
        own = {name: value[i : i + 1] for name, value in weights.items()}
        alone = network.synthesis(ws[i : i + 1], weights=own)[0]
        assert torch.allclose(together[i], alone, rtol=0, atol=1e-5 * alone.abs().max().item())


def test_gradients_reach_everything_and_stay_with_their_image(network: Generator) -> None:
    ws, weights = latents().requires_grad_(), network.per_image_parameters(N)
    names = network.synthesis.feature_shape
    maps = {name: normal(N, 1, r, r).requires_grad_() for name, (_, r, _) in names.items()}
    deltas = {name: normal(N, *shape).requires_grad_() for name, shape in names.items()}
    edits = {name: FeatureEdit.add(value) for name, value in deltas.items()}
    edits["b32.conv1"] = FeatureEdit.add(deltas["b32.conv1"], into_rgb=True)  # nothing else reads the last feature
    image = network.synthesis(ws, noise_maps=maps, weights=weights, features=edits)
    image[1].square().sum().backward()
    for name, leaf in [("ws", ws), *weights.items(), *maps.items(), *deltas.items()]:
        assert leaf.grad is not None, name
        assert leaf.grad[1].abs().max() > 0, name
        assert leaf.grad[[0, 2]].abs().max() == 0, name


def test_analytic_gradients_equal_numerical_ones() -> None:
    network = Generator(GeneratorConfig(8, {4: 2, 8: 2}, z_dim=2, w_dim=2, n_mapping=1)).double()
    names = ["b4.const", "b8.conv0.weight", "b8.conv0.affine.weight", "b8.conv1.noise_strength", "b8.torgb.weight"]
    leaves = [normal(2, 4, 2).requires_grad_(), *network.per_image_parameters(2, names).values()]

    def image(ws: Tensor, *values: Tensor) -> Tensor:
        return network.synthesis(ws, weights=dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(image, leaves, fast_mode=True)


def test_per_image_parameters_are_chosen_by_name_or_predicate(network: Generator) -> None:
    every = network.per_image_parameters(2)
    assert set(every) == {name for name, _ in network.synthesis.named_parameters()}
    assert all(value.is_leaf and value.requires_grad for value in every.values())
    convolutions = network.per_image_parameters(2, lambda name: name.endswith("conv0.weight"))
    assert list(convolutions) == ["b8.conv0.weight", "b16.conv0.weight", "b32.conv0.weight"]
    assert network.per_image_parameters(4, ["b4.const"])["b4.const"].shape == (4, 12, 4, 4)
    with pytest.raises(ValueError, match="b64.conv0.weight"):
        network.per_image_parameters(2, ["b64.conv0.weight"])


# Noise ----------------------------------------------------------------------------------------------------------


def test_noise_modes(network: Generator) -> None:
    ws = latents()
    const, none = network.synthesis(ws), network.synthesis(ws, noise="none")
    drawn = [network.synthesis(ws, noise="random", generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])
    assert not torch.allclose(const, none)
    silent = {name: torch.zeros_like(v) for name, v in network.state_dict().items() if name.endswith("noise_strength")}
    network.load_state_dict(network.state_dict() | silent)
    assert torch.allclose(network.synthesis(ws), none, rtol=0, atol=1e-12)


def test_noise_maps_replace_the_stored_ones(network: Generator) -> None:
    ws = latents()
    names = network.synthesis.feature_shape
    stored = {n: network.get_buffer(f"synthesis.{n}.noise_const").expand(N, 1, -1, -1) for n in names}
    assert torch.allclose(network.synthesis(ws, noise_maps=stored), network.synthesis(ws), rtol=0, atol=1e-12)
    other = network.synthesis(ws, noise_maps={"b16.conv0": normal(N, 1, 16, 16)})
    assert not torch.allclose(other, network.synthesis(ws))


# Feature edits --------------------------------------------------------------------------------------------------


def test_edits_follow_their_formulas(network: Generator) -> None:
    layer, ws = "b16.conv0", latents()
    feature = network.synthesis(ws, return_features=[layer])[1][layer]
    other, mask = normal(*feature.shape), torch.rand(N, 1, 16, 16, dtype=torch.float64)
    for edit, expected in (
        (FeatureEdit.blend(other, mask), feature * mask + other * (1 - mask)),
        (FeatureEdit.add(other), feature + other),
        (FeatureEdit.add(other, mask), feature + mask * other),
        (FeatureEdit.scale_shift(other, mask), feature * (1 + other) + mask),
    ):
        image, found = network.synthesis(ws, features={layer: edit}, return_features=[layer])
        assert torch.allclose(found[layer], expected, rtol=0, atol=1e-12)
        pasted = FeatureEdit.blend(expected, torch.zeros_like(mask))
        assert torch.allclose(image, network.synthesis(ws, features={layer: pasted}), rtol=0, atol=1e-9)


def test_an_edit_changes_what_comes_after_it_and_nothing_before(network: Generator) -> None:
    ws, layers = latents(), list(network.synthesis.feature_shape)
    _, before = network.synthesis(ws, return_features=layers)
    for position, layer in enumerate(layers[:-1]):
        edit = {layer: FeatureEdit.add(normal(N, *network.synthesis.feature_shape[layer]))}
        _, after = network.synthesis(ws, features=edit, return_features=layers)
        changed = [not torch.equal(before[name], after[name]) for name in layers]
        assert changed == [False] * position + [True] * (len(layers) - position)


def test_torgb_reads_the_feature_before_or_after_the_edit(network: Generator) -> None:
    ws, last = latents(), "b32.conv1"
    delta = normal(N, *network.synthesis.feature_shape[last])
    plain = network.synthesis(ws)
    assert torch.equal(network.synthesis(ws, features={last: FeatureEdit.add(delta)}), plain)
    edited = network.synthesis(ws, features={last: FeatureEdit.add(delta, into_rgb=True)})
    rgb = network.synthesis.get_submodule("b32.torgb")
    w = ws[:, network.synthesis.style_index["b32.torgb"]]
    expected = rgb(delta, w, {}) - rgb.bias[:, None, None]
    assert torch.allclose(edited - plain, expected, rtol=0, atol=1e-9)


def test_synthesis_continues_from_a_stored_feature(network: Generator) -> None:
    """Pasting F(w) everywhere under edited latents equals the original latents up to there and edited ones after."""
    layer, ws, moved = "b8.conv1", latents(), latents(seed=9)
    feature = network.synthesis(ws, return_features=[layer])[1][layer]
    pasted = FeatureEdit.blend(feature, torch.zeros(N, 1, 8, 8, dtype=torch.float64))
    found = network.synthesis(moved, features={layer: pasted}, return_features=["b16.conv0", "b32.conv1"])[1]
    index = network.synthesis.style_index["b16.conv0"]
    mixed = torch.cat([ws[:, :index], moved[:, index:]], 1)
    expected = network.synthesis(mixed, return_features=["b16.conv0", "b32.conv1"])[1]
    for name in found:
        assert torch.allclose(found[name], expected[name], rtol=0, atol=1e-9)


# Latents and configuration ----------------------------------------------------------------------------------


def test_layers_read_the_published_style_indices() -> None:
    network = Generator(GeneratorConfig(64, dict.fromkeys((4, 8, 16, 32, 64), 2), z_dim=2, w_dim=2, n_mapping=1))
    indices = network.synthesis.style_index
    assert [indices[f"b{r}.torgb"] for r in (4, 8, 16, 32, 64)] == [1, 3, 5, 7, 9]
    assert [indices[f"b{r}.conv1"] for r in (4, 8, 16, 32, 64)] == [0, 2, 4, 6, 8]
    assert [indices[f"b{r}.conv0"] for r in (8, 16, 32, 64)] == [1, 3, 5, 7]
    assert network.num_ws == 10


def test_truncation_and_sampling(network: Generator) -> None:
    w = network.sample_w(5, generator=torch.Generator().manual_seed(0), batch=2)
    assert w.shape == (5, SMALL.w_dim)
    assert torch.allclose(network.truncate(w, 0.0), network.mean_latent.expand_as(w))
    assert torch.allclose(network.truncate(w, 0.5), (w + network.mean_latent) / 2)
    z = normal(2, SMALL.z_dim)
    assert torch.equal(network(z), network.synthesis(network.repeat(network.mapping(z))))


def test_config_survives_json_and_is_read_from_a_state(network: Generator) -> None:
    assert GeneratorConfig(**json.loads(json.dumps(SMALL.to_dict()))) == SMALL
    assert GeneratorConfig.from_state(network.state_dict()) == SMALL
    assert GeneratorConfig(1024).channels == {
        4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32,
    }  # fmt: skip
    with pytest.raises(ValueError, match="power of two"):
        GeneratorConfig(48)
    with pytest.raises(ValueError, match="channels"):
        GeneratorConfig(16, {4: 8, 8: 8})


# Errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": "loud"}, "noise: expected one of"),
        ({"noise": "random"}, "generator"),
        ({"noise": "none", "noise_maps": {"b4.conv1": torch.zeros(N, 1, 4, 4)}}, "noise_maps"),
        ({"noise_maps": {"b4.conv1": torch.zeros(1, 1, 4, 4)}}, r"noise_maps\['b4.conv1'\]: expected \(3, 1, 4, 4\)"),
        ({"noise_maps": {"b4.conv0": torch.zeros(N, 1, 4, 4)}}, "no such layer"),
        ({"weights": {"b8.conv0.gain": torch.zeros(N)}}, "no such parameter 'b8.conv0.gain'"),
        ({"weights": {"b4.const": torch.zeros(2, 12, 4, 4)}}, r"expected \(3, 12, 4, 4\), found \(2, 12, 4, 4\)"),
        ({"features": {"b8.torgb": FeatureEdit.add(torch.zeros(N, 3, 8, 8))}}, "features: no such layer"),
        ({"features": {"b8.conv0": FeatureEdit.add(torch.zeros(N, 10, 4, 4))}}, r"features\['b8.conv0'\]: shift"),
        ({"features": {"b8.conv0": FeatureEdit.add(torch.zeros(10, 8, 8))}}, r"features\['b8.conv0'\]: shift"),
        ({"return_features": ["b64.conv0"]}, "return_features: no such layer"),
    ],
)
def test_bad_arguments_are_named(network: Generator, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.synthesis(latents(), **arguments)


def test_bad_latents_are_named(network: Generator) -> None:
    with pytest.raises(ValueError, match=r"ws: expected \[N,8,9\], found \(3, 9\)"):
        network.synthesis(latents()[:, 0])
    with pytest.raises(ValueError, match=r"z: expected \[N,7\]"):
        network.mapping(latents()[:, 0])


def test_a_clamp_bounds_every_layer_and_nothing_within_it(network: Generator) -> None:
    state, layers = network.state_dict(), list(network.synthesis.feature_shape)
    free, features = network.synthesis(latents(), return_features=layers)
    largest = max(float(feature.abs().max()) for feature in features.values())

    def clamped(bound: float) -> Generator:
        made = Generator(replace(SMALL, conv_clamp=bound)).double()
        made.load_state_dict(state)
        return made

    loose = clamped(1.001 * max(largest, float(free.abs().max())))
    assert torch.equal(loose.synthesis(latents()), free)
    bound = 0.2 * largest
    picture, features = clamped(bound).synthesis(latents(), return_features=layers)
    assert all(float(feature.abs().max()) <= bound for feature in features.values())
    assert any(float(feature.abs().max()) == bound for feature in features.values())
    assert not torch.equal(picture, free)
    layer = StyledConv(4, 5, w_dim=3, resolution=8, up=False, clamp=0.5).double()
    plain = StyledConv(4, 5, w_dim=3, resolution=8, up=False).double()
    plain.load_state_dict(layer.state_dict())
    x, w = normal(2, 4, 8, 8).requires_grad_(), normal(2, 3)
    found = layer(x, w, None, {})
    torch.testing.assert_close(found, plain(x, w, None, {}).clamp(-0.5, 0.5))
    found.sum().backward()  # the bound leaves what the leaky ReLU keeps for its gradient alone
    assert x.grad is not None and bool(x.grad.isfinite().all())


@pytest.mark.parametrize("wrong", [0, -1.0, "256", True])
def test_a_clamp_that_is_no_bound_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="conv_clamp: expected a number above 0 or None"):
        GeneratorConfig(8, conv_clamp=wrong)  # type: ignore[arg-type]
