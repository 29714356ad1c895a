"""Distance to the original outside the region that an edit may change.

The region is found in two ways, with separate ids. ``background_*``: from the true edited picture, exact, for any edit.
``parsed_background_*``: from the parser's classes that the suite names for the edit (``region`` of an edit), for pictures
without truth. Both compare with the original, so errors of the inversion count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import InvbenchError, MetricInput
from invbench.metrics.common import float64, levels, network, not_covered

SPECS = [
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
        "id": "background_mse",
        "class": "BackgroundMSE",
        "title": "MSE outside the edited region (against the original)",
        "kind": "edit",
        "better": "lower",
        "unit": "squared intensity, black to white = 2",
        "range": "[0, 4]",
        "needs": ["truth"],
        "summary": "On [-1, 1], mean over channels and the pixels that background_kept uses.",
        "reference": "none: the true edits are known only here",
    },
    {
        "id": "background_psnr",
        "class": "BackgroundPSNR",
        "title": "PSNR outside the edited region (against the original)",
        "kind": "edit",
        "better": "higher",
        "unit": "dB",
        "range": "[0, inf]",
        "needs": ["truth"],
        "summary": "10 log10(4 / background_mse) for each picture; inf where nothing changed.",
        "reference": "none: the true edits are known only here",
    },
    {
        "id": "parsed_background_mse",
        "class": "ParsedBackgroundMSE",
        "title": "MSE outside the parsed region of the edit (against the original)",
        "kind": "edit",
        "better": "lower",
        "unit": "squared intensity, black to white = 2",
        "range": "[0, 4]",
        "roles": ["parser"],
        "needs": ["region"],
        "summary": "Outside the parser's classes that the edit may change, in original or edited picture, and a margin.",
        "reference": "none: a measure of this harness",
    },
    {
        "id": "parsed_background_psnr",
        "class": "ParsedBackgroundPSNR",
        "title": "PSNR outside the parsed region of the edit (against the original)",
        "kind": "edit",
        "better": "higher",
        "unit": "dB",
        "range": "[0, inf]",
        "roles": ["parser"],
        "needs": ["region"],
        "summary": "10 log10(4 / parsed_background_mse) for each picture; inf where nothing changed.",
        "reference": "none: a measure of this harness",
    },
    {
        "id": "parsed_background_lpips_proc",
        "class": "ParsedBackgroundLpipsProc",
        "title": "LPIPS-proc outside the parsed region of the edit (against the original)",
        "kind": "edit",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["parser", "perceptual_metric"],
        "needs": ["region"],
        "summary": "As background_kept, with the region of parsed_background_mse.",
        "reference": "none: a measure of this harness",
    },
    {
        "id": "parsed_background_lpips_alex",
        "class": "ParsedBackgroundLpipsAlex",
        "title": "LPIPS (AlexNet) outside the parsed region of the edit (against the original)",
        "kind": "edit",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["parser", "lpips_alex"],
        "needs": ["region"],
        "summary": "As background_kept, with the region of parsed_background_mse and the lpips package's network.",
        "reference": "none: a measure of this harness",
    },
]

CHANGED_LEVELS = 2  # of 255: differences between the renders up to this count as unchanged
MARGIN = 2  # pixels around a changed pixel that also count as edited
PARSED_MARGIN = 32  # the margin around parsed classes is this part of the picture's height: 2 of 64 pixels, 32 of 1024


def edited_region(original: Tensor, truth: Tensor) -> Tensor:
    """Where an edit may change the picture: bool [N, 1, H, W], from true pictures [N, 3, H, W] in [-1, 1].

    Pixels where the true edited picture differs from the original by more than 2 levels of 255 in a channel, and all
    within 2 pixels (square) of them.
    """
    changed = ((levels(truth) - levels(original)).abs() > CHANGED_LEVELS).any(1, keepdim=True)
    return _widened(changed, MARGIN)


def squared_error(given: MetricInput, region: Tensor) -> Tensor:
    """Mean squared error on [-1, 1] outside bool ``region`` [N, 1, H, W] -> float64 [N]; NaN if nothing is outside."""
    background = (~region).double()
    error = ((levels(given.output) - levels(given.target)) / 127.5).square().mean(1, keepdim=True)
    return (error * background).sum((1, 2, 3)) / background.sum((1, 2, 3))


def peak_signal_to_noise(given: MetricInput, region: Tensor) -> Tensor:
    """10 log10(4 / :func:`squared_error`) -> float64 [N] in dB; inf where nothing changed."""
    return 10 * torch.log10(4 / squared_error(given, region))


def perceptual_error(given: MetricInput, region: Tensor, *, perceptual: Any, role: str) -> Tensor:
    """Perceptual distance outside bool ``region`` [N, 1, H, W] -> float64 [N]; NaN if nothing is outside.

    The region of the measured picture is first replaced by the original's, since features near its border depend on it.
    Each layer's map of differences is averaged with the share of background in each cell as weight, and the layers are
    summed. ``perceptual`` plays ``role``; it is a network for :class:`invbench.metrics.perceptual.LpipsProc`.
    """
    background = (~region).double()
    pasted = torch.where(region, given.target, given.output)
    total = torch.zeros(region.shape[0], dtype=torch.float64, device=region.device)
    original = given.once(f"features:{role}", "target", perceptual.features)
    for layer in perceptual.maps_between(perceptual.features(pasted), original):
        weight = F.adaptive_avg_pool2d(background, layer.shape[-2:])
        total += (weight * layer.double()).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    return total


class BackgroundMSE:
    """Mean squared error on [-1, 1] outside the truly edited region -> float64 [N] in [0, 4].

    NaN (not covered) without truth, or if the region is the whole picture.
    """

    measure: Callable[[MetricInput, Tensor], Tensor] = staticmethod(squared_error)

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        if given.truth is None:
            return not_covered(given)
        region = given.once("edited_region", "truth", lambda truth: edited_region(given.target, truth))
        return float64(self.measure(given, region))


class BackgroundPSNR(BackgroundMSE):
    """PSNR outside the truly edited region -> float64 [N] in dB, inf if nothing changed; NaN as in BackgroundMse."""

    measure = staticmethod(peak_signal_to_noise)


class BackgroundKept(BackgroundMSE):
    """Perceptual distance outside the truly edited region -> float64 [N]; lower is better; NaN as in BackgroundMse.

    The true edited picture has the value 0, apart from changes of up to 2 levels.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        perceptual = network(networks, "perceptual_metric", "background_kept")
        self.measure = partial(perceptual_error, perceptual=perceptual, role="perceptual_metric")


class ParsedRegion:
    """Pixels that a parser assigns to the classes ``given.region`` in the original or the edited picture, plus a margin.

    Both pictures count, since an edit moves things: a turning head uncovers background. A picture that is all hair then has
    no background and is not covered. The network in the role maps images to logits [N, C, h, w] (enlarged to the picture
    if they are smaller) for its ``classes``. Raises InvbenchError for a class that it does not know.
    """

    def __init__(self, networks: Mapping[str, Any], metric: str) -> None:
        self.network = network(networks, "parser", metric)

    def __call__(self, given: MetricInput) -> Tensor:
        known = list(self.network.classes)
        for name in given.region:
            if name not in known:
                edit = "the edit" if given.edit is None else given.edit.name
                raise InvbenchError(f"region of {edit}: expected classes of the parser ({', '.join(known)}), found {name!r}")
        wanted = torch.tensor([known.index(name) for name in given.region], device=given.output.device)

        def region(output: Tensor) -> Tensor:
            parsed = [given.once("classes:parser", which, self._classes) for which in ("target", "output")]
            inside = torch.isin(torch.cat(parsed, 1), wanted).any(1, keepdim=True)
            return _widened(inside, max(1, inside.shape[-2] // PARSED_MARGIN))

        return given.once(f"parsed_region:{','.join(given.region)}", "output", region)

    def _classes(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] -> class indices [N, 1, H, W]."""
        logits = self.network(images)
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return logits.argmax(1, keepdim=True)


class ParsedBackgroundMSE:
    """Mean squared error on [-1, 1] outside the parsed region -> float64 [N] in [0, 4]; NaN if the region is everything."""

    metric = "parsed_background_mse"
    measure = staticmethod(squared_error)

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.region = ParsedRegion(networks, self.metric)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        return float64(self.measure(given, self.region(given)))


class ParsedBackgroundPSNR(ParsedBackgroundMSE):
    """PSNR outside the parsed region -> float64 [N] in dB, inf where nothing changed; NaN if the region is everything."""

    metric = "parsed_background_psnr"
    measure = staticmethod(peak_signal_to_noise)


class ParsedBackgroundLpipsProc:
    """Perceptual distance outside the parsed region -> float64 [N]; NaN where the region is the whole picture."""

    metric = "parsed_background_lpips_proc"
    role = "perceptual_metric"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.region = ParsedRegion(networks, self.metric)
        self.network = network(networks, self.role, self.metric)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        return float64(perceptual_error(given, self.region(given), perceptual=self.network, role=self.role))


class ParsedBackgroundLpipsAlex(ParsedBackgroundLpipsProc):
    """As :class:`ParsedBackgroundLpipsProc`, by the network of the lpips package on AlexNet."""

    metric = "parsed_background_lpips_alex"
    role = "lpips_alex"


def _widened(region: Tensor, margin: int) -> Tensor:
    """bool [N, 1, H, W] -> bool of the same shape, True within ``margin`` pixels (square) of a True pixel."""
    size = 2 * margin + 1  # one axis at a time: a 65 x 65 square at once takes seconds for a picture of 1024 x 1024
    columns = F.max_pool2d(region.float(), (size, 1), stride=1, padding=(margin, 0))
    return F.max_pool2d(columns, (1, size), stride=1, padding=(0, margin)) > 0
