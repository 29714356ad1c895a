"""SAM's masks against the arithmetic of the released code, and its two forms of the distance between layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from invbench.methods.sam import SAM
from tests.methods.test_refinement import build


def test_soft_masks_are_resized_and_clipped_as_released(networks, images):
    method = build(SAM, networks, threshold=0.7)
    found = method._choose_spaces(images)["F4"]
    # The predictor errs by 1 in the upper half in W+: of the test's segments only hair, the rows above 6, goes to F4.
    claimed = np.zeros((32, 32), np.float32)
    claimed[:6, 4:] = 1
    expected = np.asarray(Image.fromarray(claimed).resize((16, 16), Image.Resampling.LANCZOS)).clip(0, claimed.max())
    assert ((expected > 0.01) & (expected < 0.99)).any()
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=2e-6)


def test_the_papers_masks_are_binary(networks, images):
    mask = build(SAM, networks, soft_masks=False, threshold=0.7)._choose_spaces(images)["F4"]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask[:, 0, :3, 2:].all() and mask.sum() == 4 * 3 * 14


def test_both_distances_between_layers_agree_at_one_spread(networks):
    stats = networks["latent_stats"]
    plain, squared = (build(SAM, networks, squared_delta=form) for form in (False, True))
    latents = torch.zeros(3, 8, 8)
    latents[0, 1:, 0] = stats.std
    latents[1, 2, 3] = 3 * stats.std
    latents[2, 2, 3] = stats.std / 3
    lengths = torch.tensor([7.0, 3.0, 1 / 3]) * stats.std
    torch.testing.assert_close(plain._delta(latents), lengths)
    torch.testing.assert_close(squared._delta(latents), lengths * torch.tensor([1, 3, 1 / 3]))


@pytest.mark.parametrize("fused", [["skin"], []])
def test_segments_cover_the_picture_once(networks, images, fused):
    segments = build(SAM, networks, fused=fused)._segments(images)
    assert torch.equal(segments.sum(1), torch.ones(4, 32, 32))
