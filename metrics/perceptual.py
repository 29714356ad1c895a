"""Perceptual metrics between a picture and its original, by LPIPS-style networks that no method may use as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from invbench.api import MetricInput
from invbench.metrics.common import float64, network
from invbench.metrics.nets.perceptual import average

SPECS = [
    {
        "id": "lpips_proc",
        "class": "LpipsProc",
        "title": "LPIPS-proc (perceptual network of procfaces)",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["perceptual_metric"],
        "summary": "LPIPS-style distance by a network trained on procfaces, another one than the losses use.",
        "reference": "none: a network of this project",
    },
    {
        "id": "lpips_alex",
        "class": "LpipsAlex",
        "title": "LPIPS (AlexNet, v0.1)",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["lpips_alex"],
        "protocols": ["native", "psp256", "e4e_cars", "ganinverter256"],
        "summary": "The lpips package with its official weights; sum over layers of spatial means.",
        "reference": "lpips.LPIPS(net='alex', version='0.1') of richzhang/PerceptualSimilarity",
    },
    {
        "id": "lpips_vgg",
        "class": "LpipsVgg",
        "title": "LPIPS (VGG-16, v0.1)",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["lpips_vgg"],
        "protocols": ["native", "psp256", "e4e_cars"],
        "summary": "The lpips package with its official weights; sum over layers of spatial means.",
        "reference": "lpips.LPIPS(net='vgg', version='0.1') of richzhang/PerceptualSimilarity",
    },
    {
        "id": "lpips_squeeze",
        "class": "LpipsSqueeze",
        "title": "LPIPS (SqueezeNet 1.1, v0.1)",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, inf)",
        "roles": ["lpips_squeeze"],
        "protocols": ["native", "psp256", "e4e_cars"],
        "summary": "The lpips package with its official weights; sum over layers of spatial means.",
        "reference": "lpips.LPIPS(net='squeeze', version='0.1') of richzhang/PerceptualSimilarity",
    },
]


GROUP_PIXELS = 2**16  # pixels at a time if no other metric needs the features: larger groups are no faster and need more memory


class LpipsProc:
    """Perceptual distance of output and original. [N, 3, H, W] -> float64 [N]; 0 for identical pictures.

    The network in the role has ``features(images)``, for images in [-1, 1], and ``maps_between(features, features)``: one
    [N, 1, h, w] a layer (Zhang et al., CVPR 2018: squared differences of unit-normalised features, weighted by channel,
    averaged over space, summed over layers).
    """

    metric = "lpips_proc"
    role = "perceptual_metric"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.role, self.metric)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        return perceptual_distance(given, self.network, self.role, "output", "target")


def perceptual_distance(given: MetricInput, net: Any, role: str, a: str, b: str) -> np.ndarray:
    """float64 [N]: distance of two pictures of the batch ("output", "truth", ...) by the network in ``role``."""
    features = [given.once(f"features:{role}", which, net.features) for which in (a, b)]
    return float64(average(net.maps_between(*features)))


class LpipsAlex(LpipsProc):
    """As :class:`LpipsProc`, by the network of the lpips package on AlexNet."""

    metric = role = "lpips_alex"


class LpipsVgg:
    """As :class:`LpipsProc`, by the network of the lpips package on VGG-16.

    No other metric uses its features, which are large, so a few pictures are compared at a time, and those of large originals
    one by one, with what the harness has kept of them.
    """

    metric = role = "lpips_vgg"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.role, self.metric)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        if given.originals is not None:
            return np.array([self._alone(given, index) for index in range(len(given.samples))])
        pictures = max(1, GROUP_PIXELS // given.output[0, 0].numel())
        groups = zip(given.output.split(pictures), given.target.split(pictures), strict=True)
        return np.concatenate([float64(self.network.distance(*group)) for group in groups])

    def _alone(self, given: MetricInput, index: int) -> float:
        original = given.original(f"features:{self.role}", index, self.network.features)
        output = self.network.features(given.output[index : index + 1])
        return float(float64(self.network.distance_between(output, original))[0])


class LpipsSqueeze(LpipsVgg):
    """As :class:`LpipsVgg`, on SqueezeNet 1.1."""

    metric = role = "lpips_squeeze"
