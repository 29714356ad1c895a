"""Distances of today beside LPIPS and FID: DISTS, DreamSim, and Frechet and kernel distances of DINOv2 features.

They cost more than the metrics beside which they stand, so they are computed where a run names them
(docs/second_evaluators.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from invbench.api import MetricInput
from invbench.metrics.common import cosine, float64, network
from invbench.metrics.frechet import frechet
from invbench.metrics.kernel_distance import kernel_distance
from invbench.metrics.perceptual import GROUP_PIXELS
from invbench.metrics.protocols import Psp256
from invbench.metrics.sets import FeatureMetric

PROTOCOLS = [
    {
        "id": "dreamsim224",
        "class": "DreamSim224",
        "title": "Saved files at 224 x 224, as DreamSim reads them",
        "recipe": "uint8 PNG; Pillow bicubic with antialiasing to 224 x 224, whatever the shape; uint8; [-1, 1]",
        "source": "the preprocessing of ssundaram21/dreamsim",
    },
]

SPECS = [
    {
        "id": "dists",
        "class": "DistsDistance",
        "title": "DISTS (VGG-16)",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, 1]",
        "roles": ["dists"],
        "protocols": ["native", "psp256"],
        "summary": "Structure and texture similarity; above 256 pixels reduced first, bilinear without antialiasing.",
        "reference": "piq.DISTS of photosynthesis-team/piq",
    },
    {
        "id": "dreamsim",
        "class": "DreamSimDistance",
        "title": "DreamSim (ensemble of DINO, CLIP, OpenCLIP)",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, 2]",
        "roles": ["dreamsim"],
        "protocols": ["dreamsim224"],
        "summary": "Cosine distance of embeddings trained on people's judgements of similarity.",
        "reference": "dreamsim(dreamsim_type='ensemble') of ssundaram21/dreamsim",
    },
    {
        "id": "fd_dinov2",
        "class": "FdDinoV2",
        "title": "FD (DINOv2 ViT-L/14, 1024 features)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["dinov2"],
        "protocols": ["inception_uint8"],
        "summary": "Frechet distance as fid; its bias and interval by a jackknife; needs more images than features.",
        "reference": "torch-fidelity 0.4: fid with feature_extractor='dinov2-vit-l-14'",
    },
    {
        "id": "kd_dinov2",
        "class": "KdDinoV2",
        "title": "KD (DINOv2 ViT-L/14, 1024 features)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "(-inf, inf)",
        "roles": ["dinov2"],
        "protocols": ["inception_uint8"],
        "summary": "Kernel distance as kid (cubic), not times 1000; bias of pairing, bootstrap interval; needs 50 images.",
        "reference": "torch-fidelity 0.4: kid with feature_extractor='dinov2-vit-l-14'",
    },
]


class DreamSim224(Psp256):
    """As :class:`invbench.metrics.protocols.Psp256`, by Pillow's bicubic filter to 224 x 224 pixels."""

    height = width = 224
    filter = Image.Resampling.BICUBIC


class DistsDistance:
    """DISTS of output and original, [N, 3, H, W] -> float64 [N]; 0 for identical pictures.

    No other metric uses its features, which are large, so a few pictures are compared at a time and nothing is kept.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "dists", "dists")

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        pictures = max(1, GROUP_PIXELS // given.output[0, 0].numel())
        groups = zip(given.output.split(pictures), given.target.split(pictures), strict=True)
        return np.concatenate([float64(self.network.distance(*group)) for group in groups])


class DreamSimDistance:
    """DreamSim of output and original, [N, 3, 224, 224] -> float64 [N]: 1 - the cosine of their embeddings."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "dreamsim", "dreamsim")

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        embeddings = [given.once("embedding:dreamsim", which, self.network.embedding) for which in ("output", "target")]
        return 1 - cosine(*embeddings)


class FdDinoV2(FeatureMetric):
    """Frechet distance of DINOv2's features (Stein et al., NeurIPS 2023): see :func:`invbench.metrics.frechet.frechet`."""

    metric, feature, minimum, full_rank = "fd_dinov2", "dinov2", 100, True
    estimate = staticmethod(frechet)


class KdDinoV2(FeatureMetric):
    """Kernel distance of DINOv2's features: see :func:`invbench.metrics.kernel_distance.kernel_distance`."""

    metric, feature = "kd_dinov2", "dinov2"
    estimate = staticmethod(kernel_distance)
