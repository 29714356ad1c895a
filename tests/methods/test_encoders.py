"""The pSp family: equal to the official networks, parts that fit, methods that only encode and synthesise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invbench.api import Edit
from invbench.methods.directions.linear import Directions
from invbench.methods.e4e import E4E
from invbench.methods.nets.encoders import E4EEncoder, PSPEncoder
from invbench.methods.nets.latent_discriminator import LatentDiscriminator, LatentPool
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.stylegan2_config import GeneratorConfig
from invbench.methods.nets.w_encoder import WEncoder
from invbench.methods.psp import PSP
from invbench.methods.w_encoder import WEncoding
from invbench.metrics.nets.irse import IRSE50, stage_ends
from invbench.options import Options
from invbench.util.clock import StageClock
from tests import golden_vectors

SMALL = {"num_ws": 10, "w_dim": 16, "size": 64, "stages": [[4, 1], [8, 1], [8, 2], [16, 1]], "heads": 12}


@pytest.fixture(scope="module")
def published_weights() -> dict[str, Tensor]:
    """Weights of the published W+ encoder; those of the golden files psp and e4e are the same."""
    return golden_vectors.state(golden_vectors.load("psp"), "encoder")


@pytest.fixture(scope="module")
def published_w_weights() -> dict[str, Tensor]:
    return golden_vectors.state(golden_vectors.load("psp"), "w_encoder")


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


def filled(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """``network`` in eval mode with reproducible weights that make every part of it count."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith("running_var"):
                value.copy_(1 + 0.1 * torch.rand(value.shape, generator=generator))
            elif value.is_floating_point() and "latent_avg" not in key:
                fan_in = value[0].numel() if value.ndim > 1 else 1
                value.copy_(torch.randn(value.shape, generator=generator) / fan_in**0.5)
    return network.eval()


def official(network: type[torch.nn.Module], weights: dict[str, Tensor]) -> torch.nn.Module:
    """The network with default arguments and ``weights``, whose keys must be the public file's; zero mean latent."""
    with torch.device("meta"):
        built = network()
    missing, unexpected = built.load_state_dict(weights, strict=False, assign=True)
    assert (missing, unexpected) == (["latent_avg"], [])
    built.latent_avg = torch.nn.Buffer(torch.zeros(built.latent_avg.shape))
    return built.eval()


@pytest.mark.parametrize(("name", "network"), [("psp", PSPEncoder), ("e4e", E4EEncoder)])
def test_published_encoders_reproduce_the_golden_vectors(name, network, published_weights):
    golden = golden_vectors.load(name)
    theirs = golden["modules"]["encoder"]["sha256_float32_le_in_layout_order_without_kept_zero_aliases"]
    shared = golden_vectors.load("psp")["modules"]["encoder"]
    assert theirs == shared["sha256_float32_le_in_layout_order_without_kept_zero_aliases"]
    with torch.no_grad():
        codes = official(network, published_weights)(golden_vectors.tensor(golden, "x"))
    golden_vectors.check(golden, "codes", codes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_w_encoder_reproduces_the_golden_vector(dtype, published_w_weights):
    golden = golden_vectors.load("psp")
    encoder = official(WEncoder, published_w_weights).to(dtype)
    with torch.no_grad():
        code = encoder(golden_vectors.tensor(golden, "x").to(dtype))
    golden_vectors.check(golden, "w_code", code)


def test_taps_of_irse50():
    assert stage_ends(IRSE50) == (2, 6, 20, 23)


def test_official_latent_avg_of_one_code_per_layer_is_added_once(images):
    encoder = filled(PSPEncoder(**SMALL))
    with torch.no_grad():
        offsets = encoder(images)
        encoder.latent_avg.copy_(torch.arange(160.0).reshape(10, 16))
        torch.testing.assert_close(encoder(images), offsets + torch.arange(160.0).reshape(10, 16))


def test_heads_read_the_taps_of_their_group(images):
    encoder = filled(PSPEncoder(**SMALL))
    with torch.no_grad():
        before = encoder(images)
        encoder.latlayer2.weight.mul_(2)  # reaches the finest tap only
        changed = (encoder(images) - before).abs().amax((0, 2)) > 0
    assert changed.tolist() == [False] * 7 + [True] * 3


def test_e4e_offsets_open_one_after_the_other(images):
    encoder = filled(E4EEncoder(**SMALL))
    with torch.no_grad():
        whole = encoder(images)
        for stage in (0, 1, 4, 9):
            codes = encoder(images, stage)
            torch.testing.assert_close(codes[:, : stage + 1], whole[:, : stage + 1])
            torch.testing.assert_close(codes[:, stage + 1 :], codes[:, :1].expand(-1, 9 - stage, -1))
    assert (whole[:, 1:] - whole[:, :1]).abs().amax((0, 2)).min() > 1e-3


def test_pictures_of_another_size_are_resized_with_antialiasing(images):
    encoder = filled(PSPEncoder(**SMALL))
    large = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    stripes = torch.ones(1, 3, 256, 256)
    stripes[..., ::2] = -1
    with torch.no_grad():
        assert encoder(large).shape == (4, 10, 16)
        torch.testing.assert_close(encoder(stripes), encoder(torch.zeros(1, 3, 64, 64)), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 1, 64, 64)])
def test_wrong_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"images: expected shape \[N, 3, H, W\], found"):
        PSPEncoder(**SMALL)(torch.zeros(shape))


@pytest.mark.parametrize(("argument", "value"), [("size", 48), ("size", 16), ("stages", [[8, 1]])])
def test_impossible_architectures_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"{argument}: expected"):
        PSPEncoder(**{**SMALL, argument: value})


@pytest.mark.parametrize("method,role,network", [(PSP, "encoder_psp", PSPEncoder), (E4E, "encoder_e4e", E4EEncoder)])
def test_methods_encode_synthesise_and_move(method, role, network, images):
    config = GeneratorConfig(64, dict.fromkeys((4, 8, 16, 32, 64), 8), z_dim=4, w_dim=16, n_mapping=2)
    generator, encoder = filled(Generator(config)), filled(network(**SMALL))
    directions = Directions(["age"], 10, 16)
    directions.vectors.normal_(generator=torch.Generator().manual_seed(2))
    model = method({"generator": generator, role: encoder, "directions": directions}, Options("encoder", {}))
    clock = StageClock("cpu")
    found = model.invert(images, clock)
    with torch.no_grad():
        torch.testing.assert_close(found.latents, encoder(images))
        torch.testing.assert_close(found.images, generator.synthesis(found.latents))
        moved = generator.synthesis(found.latents + 2 * directions["age"])
    torch.testing.assert_close(model.edit(found, Edit("age", 2), clock), moved)
    torch.testing.assert_close(model.edit(found, Edit("age", 0), clock), found.images)
    alone = model.invert(images[2:3], clock)
    torch.testing.assert_close(alone.images, found.images[2:3], atol=1e-4, rtol=1e-4)
    assert (moved - found.images).abs().max() > 1e-3


@pytest.mark.parametrize("asked", ["hyperstyle", "hyperinverter"])
def test_the_encoder_into_w_gives_one_code_for_all_layers(asked, images):
    config = GeneratorConfig(64, dict.fromkeys((4, 8, 16, 32, 64), 8), z_dim=4, w_dim=16, n_mapping=2)
    small = {"w_dim": 16, "size": 64, "stages": SMALL["stages"]}
    generator, shared, own = filled(Generator(config)), filled(WEncoder(**small)), filled(WEncoder(**small), seed=1)
    networks = {"generator": generator, "encoder_w": shared, "directions": Directions(["age"], 10, 16)}
    for has in (networks, networks | {"encoder_w_hyperinverter": own}):
        model = WEncoding(has, Options("w_encoder", {"trained_for": asked}))
        found = model.invert(images, StageClock("cpu"))
        expected = own if asked == "hyperinverter" and has is not networks else shared
        with torch.no_grad():
            torch.testing.assert_close(found.latents, expected(images)[:, None].expand(-1, 10, -1))
            torch.testing.assert_close(found.images, generator.synthesis(found.latents))


def test_a_resnet_has_no_pooling_and_sees_one_picture(images):
    encoder = filled(WEncoder(16, size=64, backbone="resnet", stages=[[4, 1], [8, 2], [12, 1], [16, 1]]))
    with torch.no_grad():
        assert encoder.conv1.weight.shape == (4, 3, 7, 7) and encoder(images).shape == (4, 16)
        assert encoder.body(encoder.conv1(images)).shape == (4, 16, 4, 4)
    with pytest.raises(ValueError, match="backbone: expected one of irse, resnet, found 'vgg'"):
        WEncoder(backbone="vgg")


def test_latent_discriminator_has_the_official_layout():
    shapes = {key: list(value.shape) for key, value in LatentDiscriminator().state_dict().items()}
    linear = {f"mlp.{i}": [512, 512] for i in (0, 2, 4)} | {"mlp.6": [1, 512]}
    assert shapes == {f"{k}.{part}": v if part == "weight" else v[:1] for k, v in linear.items() for part in ("weight", "bias")}
    assert LatentDiscriminator()(torch.zeros(5, 512)).shape == (5,)


def test_pool_returns_new_codes_while_it_fills_and_old_ones_later():
    pool, generator = LatentPool(1, size=8), torch.Generator().manual_seed(0)
    first = torch.arange(8.0)[:, None]
    torch.testing.assert_close(pool.exchange(first, generator), first)
    later = torch.arange(8.0, 208.0)[:, None]
    shown = pool.exchange(later, generator)
    old = (shown != later).float().mean().item()
    assert 0.35 < old < 0.65
    # Nothing is lost or doubled: what went in was shown or is stored.
    assert sorted(torch.cat([shown, pool.codes]).flatten().tolist()) == list(range(208))
