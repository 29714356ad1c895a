"""Geometries against the recipes of the public code, done here anew with Pillow and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from invbench.api import InvbenchError
from invbench.datasets.geometry import Geometry


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_exact_takes_its_size_only():
    picture = noise(8, 8)
    assert np.array_equal(Geometry(8, 8).apply(picture, "a"), picture)
    with pytest.raises(InvbenchError, match="a: expected a picture of 8x8, found 9x8"):
        Geometry(8, 8).apply(noise(8, 9), "a")


@pytest.mark.parametrize("size", [(300, 200), (70, 100)])
def test_squeeze_is_torchvisions_resize_of_a_pillow_image(size):
    from torchvision.transforms import Resize

    picture = noise(*size)
    expected = np.array(Resize((192, 256))(Image.fromarray(picture)))
    assert np.array_equal(Geometry(192, 256, "squeeze", "bilinear").apply(picture, "a"), expected)


@pytest.mark.parametrize(("height", "width"), [(300, 201), (201, 300), (256, 256), (90, 400)])
def test_crop_is_the_middle_square_of_the_projector(height, width):
    picture = noise(height, width)
    image, side = Image.fromarray(picture), min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    expected = image.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.LANCZOS)
    assert np.array_equal(Geometry(256, 256, "crop", "lanczos").apply(picture, "a"), np.array(expected))


def test_crop_to_another_aspect_keeps_the_whole_of_one_side():
    picture = noise(100, 100)
    found = Geometry(75, 100, "crop", "lanczos").apply(picture, "a")
    assert np.array_equal(found, picture[12:87])


@pytest.mark.parametrize(("height", "width"), [(384, 512), (600, 800), (480, 640), (413, 550)])
def test_wide_is_the_recipe_of_the_car_generators_training_pictures(height, width):
    picture = noise(height, width)
    rows = int(np.round(512 * height / width))
    middle = Image.fromarray(picture[(height - rows) // 2 : (height + rows) // 2])
    expected = np.array(middle.resize((512, 384), Image.Resampling.LANCZOS))
    geometry = Geometry(384, 512, "lsun_wide", "lanczos")
    assert geometry.takes(height, width) and np.array_equal(geometry.apply(picture, "a"), expected)


@pytest.mark.parametrize(("height", "width"), [(400, 511), (383, 512), (500, 700)])
def test_wide_refuses_what_the_generators_set_leaves_out(height, width):
    geometry = Geometry(384, 512, "lsun_wide", "lanczos")
    assert not geometry.takes(height, width)
    with pytest.raises(InvbenchError, match="a: expected at least 512 columns and, scaled to that width, 384 rows, found"):
        geometry.apply(noise(height, width), "a")


@pytest.mark.parametrize("wrong", [(8, 8, "stretch"), (8, 8, "crop", "nearest"), (0, 8)])
def test_a_geometry_that_makes_no_sense_is_told(wrong):
    with pytest.raises(InvbenchError, match="geometry: expected"):
        Geometry(*wrong)
