"""Similarities by embeddings, and how pictures without a face count, up to the harness itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import Edit, MissingWeights, Sample
from invbench.metrics.embeddings import FaceFound, FaceKept, IdArcFace, IdFaceNet, IdKeptCurricular, MoCoSimilarity
from invbench.metrics.nets.face_detector import FaceDetector
from invbench.metrics.nets.irse import FaceEmbedding
from invbench.plugins import registry
from invbench.plugins.config import Suite
from invbench.scoring.evaluator import Evaluator
from invbench.scoring.scorer import Scorer
from invbench.weights.networks import Networks


class Embedding(nn.Module):
    """Mean colours of the image's quarters; counts how often it is asked."""

    calls = 0

    def embedding(self, images: Tensor) -> Tensor:
        self.calls += 1
        return F.adaptive_avg_pool2d(images, 2).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.embedding(images)


def cosines(a: Tensor, b: Tensor) -> np.ndarray:
    x, y = (F.adaptive_avg_pool2d(images.double(), 2).flatten(1).numpy() for images in (a, b))
    return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def lost(images: Tensor, *which: int) -> Tensor:
    """``images`` as a protocol gives them where it finds no face in some."""
    images = images.clone()
    images[list(which)] = torch.nan
    return images


@pytest.mark.parametrize(
    ("metric", "role"), [(IdArcFace, "identity_arcface"), (IdFaceNet, "identity_facenet"), (MoCoSimilarity, "moco")]
)
def test_similarity_is_the_cosine_of_the_embeddings(metric, role, given):
    found = metric({role: Embedding()})(replace(given, output=lost(given.output, 2)))
    expected = cosines(given.output, given.target)
    np.testing.assert_allclose(found[[0, 1, 3]], expected[[0, 1, 3]], rtol=1e-5)
    assert np.isnan(found[2]) and found.dtype == np.float64
    with pytest.raises(MissingWeights, match=f"^weights missing: metric '{metric.metric}' needs .* role '{role}'"):
        metric({})


def test_arcface_does_not_cut_its_faces_again(given, monkeypatch):
    network = Embedding()
    monkeypatch.setattr(Embedding, "forward", lambda *_: pytest.fail("forward cuts the face out of a whole picture"))
    assert np.isfinite(IdArcFace({"identity_arcface": network})(given)).all()


def test_lost_faces_are_counted(given):
    judged = replace(given, target=lost(given.target, 0, 1), output=lost(given.output, 1, 2))
    np.testing.assert_array_equal(FaceFound({})(judged), [np.nan, np.nan, 0, 1])
    edited = replace(given, edit=Edit("age", 1.0), inverted=lost(given.target, 3), output=lost(given.output, 0))
    np.testing.assert_array_equal(FaceKept({})(edited), [0, 1, 1, np.nan])


def test_identity_kept_by_curricularface_is_against_the_reconstruction(given):
    network = Embedding()
    metric = IdKeptCurricular({"identity_curricular": network})
    first = replace(given, edit=Edit("age", 1.0), inverted=lost(given.target, 3), target=given.output)
    found = metric(first)
    np.testing.assert_allclose(found[:3], cosines(given.output, given.target)[:3], rtol=1e-5)
    assert np.isnan(found[3]) and network.calls == 2
    metric(replace(first, edit=Edit("age", 2.0), output=given.output.flip(3)))
    assert network.calls == 3  # the reconstruction's embedding is kept


class Found(Networks):
    """The detector and a small random network of CurricularFace's kind."""

    def __init__(self, suite: Suite) -> None:
        super().__init__(suite)
        torch.manual_seed(0)
        stages = ((4, 1), (4, 1), (8, 1), (8, 1))
        network = FaceEmbedding(stages=stages, gated=False, affine=False, features=16).eval().requires_grad_(False)
        network.forward = network.embedding  # type: ignore[method-assign]
        self._loaded = {"face_detector": FaceDetector().eval().requires_grad_(False), "identity_curricular": network}

    def __getitem__(self, role: str) -> nn.Module:
        return self._loaded[role]

    def provenance(self, role: str) -> dict[str, str]:
        return {"class": role}

    def code(self, role: str) -> list[type]:
        return [type(self[role])]


def test_a_face_less_result_counts_in_the_harness():
    face = astronaut()[40:200, 130:290]
    originals = [face, face, face // 3 * 2, np.zeros_like(face)]
    samples = [Sample(np.ascontiguousarray(picture), f"{i}", "") for i, picture in enumerate(originals)]
    outputs = np.stack([face, np.full_like(face, 90), face, face])
    known = registry.discover()
    ids = ["id_curricular@mtcnn112", "face_found@mtcnn112", "id_kept_curricular@mtcnn112", "face_kept@mtcnn112"]
    suite = Suite(id="s", title="s", resolution=160, datasets=("d",), collections={"all": ("d",)}, default="all")
    specs = [known.metrics[id] for id in ids]
    scorer = Scorer(specs, Found(suite), protocols=known.protocols, regions={}, required=True)
    evaluator = Evaluator(scorer, samples, outputs, masks=None)
    values = evaluator.inversion()
    np.testing.assert_array_equal(values["face_found@mtcnn112"], [1, 0, 1, np.nan])
    identity = values["id_curricular@mtcnn112"]
    assert identity[0] == pytest.approx(1, abs=1e-6) and -1 <= identity[2] < 1 and np.isnan(identity[[1, 3]]).all()
    outputs = np.stack([face, face, originals[3], face])
    values = evaluator.edit(Edit("age", 1.0), outputs, truth=None, true_factors=None)
    np.testing.assert_array_equal(values["face_kept@mtcnn112"], [1, np.nan, 0, 1])
    assert np.isnan(values["id_kept_curricular@mtcnn112"]).tolist() == [False, True, True, False]
