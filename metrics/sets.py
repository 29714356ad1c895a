"""Distances between the set of originals and the set of outputs: FID and KID by torch-fidelity's mathematics.

The features are kept for each image; ``compute`` sees the features of all images at once and works in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.api import InvbenchError
from metrics.common import network

SPECS = [
    {
        "id": "fid_proc",
        "class": "FidProc",
        "title": "FID (features of the procfaces regressor)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["regressor"],
        "summary": "Frechet distance of features; needs 100 images and more images than features; compare at equal n.",
        "reference": "torch_fidelity.metric_fid",
    },
    {
        "id": "kid_proc",
        "class": "KidProc",
        "title": "KID (features of the procfaces regressor)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "(-inf, inf)",
        "roles": ["regressor"],
        "summary": "Kernel distance (cubic polynomial) of features; needs 50 images.",
        "reference": "torch_fidelity.metric_kid",
    },
    {
        "id": "fid",
        "protocols": ["inception_uint8"],
        "class": "FidInception",
        "title": "FID (Inception-v3, 2048 features)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["inception"],
        "summary": "Frechet distance of Inception features; needs more than 2048 images; compare at equal n.",
        "reference": "torch_fidelity.metric_fid",
    },
    {
        "id": "kid",
        "protocols": ["inception_uint8"],
        "class": "KidInception",
        "title": "KID (Inception-v3, 2048 features)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "(-inf, inf)",
        "roles": ["inception"],
        "summary": "Kernel distance (cubic polynomial) of Inception features; needs 50 images.",
        "reference": "torch_fidelity.metric_kid",
    },
]

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
KID_SEED = 2020  # torch-fidelity's default


class FidProc:
    """Frechet distance |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two feature sets (Heusel et al., NeurIPS 2017).

    Refused (InvbenchError) below 100 images, where its upward bias is larger than most differences between methods,
    and at n <= F, where the covariance of F features has no full rank. Even so it is biased: compare at equal n.
    """

    metric = "fid_proc"
    role = feature = "regressor"
    minimum = 100

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.role, self.metric)

    @torch.inference_mode()
    def features(self, images: Tensor) -> np.ndarray:
        """Images [N, 3, H, W] in [-1, 1] -> float32 [N, F]."""
        return self.network.features(images).float().cpu().numpy()

    def compute(self, reference: np.ndarray, measured: np.ndarray) -> float:
        """Features [n, F] of originals and [m, F] of outputs -> the distance."""
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

        first, second = _checked(self, reference, measured, least=reference.shape[-1] + 1)
        statistics = [fid_features_to_statistics(features) for features in (first, second)]
        return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


class KidProc:
    """Unbiased squared MMD with the kernel (x.y / F + 1)^3 (Binkowski et al., ICLR 2018), not multiplied by 1000.

    Up to 1000 images: one estimate from all of them. Above: mean over 100 random subsets of 1000, drawn with a fixed
    seed. May be slightly negative. The estimate is unbiased for independent sets; reconstructions are paired with their
    originals, which adds a term of order 1/n. Refused (InvbenchError) below 50 images.
    """

    metric = "kid_proc"
    role = feature = "regressor"
    minimum = 50

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.role, self.metric)

    @torch.inference_mode()
    def features(self, images: Tensor) -> np.ndarray:
        """Images [N, 3, H, W] in [-1, 1] -> float32 [N, F]."""
        return self.network.features(images).float().cpu().numpy()

    def compute(self, reference: np.ndarray, measured: np.ndarray) -> float:
        """Features [n, F] of originals and [m, F] of outputs -> the squared MMD."""
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        first, second = _checked(self, reference, measured)
        n = min(len(first), len(second))
        result = kid_features_to_metric(
            first,
            second,
            kid_subsets=1 if n <= KID_SUBSET_SIZE else KID_SUBSETS,
            kid_subset_size=min(n, KID_SUBSET_SIZE),
            rng_seed=KID_SEED,
            verbose=False,
        )
        return float(result[KEY_METRIC_KID_MEAN])


class FidInception(FidProc):
    """As :class:`FidProc`, on the 2048 pool features of Inception-v3."""

    metric = "fid"
    role = feature = "inception"


class KidInception(KidProc):
    """As :class:`KidProc`, on the 2048 pool features of Inception-v3."""

    metric = "kid"
    role = feature = "inception"


def _checked(
    metric: FidProc | KidProc, reference: np.ndarray, measured: np.ndarray, *, least: int = 0
) -> tuple[Tensor, Tensor]:
    """Both feature sets as float64 tensors; InvbenchError where they do not fit each other or are too few."""
    if reference.ndim != 2 or measured.ndim != 2 or reference.shape[1] != measured.shape[1]:
        raise InvbenchError(
            f"metric {metric.metric!r}: expected features [n, F] and [m, F], "
            f"found shapes {reference.shape} and {measured.shape}"
        )
    n = min(len(reference), len(measured))
    needed = max(metric.minimum, least)
    if n < needed:
        raise InvbenchError(
            f"metric {metric.metric!r}: expected at least {needed} images for {reference.shape[1]} features, found {n}"
        )
    pair = (torch.from_numpy(reference).double(), torch.from_numpy(measured).double())
    if not all(bool(features.isfinite().all()) for features in pair):
        raise InvbenchError(f"metric {metric.metric!r}: expected finite features, found NaN or inf")
    return pair
