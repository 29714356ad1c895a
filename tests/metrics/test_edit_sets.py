"""The two public forms of the FID of edits: preparation, networks, sets, value."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchvision import transforms
from torchvision.models import inception_v3

from invbench.api import InvbenchError, MissingWeights
from invbench.metrics import edit_sets
from invbench.metrics.nets import inception, inception_forms
from tests.agreement import agree

from .made_up import weights

# pytorch_fid.inception.InceptionV3([3]) of pytorch-fid 0.3.0 (PyPI) with the weights and the picture below; every 256th value
PYTORCH_FID = [6.26521921, 0.1512311, 0.0, 0.97996455, 2.26344991, 3.27754164, 0.0, 0.14220911]


def made(build: Callable[[], torch.nn.Module]) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in build().state_dict().items()}
    found = weights(shapes)
    return {key: value * 2**0.5 if value.ndim == 4 else value for key, value in found.items()}


def test_sfes_features_are_pytorch_fids():
    state = made(lambda: inception.Inception().model)
    network = inception.from_checkpoint(state, source="pt_inception.pth")
    picture = torch.linspace(-3, 3, 3 * 64 * 48).reshape(1, 3, 64, 48).sin()
    form = edit_sets.EditFidSfe({"inception": network})
    found = form.features(picture)
    assert found.shape == (1, 2048)
    expected = np.array(PYTORCH_FID)
    agree(found[0, ::256][expected > 0], expected[expected > 0], relative=1e-4)
    np.testing.assert_allclose(found[0, ::256], expected, rtol=1e-4, atol=1e-5)
    theirs = network.features(picture)[0, ::256].numpy()
    assert np.abs(found[0, ::256] - theirs).max() > 5e-3  # torch-fidelity resizes otherwise


def test_styleres_features_are_those_of_torchvision():
    state = made(lambda: inception_v3(weights=None, aux_logits=True, init_weights=False))
    network = inception_forms.from_checkpoint(state, source="inception_v3.pth")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    plain = inception_v3(weights=None, aux_logits=True, transform_input=False, init_weights=False)
    plain.load_state_dict(state, strict=False)
    plain.fc = torch.nn.Identity()
    read = transforms.Compose([
        transforms.Resize([299, 299]), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    with torch.inference_mode():
        expected = plain.eval()(torch.stack([read(Image.fromarray(one)) for one in pictures]))
    form = edit_sets.EditFidStyleRes({"inception_imagenet": network})
    found = form.features(edit_sets.as_images(pictures))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)
    agree(found[expected > 0.01], expected[expected > 0.01].numpy(), relative=1e-4)
    assert expected.std(0).mean() > 1e-3
    with pytest.raises(InvbenchError, match="inception_v3.pth: .*missing: model.AuxLogits.fc.bias"):
        short = {key: value for key, value in state.items() if key != "AuxLogits.fc.bias"}
        inception_forms.from_checkpoint(short, source="inception_v3.pth")


def test_sfe_lowers_grey_values():
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3).repeat(64, 1).repeat(64, 2)
    found = ((edit_sets.SfeEdit({})(grey)[0, 0, ::64, ::64] + 1) * 127.5).round().numpy().astype(int).ravel()
    lowered = np.arange(256) - found
    assert set(lowered.tolist()) == {0, 1} and lowered.sum() == 63  # as counted with the published script


def test_styleres_stores_jpeg_of_256_pixels():
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).resize((256, 256), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75)
    expected = np.asarray(Image.open(file))
    found = (edit_sets.StyleResEdit({})(picture[None])[0].permute(1, 2, 0) + 1) * 127.5
    assert (found.round().numpy() == expected).all()


class Regressor(torch.nn.Module):
    names, low, high = ["age", "smile"], [20.0, -1.0], [80.0, 1.0]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


def test_sets_follow_the_sources():
    sfe = edit_sets.EditFidSfe({"inception": None})
    assert sfe.has("age", {"Young": True}) is False and sfe.has("smile", {"Smiling": True}) is True
    assert sfe.has("glasses", {"Young": True}) is None
    assert "attribute (smile, age, glasses), found 'yaw'" in sfe.refusal("yaw") and not sfe.refusal("age")
    assert not edit_sets.EditFidStyleRes({"inception_imagenet": None}).refusal("yaw")
    proc = edit_sets.EditFidProcSfe({"regressor": Regressor()})
    assert proc.has("age", np.array([0.41, 0.0])) is False and proc.has("age", np.array([0.43, 0.0])) is True  # 45 years
    with pytest.raises(MissingWeights, match="edit_fid_sfe"):
        edit_sets.EditFidSfe({})


def test_the_value_is_the_frechet_distance_of_sets_of_any_size():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, (40, 5)), rng.normal(0.5, 2, (25, 5))
    form = edit_sets.EditFidProcSfe({"regressor": Regressor()})
    statistics = [fid_features_to_statistics(torch.from_numpy(one)) for one in (a, b)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    agree(form.compute(a, b), expected, relative=1e-8)
    with pytest.raises(InvbenchError, match="at least 20 edits, found 19"):
        form.compute(a, b[:19])
    with pytest.raises(InvbenchError, match="finite features of originals"):
        form.compute(np.where(a > 2, np.nan, a), b)


def test_annotations_of_celeba():
    text = "2\nSmiling Young \n0.jpg  1 -1 \n1.jpg -1  1 \n"
    assert edit_sets.annotated(text, source="a.txt") == {
        "0": {"Smiling": True, "Young": False},
        "1": {"Smiling": False, "Young": True},
    }
    for wrong, message in (
        ("x\nSmiling\n0.jpg 1\n", "expected a number of pictures"),
        ("1\nSmiling Young\n0.jpg 1\n", "a.txt:3: expected a name and 2 times 1 or -1"),
        ("1\nSmiling\n0.jpg 0\n", "a.txt:3: expected a name and 1 times"),
    ):
        with pytest.raises(InvbenchError, match=message):
            edit_sets.annotated(wrong, source="a.txt")
