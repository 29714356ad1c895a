from dataclasses import replace

import numpy as np
import torch

from invbench.metrics.domain import DomainIoU


def with_masks(given, truths, mask):
    samples = [replace(sample, ood_mask=truth) for sample, truth in zip(given.samples, truths, strict=True)]
    return replace(given, samples=samples, state={"domain_mask": mask})


def box(*corners):
    mask = np.zeros((64, 64), bool)
    top, bottom, left, right = corners
    mask[top:bottom, left:right] = True
    return mask


def test_intersection_over_union(given):
    mask = torch.ones(4, 1, 64, 64)
    mask[:, :, 0:16, 0:16] = 0.4
    truths = [box(0, 16, 0, 16), box(0, 16, 8, 24), box(32, 48, 32, 48), box(0, 32, 0, 32)]
    np.testing.assert_allclose(DomainIoU({})(with_masks(given, truths, mask)), [1, 1 / 3, 0, 1 / 4], rtol=1e-12)


def test_a_smaller_mask_is_resized(given):
    mask = torch.ones(4, 1, 16, 16)
    mask[:, :, :, 8:] = 0
    assert DomainIoU({})(with_masks(given, [box(0, 64, 32, 64)] * 4, mask)).tolist() == [1.0] * 4


def test_only_pictures_with_out_of_domain_pixels_are_covered(given):
    mask = torch.ones(4, 1, 64, 64)
    truths = [None, box(0, 0, 0, 0), box(0, 16, 0, 16), box(0, 64, 0, 64)]
    values = DomainIoU({})(with_masks(given, truths, mask))
    assert np.isnan(values).tolist() == [True, True, False, False]
    assert values[2:].tolist() == [0.0, 0.0]


def test_a_method_without_a_mask_is_not_covered(given):
    assert np.isnan(DomainIoU({})(given)).tolist() == [True] * 4
