"""Distances and overlaps between the set of originals and the set of outputs, from features stored for each image.

Any extractor can be used: a network with ``features(images [N, 3, H, W] in [-1, 1]) -> [N, F]`` in a role of the suite, and a
class of two lines like those below (docs/set-metrics.md shows one in a plug-in). All metrics are computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import InvbenchError, SetValue
from invbench.metrics import manifold
from invbench.metrics.common import network
from invbench.metrics.frechet import frechet
from invbench.metrics.kernel_distance import kernel_distance

SPECS = [
    {
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "reference": "torch-fidelity: fid_statistics_to_metric",
        "summary": "Frechet distance; its bias and interval by a jackknife; needs 100 images and more images than features.",
        "variants": [
            {
                "id": "fid", "class": "Fid", "title": "FID (Inception-v3, 2048 features)",
                "protocols": ["inception_uint8"], "roles": ["inception"],
            },
            {
                "id": "fid_proc", "class": "FidProc", "title": "FID (features of the procfaces regressor)",
                "roles": ["regressor"],
            },
        ],
    },
    {
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "(-inf, inf)",
        "reference": "torch-fidelity: kid_features_to_metric",
        "summary": "Kernel distance (cubic), not times 1000; bias of pairing, bootstrap interval; needs 50 images.",
        "variants": [
            {
                "id": "kid", "class": "Kid", "title": "KID (Inception-v3, 2048 features)",
                "protocols": ["inception_uint8"], "roles": ["inception"],
            },
            {
                "id": "kid_proc", "class": "KidProc", "title": "KID (features of the procfaces regressor)",
                "roles": ["regressor"],
            },
        ],
    },
    {
        "id": "kid_subset100",
        "protocols": ["inception_uint8"],
        "class": "KidSubset100",
        "title": "KID of subsets of 100 (Inception-v3, 2048 features)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "(-inf, inf)",
        "roles": ["inception"],
        "reference": "torch-fidelity: kid_features_to_metric(kid_subset_size=100)",
        "summary": "As kid, from 100 subsets of 100 images, as HyperInverter has it for churches; needs 100 images.",
    },
    {
        "kind": "set",
        "better": "higher",
        "unit": "share of the outputs",
        "range": "[0, 1]",
        "reference": "torch-fidelity: prc_features_to_metric (k = 3)",
        "summary": "Outputs within reach of the originals (k = 3); compare at equal n; needs 50 images.",
        "variants": [
            {
                "id": "precision", "class": "Precision", "title": "Precision (Inception-v3, 2048 features)",
                "protocols": ["inception_uint8"], "roles": ["inception"],
            },
            {
                "id": "precision_proc", "class": "PrecisionProc", "title": "Precision (features of the procfaces regressor)",
                "roles": ["regressor"],
            },
        ],
    },
    {
        "kind": "set",
        "better": "higher",
        "unit": "share of the originals",
        "range": "[0, 1]",
        "reference": "torch-fidelity: prc_features_to_metric (k = 3)",
        "summary": "Originals within reach of the outputs (k = 3); compare at equal n; needs 50 images.",
        "variants": [
            {
                "id": "recall", "class": "Recall", "title": "Recall (Inception-v3, 2048 features)",
                "protocols": ["inception_uint8"], "roles": ["inception"],
            },
            {
                "id": "recall_proc", "class": "RecallProc", "title": "Recall (features of the procfaces regressor)",
                "roles": ["regressor"],
            },
        ],
    },
    {
        "kind": "set",
        "better": "none",
        "unit": "",
        "range": "[0, inf)",
        "reference": "clovaai/generative-evaluation-prdc (k = 5)",
        "summary": "How densely originals surround the outputs (k = 5): 1 for equal sets, more where outputs are too typical.",
        "variants": [
            {
                "id": "density", "class": "Density", "title": "Density (Inception-v3, 2048 features)",
                "protocols": ["inception_uint8"], "roles": ["inception"],
            },
            {
                "id": "density_proc", "class": "DensityProc", "title": "Density (features of the procfaces regressor)",
                "roles": ["regressor"],
            },
        ],
    },
    {
        "kind": "set",
        "better": "higher",
        "unit": "share of the originals",
        "range": "[0, 1]",
        "reference": "clovaai/generative-evaluation-prdc (k = 5)",
        "summary": "Originals with an output within reach (k = 5); compare at equal n; needs 50 images.",
        "variants": [
            {
                "id": "coverage", "class": "Coverage", "title": "Coverage (Inception-v3, 2048 features)",
                "protocols": ["inception_uint8"], "roles": ["inception"],
            },
            {
                "id": "coverage_proc", "class": "CoverageProc", "title": "Coverage (features of the procfaces regressor)",
                "roles": ["regressor"],
            },
        ],
    },
]


class FeatureMetric:
    """A metric of two feature sets, defined by five attributes of its class.

    metric      id, for messages
    feature     role of its extractor; metrics with the same role and protocol share the stored features
    minimum     minimum number of images
    full_rank   whether it also needs more images than features, for a covariance of full rank
    estimate    (reference float64 [n, F], measured float64 [m, F]) -> float or SetValue
    """

    metric: str
    feature: str
    minimum = 50
    full_rank = False
    estimate: Callable[[np.ndarray, np.ndarray], float | SetValue]

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.feature, self.metric)

    @torch.inference_mode()
    def features(self, images: Tensor) -> np.ndarray:
        """Images [N, 3, H, W] in [-1, 1] -> float32 [N, F]."""
        return self.network.features(images).float().cpu().numpy()

    def compute(self, reference: np.ndarray, measured: np.ndarray) -> float | SetValue:
        """Features [n, F] of originals and [m, F] of outputs -> the value.

        If n = m, rows of equal index belong to one image. Raises InvbenchError if shapes do not fit each other, features are
        not finite, or there are too few images.
        """
        if reference.ndim != 2 or measured.ndim != 2 or reference.shape[1] != measured.shape[1]:
            raise InvbenchError(
                f"metric {self.metric!r}: expected features [n, F] and [m, F], "
                f"found shapes {reference.shape} and {measured.shape}"
            )
        n, width = min(len(reference), len(measured)), reference.shape[1]
        needed = max(self.minimum, width + 1 if self.full_rank else 0)
        if n < needed:
            raise InvbenchError(f"metric {self.metric!r}: expected at least {needed} images for {width} features, found {n}")
        pair = (reference.astype(np.float64), measured.astype(np.float64))
        if not all(np.isfinite(features).all() for features in pair):
            raise InvbenchError(f"metric {self.metric!r}: expected finite features, found NaN or inf")
        return self.estimate(*pair)


class Fid(FeatureMetric):
    """Frechet distance of Inception features: see :func:`invbench.metrics.frechet.frechet`.

    Below 100 images its bias is larger than most differences between methods, and at n <= F it does not fall as 1 / n.
    """

    metric, feature, minimum, full_rank = "fid", "inception", 100, True
    estimate = staticmethod(frechet)


class Kid(FeatureMetric):
    """Kernel distance of Inception features: see :func:`invbench.metrics.kernel_distance.kernel_distance`."""

    metric, feature = "kid", "inception"
    estimate = staticmethod(kernel_distance)


class KidSubset100(FeatureMetric):
    """As :class:`Kid`, from subsets of 100 images."""

    metric, feature, minimum = "kid_subset100", "inception", 100
    estimate = staticmethod(partial(kernel_distance, subset_size=100))


class Precision(FeatureMetric):
    """Precision (Kynkaanniemi et al., 2019) of Inception features: see :mod:`manifold`, also for the next three."""

    metric, feature = "precision", "inception"
    estimate = staticmethod(manifold.precision)


class Recall(FeatureMetric):
    """Recall (Kynkaanniemi et al., 2019) of Inception features."""

    metric, feature = "recall", "inception"
    estimate = staticmethod(manifold.recall)


class Density(FeatureMetric):
    """Density (Naeem et al., 2020) of Inception features."""

    metric, feature = "density", "inception"
    estimate = staticmethod(manifold.density)


class Coverage(FeatureMetric):
    """Coverage (Naeem et al., 2020) of Inception features."""

    metric, feature = "coverage", "inception"
    estimate = staticmethod(manifold.coverage)


class FidProc(FeatureMetric):
    """As :class:`Fid`, of the procfaces regressor's features."""

    metric, feature, minimum, full_rank = "fid_proc", "regressor", 100, True
    estimate = staticmethod(frechet)


class KidProc(FeatureMetric):
    """As :class:`Kid`, of the procfaces regressor's features."""

    metric, feature = "kid_proc", "regressor"
    estimate = staticmethod(kernel_distance)


class PrecisionProc(FeatureMetric):
    """As :class:`Precision`, of the procfaces regressor's features."""

    metric, feature = "precision_proc", "regressor"
    estimate = staticmethod(manifold.precision)


class RecallProc(FeatureMetric):
    """As :class:`Recall`, of the procfaces regressor's features."""

    metric, feature = "recall_proc", "regressor"
    estimate = staticmethod(manifold.recall)


class DensityProc(FeatureMetric):
    """As :class:`Density`, of the procfaces regressor's features."""

    metric, feature = "density_proc", "regressor"
    estimate = staticmethod(manifold.density)


class CoverageProc(FeatureMetric):
    """As :class:`Coverage`, of the procfaces regressor's features."""

    metric, feature = "coverage_proc", "regressor"
    estimate = staticmethod(manifold.coverage)
