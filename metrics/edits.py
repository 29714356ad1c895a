"""Metrics of edited pictures: identity kept, and distance to the true edited picture.

Changes of attributes are in :mod:`invbench.metrics.attributes`, leakage onto other factors in
:mod:`invbench.metrics.leakage`, changes of the background in :mod:`invbench.metrics.background`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from invbench.api import MetricInput
from invbench.metrics.common import cosine, float64, network, not_covered
from invbench.metrics.perceptual import perceptual_distance
from invbench.metrics.pixel import mean_squared_error, peak_signal_to_noise

SPECS = [
    {
        "id": "id_kept",
        "class": "IdKept",
        "title": "Identity kept (edited against inverted)",
        "kind": "edit",
        "better": "higher",
        "unit": "cosine",
        "range": "[-1, 1]",
        "roles": ["identity_metric"],
        "summary": "Cosine of the identity embeddings of the edited picture and of the reconstruction it started from.",
        "reference": "none: a network of this project",
    },
    {
        "id": "truth_mse",
        "class": "TruthMSE",
        "title": "MSE to the true edited picture",
        "kind": "edit",
        "better": "lower",
        "unit": "squared intensity, black to white = 2",
        "range": "[0, 4]",
        "needs": ["truth"],
        "summary": "On [-1, 1], mean over channels and pixels.",
        "reference": "none: the true edits are known only here",
    },
    {
        "id": "truth_psnr",
        "class": "TruthPSNR",
        "title": "PSNR to the true edited picture",
        "kind": "edit",
        "better": "higher",
        "unit": "dB",
        "range": "[0, inf]",
        "needs": ["truth"],
        "summary": "10 log10(4 / MSE) for each picture; inf where they are identical.",
        "reference": "skimage.metrics.peak_signal_noise_ratio(data_range=255)",
    },
    {
        "id": "truth_lpips_proc",
        "class": "TruthLpipsProc",
        "title": "LPIPS-proc to the true edited picture",
        "kind": "edit",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["perceptual_metric"],
        "needs": ["truth"],
        "summary": "LPIPS-style distance by a network trained on procfaces, another one than the losses use.",
        "reference": "none: a network of this project",
    },
]


class IdKept:
    """Cosine of the identity embeddings of the edited picture and of the reconstruction -> float64 [N] in [-1, 1].

    It compares with the reconstruction, not the original, so that it measures the edit alone.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "identity_metric", "id_kept")

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        embeddings = [given.once("embedding:identity_metric", which, self.network) for which in ("output", "inverted")]
        return cosine(*embeddings)


class TruthMSE:
    """Mean squared error to the true edited picture on [-1, 1] -> float64 [N] in [0, 4]; NaN without a truth."""

    measure = staticmethod(mean_squared_error)

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        return not_covered(given) if given.truth is None else float64(self.measure(given.output, given.truth))


class TruthPSNR(TruthMSE):
    """PSNR to the true edited picture -> float64 [N] in dB, inf where identical; NaN without a truth."""

    measure = staticmethod(peak_signal_to_noise)


class TruthLpipsProc:
    """Perceptual distance to the true edited picture -> float64 [N]; NaN without a truth."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "perceptual_metric", "truth_lpips_proc")

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        if given.truth is None:
            return not_covered(given)
        return perceptual_distance(given, self.network, "perceptual_metric", "output", "truth")
