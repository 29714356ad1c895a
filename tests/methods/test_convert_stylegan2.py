"""Published layouts of StyleGAN2: golden vectors of the official code, conversion, files that do not fit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.convert.stylegan2 import (
    ConvertedGenerator,
    convert_discriminator,
    convert_generator,
    to_rosinality,
)
from invbench.methods.nets import stylegan2_layers
from invbench.methods.nets.discriminator import Discriminator, DiscriminatorConfig
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from tests import golden_vectors

SMALL = GeneratorConfig(32, {4: 12, 8: 10, 16: 8, 32: 6}, z_dim=7, w_dim=9, n_mapping=3)


@pytest.fixture
def network() -> Generator:
    """A small generator in which no parameter has a neutral value."""
    random = torch.Generator().manual_seed(1)
    made = Generator(SMALL)
    made.load_state_dict({name: torch.randn(v.shape, generator=random) for name, v in made.state_dict().items()})
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def rosinality() -> ConvertedGenerator:
    """The 256-pixel generator of the golden vectors, through a checkpoint such as rosinality's converter writes."""
    checkpoint = {"g_ema": golden_vectors.state(golden_vectors.load("stylegan2_rosinality"), "generator")}
    return convert_generator(checkpoint | {"latent_avg": torch.arange(512.0)}, source="golden.pt")


@pytest.fixture(scope="module")
def nvlabs() -> ConvertedGenerator:
    """The same for a state dict of NVlabs."""
    return convert_generator(golden_vectors.state(golden_vectors.load("stylegan2_nvlabs"), "decoder"), source="golden.pkl")


# Golden vectors of the official code ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_generator_gives_the_official_image_and_latents(
    dtype: torch.dtype, rosinality: ConvertedGenerator
) -> None:
    golden = golden_vectors.load("stylegan2_rosinality")
    assert rosinality.notes == ()
    network = _loaded(rosinality).to(dtype)
    assert torch.equal(network.mean_latent, torch.arange(512.0, dtype=dtype))
    with torch.no_grad():
        golden_vectors.check(golden, "w_from_z", network.mapping(golden_vectors.tensor(golden, "z").to(dtype)))
        wplus = golden_vectors.tensor(golden, "wplus").to(dtype)
        golden_vectors.check(golden, "image_from_wplus", network.synthesis(wplus))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_generator_gives_the_official_image_in_the_nvlabs_layout(
    dtype: torch.dtype, nvlabs: ConvertedGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = golden_vectors.load("stylegan2_nvlabs")
    network = _loaded(nvlabs).to(dtype)
    ws = golden_vectors.tensor(golden, "ws").to(dtype)
    if dtype == torch.float64:
        # NVlabs demodulates unscaled weights, so its epsilon of 1e-8 weighs less by the fan-in: 1e-7 in the image.
        monkeypatch.setattr(stylegan2_layers, "demodulation", _demodulation_of_nvlabs)
    with torch.no_grad():
        golden_vectors.check(golden, "image_without_added", network.synthesis(ws))


def _demodulation_of_nvlabs(weight: Tensor, style: Tensor) -> Tensor:
    return torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
def test_discriminator_gives_the_official_logits(dtype: torch.dtype) -> None:
    golden = golden_vectors.load("stylegan2_rosinality")
    config, state = convert_discriminator({"d": golden_vectors.state(golden, "discriminator")}, source="golden.pt")
    with torch.device("meta"):
        network = Discriminator(config)
    network.load_state_dict(state, assign=True)
    network = _with_filters(network).to(dtype)
    with torch.no_grad():
        for name, output in (("x", "discriminator_logit"), ("x_coarse", "discriminator_logit_coarse")):
            golden_vectors.check(golden, output, network(golden_vectors.tensor(golden, name).to(dtype)))


# Conversion --------------------------------------------------------------------------------------------------------


def test_both_layouts_round_trip(network: Generator) -> None:
    state = network.state_dict()
    for checkpoint in (to_rosinality(SMALL, state), _nvlabs(state)):
        found = convert_generator(checkpoint, source="file.pt")
        assert found.config == SMALL
        assert list(found.state) == list(state)
        assert all(torch.equal(found.state[name], state[name]) for name in state)
        assert found.notes == ()


def test_what_old_files_lack_is_made_and_noted(network: Generator) -> None:
    checkpoint = to_rosinality(SMALL, network.state_dict())
    bare = {name: v for name, v in checkpoint["g_ema"].items() if not name.startswith("noises") and "kernel" not in name}
    first, second = (convert_generator({"g_ema": bare}, source="old.pt") for _ in range(2))
    assert len(first.notes) == 2
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    fresh = network.sample_w(20_000, generator=torch.Generator().manual_seed(5))
    spread = fresh.std(0) / math.sqrt(10_000)
    assert ((first.state["mapping.w_avg"] - fresh.mean(0)).abs() < 6 * spread).all()
    rows = convert_generator(checkpoint | {"latent_avg": torch.ones(6, SMALL.w_dim)}, source="encoder.pt")
    assert torch.equal(rows.state["mapping.w_avg"], torch.ones(SMALL.w_dim))


def test_a_file_that_does_not_fit_is_refused_with_every_key(network: Generator) -> None:
    checkpoint = to_rosinality(SMALL, network.state_dict())
    g_ema = dict(checkpoint["g_ema"])
    del g_ema["conv1.activate.bias"]
    g_ema |= {"extra": torch.zeros(2), "to_rgbs.0.bias": torch.zeros(1, 4, 1, 1)}
    with pytest.raises(InvbenchError) as failure:
        convert_generator({"g_ema": g_ema, "latent_avg": torch.ones(SMALL.w_dim)}, source="bad.pt")
    message = str(failure.value)
    for part in ("bad.pt", "synthesis.b8.torgb.bias (expected [3], found [4])", "1 unexpected: extra [2]"):
        assert part in message
    filtered = checkpoint["g_ema"] | {"convs.0.conv.blur.kernel": torch.ones(4, 4)}
    with pytest.raises(InvbenchError, match=r"bad.pt: convs.0.conv.blur.kernel: expected the filter"):
        convert_generator({"g_ema": filtered}, source="bad.pt")
    with pytest.raises(InvbenchError, match="not a StyleGAN2 generator"):
        convert_generator({"layer.weight": torch.ones(2)}, source="bad.pt")
    with pytest.raises(InvbenchError, match="equal rows"):
        convert_generator(checkpoint | {"latent_avg": torch.eye(6, SMALL.w_dim)}, source="bad.pt")


# Discriminator --------------------------------------------------------------------------------------------------


def test_discriminator_layout_and_groups() -> None:
    config = DiscriminatorConfig(16, {4: 6, 8: 5, 16: 4})
    network = Discriminator(config)
    assert convert_discriminator(network.state_dict(), source="d.pt")[0] == config
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    logits = network(images)
    assert logits.shape == (8, 1)
    # Images i, i + 2, i + 4, i + 6 form a group, as in the official code.
    assert torch.allclose(logits[::2], network(images[::2]), atol=1e-5)
    with pytest.raises(ValueError, match="multiple"):
        network(images[:6])
    with pytest.raises(ValueError, match=r"\[N,3,16,16\]"):
        network(images[:, :, :8])
    broken = network.state_dict()
    del broken["b4.out.bias"]
    with pytest.raises(InvbenchError, match=r"d.pt: .*1 missing: b4.out.bias"):
        convert_discriminator(broken, source="d.pt")


def _nvlabs(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the filter buffers that NVlabs stores on every layer and block."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    layers = {name.rsplit(".", 1)[0] for name in state if name.endswith(("noise_const", "b4.const"))}
    return state | {f"{layer}.resample_filter": torch.outer(taps, taps) for layer in layers}


def _loaded(found: ConvertedGenerator) -> Generator:
    with torch.device("meta"):  # skips the random initialisation of 25 million weights
        network = Generator(found.config)
    network.load_state_dict(found.state, assign=True)
    return _with_filters(network)


def _with_filters(network: torch.nn.Module) -> torch.nn.Module:
    kernel = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64
    for module in network.modules():
        if getattr(module, "kernel", None) is not None:
            module.kernel = kernel.clone()
    return network
