"""Second evaluators of the embedded domain, so that it can be seen how far a ranking depends on one network.

Identity and perceptual distance: the networks that methods also have as losses, which favours methods that use them; that is
why they are not the first evaluators. Age, yaw and features of sets: a second regressor of another architecture, which no
method sees. No suite takes them unless a run names them (docs/second_evaluators.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from invbench.api import MetricInput
from invbench.metrics.common import cosine, network
from invbench.metrics.frechet import frechet
from invbench.metrics.identity import IdProc
from invbench.metrics.kernel_distance import kernel_distance
from invbench.metrics.perceptual import LpipsProc
from invbench.metrics.sets import FeatureMetric

SPECS = [
    {
        "id": "lpips_proc_second",
        "class": "LpipsProcSecond",
        "title": "LPIPS-proc (the losses' network of procfaces)",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["perceptual_second"],
        "summary": "As lpips_proc, by the network that methods of the embedded suite have as a loss, which favours these.",
        "reference": "none: a network of this project",
    },
    {
        "id": "id_proc_second",
        "class": "IdProcSecond",
        "title": "Identity similarity (the losses' network of procfaces)",
        "kind": "inversion",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_second"],
        "summary": "As id_proc, by the network that methods of the embedded suite have as a loss, which favours these.",
        "reference": "none: a network of this project",
    },
    {
        "id": "id_kept_second",
        "class": "IdKeptSecond",
        "title": "Identity kept (the losses' network of procfaces)",
        "kind": "edit",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_second"],
        "summary": "As id_kept, by the network that methods of the embedded suite have as a loss.",
        "reference": "none: a network of this project",
    },
    {
        "id": "age_change_second",
        "class": "AgeChangeSecond",
        "title": "Age change by the second regressor (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "years",
        "range": "the regressor's",
        "roles": ["regressor_second"],
        "edits": ["age"],
        "summary": "As age_change, by a regressor of another architecture and other random numbers.",
        "reference": "none: a network of this project",
    },
    {
        "id": "yaw_change_second",
        "class": "YawChangeSecond",
        "title": "Yaw change by the second regressor (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "degrees",
        "range": "the regressor's",
        "roles": ["regressor_second"],
        "edits": ["yaw"],
        "summary": "As yaw_change, by a regressor of another architecture and other random numbers.",
        "reference": "none: a network of this project",
    },
    {
        "id": "fd_proc_second",
        "class": "FdProcSecond",
        "title": "FD (features of the second procfaces regressor)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["regressor_second"],
        "summary": "Frechet distance as fid_proc, of other features; needs 100 images and more images than features.",
        "reference": "torch-fidelity: fid_statistics_to_metric",
    },
    {
        "id": "kd_proc_second",
        "class": "KdProcSecond",
        "title": "KD (features of the second procfaces regressor)",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "(-inf, inf)",
        "roles": ["regressor_second"],
        "summary": "Kernel distance as kid_proc, of other features; bias of pairing, bootstrap interval; needs 50 images.",
        "reference": "torch-fidelity: kid_features_to_metric",
    },
]


class LpipsProcSecond(LpipsProc):
    """As :class:`invbench.metrics.perceptual.LpipsProc`, by the network of the losses."""

    metric, role = "lpips_proc_second", "perceptual_second"


class IdProcSecond(IdProc):
    """As :class:`invbench.metrics.identity.IdProc`, by the network of the losses."""

    metric, role = "id_proc_second", "identity_second"


class IdKeptSecond(IdProc):
    """Cosine of the embeddings of edited picture and reconstruction -> float64 [N] in [-1, 1]."""

    metric, role = "id_kept_second", "identity_second"

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        key = f"embedding:{self.role}"
        return cosine(*(given.once(key, which, self.network) for which in ("output", "inverted")))


class AgeChangeSecond:
    """The second regressor's age of the edited picture minus that of the reconstruction -> float64 [N] in years."""

    metric, factor = "age_change_second", "age"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "regressor_second", self.metric)
        self.index = list(self.network.names).index(self.factor)
        self.span = float(self.network.high[self.index]) - float(self.network.low[self.index])

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        before, after = (
            given.once("factors:regressor_second", which, self.network)[:, self.index].double().cpu().numpy()
            for which in ("inverted", "output")
        )
        return (after - before) * self.span


class YawChangeSecond(AgeChangeSecond):
    """As :class:`AgeChangeSecond`, for yaw in degrees; positive: to the viewer's right."""

    metric, factor = "yaw_change_second", "yaw"


class FdProcSecond(FeatureMetric):
    """Frechet distance of the second regressor's features: see :func:`invbench.metrics.frechet.frechet`."""

    metric, feature, minimum, full_rank = "fd_proc_second", "regressor_second", 100, True
    estimate = staticmethod(frechet)


class KdProcSecond(FeatureMetric):
    """Kernel distance of the second regressor's features: see :func:`invbench.metrics.kernel_distance.kernel_distance`."""

    metric, feature = "kd_proc_second", "regressor_second"
    estimate = staticmethod(kernel_distance)
