"""The framings of single networks, against what their authors' code does, called by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from skimage.data import astronaut
from torchvision import transforms

from invbench.api import MissingWeights, Preparation
from invbench.metrics.nets.arcface import ArcFace
from invbench.metrics.nets.face_detector import FaceDetector
from invbench.metrics.nets.facenet import FaceNet
from invbench.plugins import registry

SPECS = registry.protocols()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 [2, 512, 512, 3]: a face in its surroundings, and noise."""
    return np.stack([astronaut(), np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)])


def build(id: str, networks: dict | None = None) -> Preparation:
    return registry.load(SPECS[id])(networks or {})


def test_the_crop_of_the_identity_loss(pictures, monkeypatch):
    found = build("irse_crop112")(pictures)
    halves = torch.from_numpy(pictures.reshape(2, 256, 2, 256, 2, 3).mean((2, 4))).permute(0, 3, 1, 2) / 127.5 - 1
    expected = torch.nn.AdaptiveAvgPool2d((112, 112))(halves[:, :, 35:223, 32:220])
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    seen = []
    with torch.device("meta"):
        network = ArcFace()
    monkeypatch.setattr(network, "embedding", seen.append)
    network(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(found, seen[0], rtol=0, atol=1e-6)  # the loss cuts the same out


def test_the_whole_picture_for_head_poses(pictures):
    wide = np.ascontiguousarray(pictures[:, 100:400])
    transform = transforms.Compose(
        [transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    )
    for each in (pictures, wide):
        expected = torch.stack([transform(Image.fromarray(picture)) for picture in each])
        torch.testing.assert_close(build("hopenet224")(each), expected, rtol=0, atol=1e-6)


def test_the_largest_face_for_facenet(pictures, monkeypatch):
    part = np.ascontiguousarray(pictures[:, :200, 110:326])
    found = build("facenet160", {"face_detector": FaceDetector().eval()})(part)
    assert found[1].isnan().all()
    seen = []
    with torch.device("meta"):
        network = FaceNet()
    monkeypatch.setattr("facenet_pytorch.InceptionResnetV1.forward", lambda _, x: seen.append(x))
    network(found)
    torch.testing.assert_close(seen[0][0], MTCNN()(Image.fromarray(part[0])), rtol=0, atol=1e-6)  # standardised, 160 px
    with pytest.raises(MissingWeights, match="^weights missing: protocol 'facenet160' needs a network in the role 'face_det"):
        build("facenet160")
