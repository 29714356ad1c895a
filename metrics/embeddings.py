"""Similarity of pictures by embeddings of public networks, and whether a face is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import MetricInput
from invbench.metrics.common import cosine, float64, network
from invbench.metrics.identity import IdProc

SPECS = [
    {
        "id": "id_arcface",
        "class": "IdArcFace",
        "title": "Identity similarity (ArcFace IR-SE50)",
        "kind": "inversion",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_arcface"],
        "protocols": ["mtcnn112", "irse_crop112"],
        "summary": "Cosine of ArcFace embeddings. The pSp family is trained with this network as a loss, which favours it.",
        "reference": "criteria/id_loss.py of eladrich/pixel2style2pixel (irse_crop112)",
    },
    {
        "id": "id_facenet",
        "class": "IdFaceNet",
        "title": "Identity similarity (FaceNet Inception-ResNet v1)",
        "kind": "inversion",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_facenet"],
        "protocols": ["facenet160"],
        "summary": "Cosine of FaceNet embeddings of the largest face; not covered where no face is found in one of the two.",
        "reference": "InceptionResnetV1 and MTCNN of timesler/facenet-pytorch",
    },
    {
        "id": "moco",
        "class": "MoCoSimilarity",
        "title": "Similarity by MoCo v2 (ResNet-50)",
        "kind": "inversion",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["moco"],
        "protocols": ["native", "psp256", "e4e_cars"],
        "summary": "Cosine of features that were learned without labels, for domains without faces.",
        "reference": "criteria/moco_loss.py of omertov/encoder4editing",
    },
    {
        "id": "face_found",
        "class": "FaceFound",
        "title": "Face found in the reconstruction",
        "kind": "inversion",
        "better": "higher",
        "unit": "share of images",
        "range": "0 or 1",
        "protocols": ["mtcnn112"],
        "summary": "1 where a face is found as in the original, 0 where it is lost; not covered where the original has none.",
        "reference": "the pairs that scripts/calc_id_loss_parallel.py of eladrich/pixel2style2pixel skips",
    },
    {
        "id": "id_kept_curricular",
        "class": "IdKeptCurricular",
        "title": "Identity kept (CurricularFace, edited against inverted)",
        "kind": "edit",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_curricular"],
        "protocols": ["mtcnn112"],
        "summary": "Cosine of CurricularFace embeddings of the edited picture and of the reconstruction it started from.",
        "reference": "scripts/calc_id_loss_parallel.py of eladrich/pixel2style2pixel, on reconstructions and edits",
    },
    {
        "id": "face_kept",
        "class": "FaceKept",
        "title": "Face found in the edited picture",
        "kind": "edit",
        "better": "higher",
        "unit": "share of images",
        "range": "0 or 1",
        "protocols": ["mtcnn112"],
        "summary": "1 where a face is found as in the reconstruction, 0 where the edit lost it; else not covered.",
        "reference": "the pairs that scripts/calc_id_loss_parallel.py of eladrich/pixel2style2pixel skips",
    },
]


class IdArcFace(IdProc):
    """As IdProc, by ArcFace on faces [N, 3, 112, 112] that the protocol has cut out."""

    metric = "id_arcface"
    role = "identity_arcface"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        super().__init__(networks)
        self.network = self.network.embedding  # forward would crop the face again


class IdFaceNet(IdProc):
    """As IdProc, by FaceNet on faces [N, 3, 160, 160] that the protocol has cut out."""

    metric = "id_facenet"
    role = "identity_facenet"


class MoCoSimilarity(IdProc):
    """As IdProc, by MoCo's features of whole pictures of any domain."""

    metric = role = "moco"


class FaceFound:
    """Whether a face was found in the output -> float64 [N] of 0 and 1; NaN if the original has no face.

    The protocol gives NaN for a picture without a face. Identity metrics leave these pictures out; this metric counts them.
    """

    sees_uncovered = True
    before = "target"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        before, after = (given.once("finite", which, finite) for which in (self.before, "output"))
        return np.where(float64(before) == 1, float64(after), np.nan)


class FaceKept(FaceFound):
    """As FaceFound, for an edit compared with its reconstruction."""

    before = "inverted"


class IdKeptCurricular:
    """Cosine of CurricularFace embeddings of edited picture and reconstruction -> float64 [N]; NaN without both faces.

    It compares with the reconstruction, not the original, so that it measures the edit alone.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "identity_curricular", "id_kept_curricular")

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        key = "embedding:identity_curricular"
        return cosine(*(given.once(key, which, self.network) for which in ("output", "inverted")))


def finite(images: Tensor) -> Tensor:
    """[N] of 0 and 1: whether all values of the image are finite."""
    return images.isfinite().flatten(1).all(1).double()
