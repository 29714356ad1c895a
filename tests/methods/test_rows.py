"""A generator whose picture is a part of its square canvas: LSUN cars, 384 x 512 between black bars (rows 64 to 448)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from invbench.api import Edit
from invbench.methods.common.losses import at_most
from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from tests.methods.test_refinement import CLASSES, build


@pytest.fixture(scope="module")
def wide(networks):
    """The networks of the other tests, whose generator shows rows 4 to 28 of 32 only."""
    square = networks["generator"]
    generator = Generator(replace(square.config, rows=(4, 28)))
    generator.load_state_dict(square.state_dict())
    return networks | {"generator": generator.eval().requires_grad_(False)}


def test_the_picture_is_a_part_of_the_canvas(networks, wide):
    latents = networks["generator"].sample_w(2, generator=torch.Generator().manual_seed(2))[:, None].expand(-1, 8, -1)
    canvas = networks["generator"].synthesis(latents)
    picture, features = wide["generator"].synthesis(latents, return_features=["b16.conv1"])
    assert wide["generator"].config.picture_size == (24, 32)
    assert torch.equal(picture, canvas[:, :, 4:28])
    assert features["b16.conv1"].shape[-2:] == (16, 16)  # features keep the whole canvas


def test_maps_go_to_the_canvas_and_back(wide):
    maps = torch.rand(2, 1, 24, 32)
    canvas = wide["generator"].on_canvas(maps, outside=7.0)
    assert canvas.shape == (2, 1, 32, 32) and (canvas[:, :, :4] == 7).all() and (canvas[:, :, 28:] == 7).all()
    assert torch.equal(wide["generator"].off_canvas(canvas), maps)
    assert wide["generator"].off_canvas(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 12, 16)


def test_rows_that_are_not_in_the_canvas_are_refused():
    with pytest.raises(ValueError, match="rows: expected 0 <= first < end <= 32, found 8 to 40"):
        GeneratorConfig(resolution=32, rows=(8, 40))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_refinement_works_on_wide_pictures(kind, wide, images, clock):
    method = build(kind, wide)
    target = images[:2, :, 4:28]
    start = (wide["generator"].synthesis(wide["encoder_e4e"](target)) - target).square().mean()
    inversion = method.invert(target, clock)
    assert inversion.images.shape == target.shape
    assert (inversion.images - target).square().mean() < start
    mask = inversion.state.get("domain_mask")
    assert mask is None or mask.shape == (2, 1, 24, 32)
    assert method.edit(inversion, Edit("yaw", 1.0), clock).shape == target.shape


def test_an_encoder_reads_wide_pictures_at_its_size():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = E4EEncoder(8, 16, size=32, stages=[[4, 1]] * 4, heads=8).eval()
    wide = torch.rand(2, 3, 96, 128) * 2 - 1
    assert encoder(wide).shape == (2, 8, 16)
    small = torch.nn.functional.interpolate(wide, size=(24, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(encoder(wide), encoder(small), atol=1e-5, rtol=1e-5)


def test_area_resizing_keeps_the_aspect():
    assert at_most(torch.zeros(1, 3, 384, 512), 256).shape[-2:] == (192, 256)
    assert at_most(torch.zeros(1, 3, 1024, 1024), 256).shape[-2:] == (256, 256)
    assert at_most(torch.zeros(1, 3, 64, 64), 256).shape[-2:] == (64, 64)
