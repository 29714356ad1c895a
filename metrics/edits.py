"""Metrics of edits: how far the attribute moved, what was kept, and the distance to the true edited picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import InvbenchError, Scored
from metrics.common import cosine, float64, levels, network, not_covered
from metrics.perceptual import perceptual_distance
from metrics.pixel import mean_squared_error, peak_signal_to_noise

SPECS = [
    {
        "id": "age_change",
        "class": "AgeChange",
        "title": "Age change (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "years",
        "range": "the regressor's",
        "roles": ["regressor"],
        "edits": ["age"],
        "summary": "By the suite's regressor on both pictures; to be read against the strength that was asked for.",
        "reference": "none: HyperInverter, Table 2, has the figure for other networks without code",
    },
    {
        "id": "yaw_change",
        "class": "YawChange",
        "title": "Yaw change (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "degrees",
        "range": "the regressor's",
        "roles": ["regressor"],
        "edits": ["yaw"],
        "summary": "By the suite's regressor on both pictures; to be read against the strength that was asked for.",
        "reference": "none: HyperInverter, Table 2, has the figure for other networks without code",
    },
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
        "id": "background_kept",
        "class": "BackgroundKept",
        "title": "LPIPS-proc outside the edited region (against the original)",
        "kind": "edit",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["perceptual_metric"],
        "needs": ["truth"],
        "summary": "Outside the pixels that the true edit changes, and 2 more around them; 0 = nothing else changed.",
        "reference": "none: the true edits are known only here",
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

CHANGED_LEVELS = 2  # of 255: smaller differences between the renders count as unchanged
MARGIN = 2  # pixels around a changed one that count as edited, too


class AgeChange:
    """Regressor's reading of the edited picture less that of the reconstruction -> float64 [N], in years.

    The network in the role maps images to factors [N, K] in [0, 1], called ``names``, where 0 stands for ``low`` and 1
    for ``high`` in the factor's unit. InvbenchError when it does not know the factor. Reading both pictures with the
    same network takes its constant error out; as in HyperInverter (Dinh et al., CVPR 2022), Table 2.
    """

    metric = "age_change"
    factor = "age"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "regressor", self.metric)
        names = list(self.network.names)
        if self.factor not in names:
            raise InvbenchError(
                f"metric {self.metric!r}: expected a regressor with the factor {self.factor!r}, "
                f"found {', '.join(names)}"
            )
        self.index = names.index(self.factor)
        self.span = float(self.network.high[self.index]) - float(self.network.low[self.index])

    @torch.inference_mode()
    def __call__(self, scored: Scored) -> np.ndarray:
        before, after = (scored.once("factors:regressor", which, self.network) for which in ("inverted", "output"))
        return (float64(after[:, self.index]) - float64(before[:, self.index])) * self.span


class YawChange(AgeChange):
    """As :class:`AgeChange`, for the head's yaw in degrees."""

    metric = "yaw_change"
    factor = "yaw"


class IdKept:
    """Cosine of the identity embeddings of the edited picture and of the reconstruction -> float64 [N] in [-1, 1].

    Against the reconstruction, not the original, so that it judges the edit alone.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "identity_metric", "id_kept")

    @torch.inference_mode()
    def __call__(self, scored: Scored) -> np.ndarray:
        embeddings = [scored.once("embedding:identity_metric", which, self.network) for which in ("output", "inverted")]
        return cosine(*embeddings)


class BackgroundKept:
    """Perceptual distance of output and original outside the edited region -> float64 [N]; lower is better.

    The edited region is found from the truth, for any edit: pixels where the true edited picture differs from the
    original by more than 2 levels of 255 in a channel, and all within 2 pixels (square) of them. The region of the
    judged picture is replaced by the original's, since features near its border see into it; then each layer's map of
    differences is averaged with the share of background in each of its cells as weight, and the layers are summed.
    The true edited picture scores 0 but for changes of up to 2 levels. The original is the judge, so errors
    of the inversion count. NaN (not covered) without a truth, or where the region is the whole picture.

    The network in the role is one for :class:`metrics.perceptual.LpipsProc`.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "perceptual_metric", "background_kept")

    @torch.inference_mode()
    def __call__(self, scored: Scored) -> np.ndarray:
        if scored.truth is None:
            return not_covered(scored)
        edited = edited_region(scored.target, scored.truth)
        background = (~edited).double()
        judged = torch.where(edited, scored.target, scored.output)
        total = torch.zeros(edited.shape[0], dtype=torch.float64, device=edited.device)
        original = scored.once("features:perceptual_metric", "target", self.network.features)
        for layer in self.network.maps_between(self.network.features(judged), original):
            weight = F.adaptive_avg_pool2d(background, layer.shape[-2:])
            total += (weight * layer.double()).sum((1, 2, 3)) / weight.sum((1, 2, 3))
        return float64(total)


def edited_region(original: Tensor, truth: Tensor) -> Tensor:
    """Where an edit may change the picture: bool [N, 1, H, W], from true pictures [N, 3, H, W] in [-1, 1]."""
    changed = ((levels(truth) - levels(original)).abs() > CHANGED_LEVELS).any(1, keepdim=True)
    return F.max_pool2d(changed.float(), 2 * MARGIN + 1, stride=1, padding=MARGIN) > 0


class TruthMSE:
    """Mean squared error to the true edited picture on [-1, 1] -> float64 [N] in [0, 4]; NaN without a truth."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, scored: Scored) -> np.ndarray:
        return not_covered(scored) if scored.truth is None else float64(mean_squared_error(scored.output, scored.truth))


class TruthPSNR:
    """PSNR to the true edited picture -> float64 [N] in dB, inf where identical; NaN without a truth."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, scored: Scored) -> np.ndarray:
        if scored.truth is None:
            return not_covered(scored)
        return float64(peak_signal_to_noise(scored.output, scored.truth))


class TruthLpipsProc:
    """Perceptual distance to the true edited picture -> float64 [N]; NaN without a truth."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, "perceptual_metric", "truth_lpips_proc")

    @torch.inference_mode()
    def __call__(self, scored: Scored) -> np.ndarray:
        if scored.truth is None:
            return not_covered(scored)
        return perceptual_distance(scored, self.network, "perceptual_metric", "output", "truth")
