"""Identity similarity between a picture and its original, by networks that no method may use as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from invbench.api import MetricInput
from invbench.metrics.common import cosine, network

SPECS = [
    {
        "id": "id_proc",
        "class": "IdProc",
        "title": "Identity similarity (identity network of procfaces)",
        "kind": "inversion",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_metric"],
        "summary": "Cosine of identity embeddings, by a network of another architecture than the losses use.",
        "reference": "none: a network of this project",
    },
    {
        "id": "id_curricular",
        "class": "IdCurricular",
        "title": "Identity similarity (CurricularFace IR-101)",
        "kind": "inversion",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_curricular"],
        "protocols": ["mtcnn112"],
        "summary": "Cosine of CurricularFace embeddings of aligned faces; not covered where no face is found.",
        "reference": "scripts/calc_id_loss_parallel.py of eladrich/pixel2style2pixel",
    },
]


class IdProc:
    """Cosine similarity of the identity embeddings of output and original. [N, 3, H, W] -> float64 [N] in [-1, 1].

    The network in the role maps images in [-1, 1] to embeddings [N, E]. NaN (not covered) where an embedding is not
    finite.
    """

    metric = "id_proc"
    role = "identity_metric"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.role, self.metric)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        embeddings = [given.once(f"embedding:{self.role}", which, self.network) for which in ("output", "target")]
        return cosine(*embeddings)


class IdCurricular(IdProc):
    """As :class:`IdProc`, by CurricularFace on faces that the protocol has found and aligned, [N, 3, 112, 112]."""

    metric = "id_curricular"
    role = "identity_curricular"
