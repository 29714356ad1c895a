"""The detector against the script that published scores come from, facenet-pytorch's own class, and scikit-image's warp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN, fixed_image_standardization
from PIL import Image
from skimage.data import astronaut
from skimage.transform import SimilarityTransform, warp

from invbench.metrics.nets import face_detector
from invbench.metrics.nets.face_detector import TEMPLATE, FaceDetector, aligned, similarity
from invbench.metrics.nets.mtcnn_psp import PspCascade


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """A face, noise, and the same face mirrored: uint8 [3, 200, 216, 3]."""
    face = astronaut()[:200, 110:326]
    noise = np.random.default_rng(0).integers(0, 256, face.shape, dtype=np.uint8)
    return np.stack([face, noise, face[:, ::-1]])


# What the MTCNN of eladrich/pixel2style2pixel gives for two pictures, run unchanged: box and probability, then the points.
PUBLISHED = [
    (
        (slice(0, 200), slice(110, 326)),
        [64.9775, 59.3574, 155.2103, 173.3181, 0.9999],
        [[94.204, 100.0182], [136.8991, 102.9267], [114.9862, 128.45], [91.739, 137.423], [134.3274, 140.2445]],
    ),
    (  # a face over three borders
        (slice(80, 160), slice(196, 276)),
        [-7.2438, -8.5822, 71.4183, 89.5432, 0.9999],
        [[12.5304, 23.9393], [50.5977, 27.2468], [27.8086, 51.2663], [10.8229, 58.464], [48.6316, 61.1681]],
    ),
]


@pytest.mark.parametrize(("part", "box", "points"), PUBLISHED)
def test_aligned_faces_are_found_as_the_published_script_does(part, box, points):
    boxes, found = PspCascade().eval()(astronaut()[part])
    np.testing.assert_allclose(boxes, [box], atol=1e-3)
    np.testing.assert_allclose(found, [points], atol=1e-3)


def test_landmarks_are_those_of_facenet_pytorch(detector, pictures):
    boxes, probabilities, points = MTCNN(select_largest=False).detect(pictures[0], landmarks=True)
    ours = detector.landmarks(pictures[:1])[0]
    order = np.argsort(-probabilities)
    np.testing.assert_allclose(ours.boxes, boxes[order].astype(float), rtol=1e-6)
    np.testing.assert_allclose(ours.points, points[order].astype(float), rtol=1e-6)
    np.testing.assert_allclose(ours.probabilities, probabilities[order].astype(float), rtol=1e-6)
    assert ours.probabilities[0] > 0.99 and ours.points.dtype == np.float64
    left_eye, right_eye, nose, left_mouth, right_mouth = ours.points[0]
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_the_face_is_laid_onto_the_template(detector, pictures):
    face = detector.align(pictures[:1])
    assert face.shape == (1, 3, 112, 112) and face.dtype == torch.float32 and face.abs().max() <= 1
    points = detector.cascade(pictures[0])[1][0]
    transform = SimilarityTransform.from_estimate(np.array(TEMPLATE), points)
    theirs = warp(pictures[0], transform, output_shape=(112, 112), order=1, mode="constant", preserve_range=True)
    levels = (face[0].permute(1, 2, 0).double().numpy() + 1) * 127.5
    np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    inside = theirs.min(-1) > 0  # at the border the libraries blend with black differently
    assert inside.mean() > 0.99 and np.abs(levels - theirs)[inside].max() <= 0.501
    there = SimilarityTransform(transform.params).inverse(points)
    assert np.abs(there - np.array(TEMPLATE)).max() < 7  # this face smiles more broadly than the template


def test_similarity_is_the_least_squares_one():
    rng = np.random.default_rng(1)
    source, destination = np.array(TEMPLATE), np.array(TEMPLATE) * 3 + rng.normal(0, 20, (5, 2))
    a, b = similarity(source, destination)
    expected = SimilarityTransform.from_estimate(source, destination).params
    np.testing.assert_allclose([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], expected[:2], rtol=1e-9)


def test_a_face_over_the_border_is_filled_with_black():
    white = np.full((200, 200, 3), 255, np.uint8)
    face = aligned(white, np.array(TEMPLATE) - [60, 0])
    assert (face[:, :, :59] == -1).all() and (face[:, :, 61:] == 1).all()


def test_no_face_is_nan_and_leaves_the_others_alone(detector, pictures):
    together = detector.align(pictures)
    assert together[1].isnan().all() and together[[0, 2]].isfinite().all()
    for number in (0, 2):
        assert torch.equal(detector.align(pictures[number : number + 1])[0], together[number])
    assert [len(faces.boxes) for faces in detector.landmarks(pictures)] == [1, 0, 1]
    assert detector.align(np.zeros((2, 12, 300, 3), np.uint8)).isnan().all()  # smaller than any face that is looked for
    cropped = detector.crop(pictures[:2])
    assert cropped[1].isnan().all() and cropped.shape == (2, 3, 160, 160)


def test_the_most_probable_face_is_aligned_and_the_largest_cropped(detector, pictures, monkeypatch):
    points = np.stack([np.array(TEMPLATE), np.array(TEMPLATE) + 40])
    boxes, probabilities = np.array([[0.0, 0, 30, 30], [20, 20, 120, 120]]), np.array([0.9, 0.8])
    monkeypatch.setattr(PspCascade, "forward", lambda *_: (np.column_stack([boxes, probabilities]), points))
    assert torch.equal(detector.align(pictures[:1])[0], aligned(pictures[0], points[0]))
    monkeypatch.setattr(FaceDetector, "_find", lambda *_: face_detector.Faces(boxes, probabilities, points))
    largest = Image.fromarray(pictures[0]).crop((20, 20, 120, 120)).resize((160, 160), Image.Resampling.BILINEAR)
    levels = (detector.crop(pictures[:1])[0].permute(1, 2, 0).double().numpy() + 1) * 127.5
    np.testing.assert_allclose(levels, np.asarray(largest), atol=1e-4)


def test_the_crop_is_that_of_facenet_pytorch(detector, pictures):
    theirs = MTCNN(image_size=160, margin=0, post_process=False)(Image.fromarray(pictures[0]))
    ours = detector.crop(pictures[:1])[0]
    assert fixed_image_standardization(theirs).shape == ours.shape
    torch.testing.assert_close((ours + 1) * 127.5, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 30, 30, 3)), np.zeros((30, 30, 3), np.uint8), np.zeros((1, 3, 30, 30), np.uint8)]
)
def test_other_pictures_are_refused(detector, wrong):
    with pytest.raises(ValueError, match=r"^pictures: expected uint8 \[N, H, W, 3\], found"):
        detector.align(wrong)
