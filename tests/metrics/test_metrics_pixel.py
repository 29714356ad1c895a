import math
from dataclasses import replace

import numpy as np
import piq
import pytest
import torch
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from invbench.api import InvbenchError
from invbench.metrics import structure
from invbench.metrics.common import levels
from invbench.metrics.pixel import MSE, MSSSIM, PSNR, SSIM, scale_weights
from tests.agreement import agree


def test_mse_is_the_one_of_the_files(given, pictures):
    a, b = (p.astype(np.float64) / 127.5 - 1 for p in pictures)
    agree(MSE({})(given), ((a - b) ** 2).mean((1, 2, 3)), relative=1e-12)


def test_mse_of_black_and_white_is_four(given):
    extremes = replace(given, target=torch.ones(4, 3, 64, 64), output=-torch.ones(4, 3, 64, 64))
    assert MSE({})(extremes).tolist() == [4.0] * 4
    assert PSNR({})(extremes).tolist() == [0.0] * 4


def test_psnr_agrees_with_scikit_image(given, pictures):
    expected = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(*pictures, strict=True)]
    agree(PSNR({})(given), expected, relative=1e-12)


@pytest.mark.parametrize("rows", [64, 11])
def test_ssim_agrees_with_scikit_image(rows, given, pictures):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}
    pairs = [[one[:rows].astype(np.float64) for one in pair] for pair in zip(*pictures, strict=True)]
    cut = replace(given, target=given.target[..., :rows, :], output=given.output[..., :rows, :])
    agree(SSIM({})(cut), [structural_similarity(*pair, **options) for pair in pairs], relative=1e-9)


def test_ssim_is_not_reduced_in_size_first(given):
    def enlarged(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(images[3:], size=384)  # from here on piq halves

    large = replace(given, target=enlarged(given.target), output=enlarged(given.output))
    a, b = ((x.double() + 1) / 2 for x in (large.output, large.target))
    values = SSIM({})(large)
    agree(values, piq.ssim(a, b, reduction="none", downsample=False).numpy(), relative=1e-6)
    assert np.abs(values - piq.ssim(a, b, reduction="none").numpy()).max() > 0.01


@pytest.mark.parametrize("size", [(52, 47), (64, 64)])
def test_parts_of_large_pictures_give_the_values_of_the_whole(size, given, monkeypatch):
    height, width = size
    cut = replace(given, target=given.target[..., :height, :width], output=given.output[..., :height, :width])
    whole = [metric({})(cut) for metric in (SSIM, MSSSIM)]
    monkeypatch.setattr(structure, "PLANE_PIXELS", 40 * width)  # ten rows of windows at a time
    monkeypatch.setattr(structure, "ROWS_PIXELS", 7 * width)
    for metric, values in zip((SSIM, MSSSIM), whole, strict=True):
        np.testing.assert_allclose(metric({})(cut), values, rtol=1e-14)


@pytest.mark.parametrize("size", [(16, 12), (15, 12), (16, 13), (15, 13)])
def test_planes_are_halved_as_by_piq(size):
    planes = torch.rand(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    odd = max(side % 2 for side in size)  # piq pads both sides if one is odd
    expected = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(planes, [odd, 0, odd, 0], mode="replicate"), 2)
    assert torch.equal(structure._halved(planes), expected)


def test_levels_of_files_are_whole_and_others_are_left():
    every = torch.arange(256)
    for dtype in (torch.float32, torch.float64):
        assert levels(every.to(dtype) / 127.5 - 1).tolist() == every.tolist()
    between = torch.tensor([0.0, 7.5, 8.001, 254.9999, 254.99995])
    images = torch.cat([every, between]) / 127.5 - 1
    found = levels(images)
    exact = (images.double() + 1) * 127.5
    assert found[:256].tolist() == every.tolist() and found.dtype == torch.float64
    assert found[256:].tolist() == [0.0, *exact[257:259].tolist(), levels(images[259:260]).item(), 255.0]
    assert levels(torch.tensor([math.nan, 0.0])).isnan().tolist() == [True, False]


def test_identical_pictures(given):
    same = replace(given, output=given.target)
    assert MSE({})(same).tolist() == [0.0] * 4
    assert np.isposinf(PSNR({})(same)).all()
    np.testing.assert_allclose(MSSSIM({})(same), 1.0, rtol=1e-12)
    np.testing.assert_allclose(SSIM({})(same), 1.0, rtol=1e-12)


def test_ms_ssim_of_a_large_picture_is_piqs_standard_form(given):
    large = replace(
        given,
        target=torch.nn.functional.interpolate(given.target, size=176),
        output=torch.nn.functional.interpolate(given.output, size=176),
    )
    a, b = ((x.double() + 1) / 2 for x in (large.output, large.target))
    expected = piq.multi_scale_ssim(a, b, reduction="none").numpy()
    agree(MSSSIM({})(large), expected, relative=1e-6)


def test_ms_ssim_of_one_scale_is_ssim(given):
    small = replace(given, target=given.target[..., :16, :20], output=given.output[..., :16, :20])
    a, b = ((x.double() + 1) / 2 for x in (small.output, small.target))
    expected = piq.ssim(a, b, reduction="none", downsample=False).numpy()
    np.testing.assert_allclose(MSSSIM({})(small), expected, rtol=1e-6)


def test_ms_ssim_falls_with_noise_and_is_per_image(given):
    values = MSSSIM({})(given)
    assert values.dtype == np.float64 and (np.diff(values) < 0).all()
    alone = replace(given, target=given.target[2:3], output=given.output[2:3])
    np.testing.assert_allclose(MSSSIM({})(alone), values[2:3], rtol=1e-12)


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (20, 1), (64, 3), (80, 3), (81, 4), (160, 4), (161, 5)])
def test_scales_that_fit(side, scales):
    assert scale_weights(side) == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)[:scales]


def test_bad_input_is_refused(given):
    with pytest.raises(InvbenchError, match="at least 11 pixels a side, found 10"):
        scale_weights(10)
    with pytest.raises(InvbenchError, match="metric 'ssim': expected pictures of at least 11 pixels a side, found 10"):
        SSIM({})(replace(given, output=given.output[..., :10], target=given.target[..., :10]))
    with pytest.raises(ValueError, match="equal shapes"):
        MSE({})(replace(given, output=given.output[..., :32]))


def written_out_ms_ssim(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """MS-SSIM of [H, W, 3] pictures in [0, 1]: the product over scales for each channel, then the mean of channels."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    values = []
    for x, y in zip(a.transpose(2, 0, 1), b.transpose(2, 0, 1), strict=True):
        product = 1.0
        for scale, weight in enumerate(weights):
            mx, my, xx, yy, xy = (convolve2d(z, window, "valid") for z in (x, y, x * x, y * y, x * y))
            term = (2 * (xy - mx * my) + 0.03**2) / (xx - mx**2 + yy - my**2 + 0.03**2)
            if scale == len(weights) - 1:
                term = term * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            product *= term.mean() ** weight
            x, y = (z.reshape(len(z) // 2, 2, -1, 2).mean((1, 3)) for z in (x, y))
        values.append(product)
    return float(np.mean(values))


def test_ms_ssim_of_64_pixels_uses_the_three_finest_scales(given, pictures):
    weights = np.array([0.0448, 0.2856, 0.3001])
    weights /= weights.sum()
    expected = [written_out_ms_ssim(a / 255, b / 255, weights) for a, b in zip(*pictures, strict=True)]
    agree(MSSSIM({})(given), expected, relative=1e-6)
