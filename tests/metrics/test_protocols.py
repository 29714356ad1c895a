"""Every protocol against Pillow or torchvision called by hand, as the published scripts call them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import resize as torchvision_resize

from invbench.api import InvbenchError, MetricInput, MissingWeights, Preparation, Sample
from invbench.metrics import protocols
from invbench.metrics.pixel import MSE
from invbench.plugins import registry

SPECS = registry.protocols()
TO_UNIT = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


@pytest.fixture
def pictures() -> np.ndarray:
    """uint8 [2, 300, 400, 3]: noise, and a gradient with hard edges."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    edges = np.linspace(0, 255, 400).astype(np.uint8)[None, :, None] * np.ones((300, 1, 3), np.uint8)
    edges[::7] = 255
    return np.stack([noise, edges])


def build(id: str, networks: dict | None = None) -> Preparation:
    return registry.load(SPECS[id])(networks or {})


def by_torchvision(pictures: np.ndarray, size: tuple[int, int], filter: transforms.InterpolationMode) -> torch.Tensor:
    """The transform of the published scripts: transforms.Resize on a PIL image, ToTensor, Normalize."""
    resize = transforms.Resize(size, interpolation=filter)
    return torch.stack([TO_UNIT(resize(Image.fromarray(picture))) for picture in pictures])


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize(
    ("id", "size", "filter"),
    [
        ("psp256", (256, 256), transforms.InterpolationMode.BILINEAR),
        ("e4e_cars", (192, 256), transforms.InterpolationMode.BILINEAR),
        ("hyperinverter256", (256, 256), transforms.InterpolationMode.BICUBIC),
        ("hyperinverter1024", (1024, 1024), transforms.InterpolationMode.BICUBIC),
    ],
)
def test_files_are_resized_as_the_scripts_resize_them(id, size, filter, original, pictures):
    found = build(id)(pictures, original=original)
    assert found.dtype == torch.float32 and tuple(found.shape) == (2, 3, *size)
    torch.testing.assert_close(found, by_torchvision(pictures, size, filter), rtol=0, atol=1e-6)


def test_the_default_filter_of_pillow_is_bicubic(pictures):
    by_default = np.stack([np.asarray(Image.fromarray(picture).resize((256, 256))) for picture in pictures])
    np.testing.assert_array_equal(((build("hyperinverter256")(pictures) + 1) * 127.5).round().permute(0, 2, 3, 1), by_default)


@pytest.mark.parametrize("id", ["native", "inception_uint8"])
def test_native_changes_nothing(id, pictures):
    found = build(id)(pictures)
    np.testing.assert_array_equal(((found + 1) * 127.5).round().permute(0, 2, 3, 1).byte().numpy(), pictures)
    assert found.min() == -1 and found.max() == 1


def test_ganinverter_resizes_results_as_tensors_and_originals_as_files(pictures):
    protocol = build("ganinverter256")
    tensors = torchvision_resize(torch.stack([TO_UNIT(picture) for picture in pictures]), [256, 256], antialias=True)
    torch.testing.assert_close(protocol(pictures), tensors, rtol=0, atol=1e-5)
    files = by_torchvision(pictures, (256, 256), transforms.InterpolationMode.BILINEAR)
    torch.testing.assert_close(protocol(pictures, original=True), files, rtol=0, atol=1e-6)
    assert not torch.equal(protocol(pictures), protocol(pictures, original=True))


def test_an_mse_of_tensors_that_are_not_quantised_is_not_rounded(pictures):
    protocol = build("ganinverter256")
    target, output = protocol(pictures, original=True), protocol(pictures[::-1])
    samples = [Sample(picture, str(i), "") for i, picture in enumerate(pictures)]
    expected = (output.double() - target.double()).square().mean((1, 2, 3)).numpy()
    np.testing.assert_allclose(MSE({})(MetricInput(target=target, output=output, samples=samples)), expected, rtol=1e-6)
    same = MetricInput(target=target, output=protocol(pictures), samples=samples)
    assert (MSE({})(same) > 1e-7).all()  # half a level at most, which rounding would hide


@pytest.mark.parametrize("id", ["psp256", "hyperinverter256", "ganinverter256"])
def test_the_right_size_is_left_alone(id, pictures, monkeypatch):
    cut = np.ascontiguousarray(pictures[:, :256, :256])
    monkeypatch.setattr(protocols.Image, "fromarray", lambda *_: pytest.fail("a picture was resized"))
    assert torch.equal(build(id)(cut), build("native")(cut))
    assert protocols.resize(cut, height=256, width=256, filter=Image.Resampling.BILINEAR) is cut


class Detector:
    """Finds a face in pictures that are not black, and answers with their mean colour."""

    def align(self, pictures: np.ndarray) -> torch.Tensor:
        faces = torch.from_numpy(pictures).float().mean((1, 2))[:, :, None, None].expand(-1, -1, 112, 112) / 127.5 - 1
        return torch.where(torch.from_numpy(pictures > 0).any(3).any(2).any(1)[:, None, None, None], faces, torch.nan)


def test_faces_come_from_the_detector(pictures):
    pictures[1] = 0
    found = build("mtcnn112", {"face_detector": Detector()})(pictures)
    assert tuple(found.shape) == (2, 3, 112, 112)
    assert bool(found[1].isnan().all()) and found[0, 0, 5, 5] == pytest.approx(pictures[0, ..., 0].mean() / 127.5 - 1, abs=1e-5)


def test_a_detector_of_another_size_is_refused(pictures):
    detector = Detector()
    detector.align = lambda pictures: torch.zeros(2, 3, 64, 64)
    with pytest.raises(InvbenchError, match=r"'mtcnn112': expected aligned faces \(2, 3, 112, 112\), found .*64, 64"):
        build("mtcnn112", {"face_detector": detector})(pictures)
    with pytest.raises(MissingWeights, match="^weights missing: protocol 'mtcnn112' .*'face_detector'"):
        build("mtcnn112")


@pytest.mark.parametrize(("shape", "dtype"), [((2, 8, 8, 3), np.float32), ((8, 8, 3), np.uint8), ((1, 8, 8, 1), np.uint8)])
def test_what_is_no_batch_of_pictures_is_refused(shape, dtype):
    bad = np.zeros(shape, dtype)
    with pytest.raises(InvbenchError, match=r"expected uint8 \[N, H, W, 3\], found"):
        build("native")(bad)
