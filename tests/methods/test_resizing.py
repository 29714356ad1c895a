"""The Lanczos filter against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from invbench.methods.common.resizing import lanczos


@pytest.mark.parametrize("size", [(16, 16), (32, 16), (7, 50), (64, 48)])
def test_lanczos_is_that_of_pillow(size):
    maps = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    maps[0, 0] = (maps[0, 0] > 0.5).float()
    expected = [[np.asarray(Image.fromarray(m.numpy()).resize(size[::-1], Image.Resampling.LANCZOS)) for m in x] for x in maps]
    np.testing.assert_allclose(lanczos(maps, size), np.array(expected), atol=2e-6)


def test_an_image_of_the_size_is_returned():
    image = torch.rand(1, 1, 5, 5)
    assert lanczos(image, (5, 5)) is image
