"""ReStyle: the official layouts, both backbones against another build of them, and an inversion pass by pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import resnet34

from invbench.api import Edit
from invbench.methods.directions.linear import Directions
from invbench.methods.nets.encoders import PSPEncoder
from invbench.methods.nets.restyle import RESNET34, ReStyleE4EEncoder, ReStylePSPEncoder
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from invbench.methods.restyle_e4e import ReStyleE4E
from invbench.methods.restyle_psp import ReStylePSP
from invbench.options import make
from invbench.plugins.registry import methods
from invbench.util.clock import StageClock
from tests import golden_vectors
from tests.methods.test_encoders import filled

SMALL = {"num_ws": 10, "w_dim": 16, "size": 64, "stages": [[4, 1], [8, 1], [10, 2], [16, 1]], "heads": 12}
ROWS = [(ReStylePSP, ReStylePSPEncoder), (ReStyleE4E, ReStyleE4EEncoder)]
OFFICIAL = [("irse50", 18, {}), ("resnet34", 16, {"backbone": "resnet", "stages": RESNET34})]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


@pytest.fixture(scope="module")
def generator() -> Generator:
    made = filled(Generator(GeneratorConfig(64, dict.fromkeys((4, 8, 16, 32, 64), 8), z_dim=4, w_dim=16, n_mapping=2)))
    return made.requires_grad_(False)


def row(method, network, generator, iterations):
    """The method with a small random encoder around a mean latent, and that encoder."""
    encoder = filled(network(**SMALL)).requires_grad_(False)
    encoder.latent_avg.copy_(torch.linspace(-1, 1, 160).reshape(10, 16))
    directions = Directions(["age"], 10, 16)
    directions.vectors.normal_(generator=torch.Generator().manual_seed(2))
    spec = methods()[method.role.removeprefix("encoder_")]
    networks = {"generator": generator, method.role: encoder, "directions": directions}
    return method(networks, make(spec, {"iterations": iterations})), encoder


@pytest.mark.parametrize(("variant", "num_ws", "options"), OFFICIAL, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("network", [ReStylePSPEncoder, ReStyleE4EEncoder])
def test_both_backbones_have_the_official_tensors(network, variant, num_ws, options):
    with torch.device("meta"):
        built = network(num_ws, **options)
    shapes = {key: list(value.shape) for key, value in built.state_dict().items()}
    assert shapes.pop("latent_avg") == [num_ws, 512]
    assert shapes == golden_vectors.load("restyle_layout")[variant]


@torch.no_grad()
def test_the_resnet_is_torchvisions_without_pooling():
    encoder = filled(ReStylePSPEncoder(8, 16, size=64, backbone="resnet", stages=RESNET34, heads=8))
    theirs = resnet34()
    theirs.conv1 = torch.nn.Conv2d(6, 64, 7, 2, 3, bias=False)
    blocks = [*theirs.layer1, *theirs.layer2, *theirs.layer3, *theirs.layer4]
    theirs.conv1.load_state_dict(encoder.conv1.state_dict())
    theirs.bn1.load_state_dict(encoder.bn1.state_dict())
    for block, ours in zip(blocks, encoder.body, strict=True):
        block.load_state_dict(ours.state_dict())
    theirs.eval()
    draws = torch.Generator().manual_seed(3)
    seen, drawn = (torch.randn(2, 3, 64, 64, generator=draws) for _ in range(2))
    x = theirs.bn1(theirs.conv1(torch.cat([seen, drawn], 1)))
    x = torch.where(x > 0, x, encoder.relu.weight[:, None, None] * x)
    for block in blocks:
        x = block(x)
    assert x.shape == (2, 512, 4, 4)
    torch.testing.assert_close(encoder._features(seen, drawn), x)
    codes = torch.stack([head(x) for head in encoder.styles], 1)
    torch.testing.assert_close(encoder(seen, drawn, torch.ones(2, 8, 16)), 1 + codes)


@torch.no_grad()
def test_the_trunk_of_faces_is_psps_with_six_channels(images):
    psp, encoder = filled(PSPEncoder(**SMALL)), filled(ReStylePSPEncoder(**SMALL), seed=1)
    encoder.body.load_state_dict(psp.body.state_dict())
    stem = psp.input_layer.state_dict()
    encoder.input_layer.load_state_dict(stem | {"0.weight": torch.cat([stem["0.weight"], 0 * stem["0.weight"]], 1)})
    coarse = psp._taps(images)[0]
    found = encoder(images, torch.full_like(images, 9.0), torch.zeros(3, 10, 16))
    torch.testing.assert_close(found, torch.stack([head(coarse) for head in encoder.styles], 1))


@torch.no_grad()
def test_over_e4e_a_correction_is_one_for_all_and_small_ones_that_open_in_turn(images):
    encoder = filled(ReStyleE4EEncoder(**SMALL))
    latents = torch.randn(3, 10, 16, generator=torch.Generator().manual_seed(4))
    heads = [head(encoder._features(images, -images)) for head in encoder.styles]
    for stage in (0, 1, 4, 9, None):
        last = 9 if stage is None else stage
        expected = [heads[0] + (heads[i] if 0 < i <= last else 0) for i in range(10)]
        torch.testing.assert_close(encoder(images, -images, latents, stage), latents + torch.stack(expected, 1))


@pytest.mark.parametrize(("method", "network"), ROWS)
@torch.no_grad()
def test_every_pass_starts_from_what_the_one_before_drew(method, network, generator, images):
    model, encoder = row(method, network, generator, 3)
    found = model.invert(images, StageClock("cpu"))
    latents = encoder.latent_avg.expand(3, 10, 16)
    drawn = generator.synthesis(latents)
    for number in range(3):
        latents = encoder(images, drawn, latents)
        drawn = generator.synthesis(latents)
        torch.testing.assert_close(found.state["latents_of_steps"][:, number], latents)
        torch.testing.assert_close(found.state["images_of_steps"][:, number], drawn)
    torch.testing.assert_close(found.latents, latents)
    torch.testing.assert_close(found.images, drawn)
    assert (found.state["images_of_steps"].diff(dim=1).abs().amax((0, 2, 3, 4)) > 1e-3).all()
    assert torch.equal(row(method, network, generator, 1)[0].invert(images, StageClock("cpu")).latents,
                       found.state["latents_of_steps"][:, 0])  # fmt: skip


@pytest.mark.parametrize(("method", "network"), ROWS)
@torch.no_grad()
def test_edits_move_the_last_code_and_batches_change_nothing(method, network, generator, images):
    model, _ = row(method, network, generator, 5)
    clock = StageClock("cpu")
    found = model.invert(images, clock)
    assert set(clock.stages) == {"encode", "synthesise"}
    assert torch.equal(model.edit(found, Edit("age", 0), clock), found.images)
    moved = generator.synthesis(found.latents + 2 * model.directions["age"])
    torch.testing.assert_close(model.edit(found, Edit("age", 2), clock), moved)
    alone = model.invert(images[1:2], clock)
    torch.testing.assert_close(alone.images, found.images[1:2], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(alone.state["images_of_steps"], found.state["images_of_steps"][1:2], atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_wide_pictures_are_read_at_the_encoders_size_and_drawings_are_averaged():
    """Cars: 384 x 512 pictures become 192 x 256, what is drawn by averages of 2 x 2, as pooling the canvas and cutting it."""
    encoder = filled(ReStylePSPEncoder(**{**SMALL, "num_ws": 8}, backbone="resnet"))
    draws = torch.Generator().manual_seed(5)
    seen, canvas = (torch.randn(2, 3, 128, 128, generator=draws) for _ in range(2))
    pooled = F.adaptive_avg_pool2d(canvas, (64, 64))[:, :, 8:56]
    small = F.interpolate(seen[:, :, 16:112], size=(48, 64), mode="bilinear", antialias=True)
    zero = torch.zeros(2, 8, 16)
    torch.testing.assert_close(encoder(seen[:, :, 16:112], canvas[:, :, 16:112], zero), encoder(small, pooled, zero))


@pytest.mark.parametrize(
    ("argument", "value"), [("size", 48), ("size", 16), ("stages", [[8, 1]]), ("backbone", "vgg")]
)
def test_impossible_architectures_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"{argument}: expected"):
        ReStylePSPEncoder(**{**SMALL, argument: value})
