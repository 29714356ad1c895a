"""Perceptual metrics between a picture and its original, by LPIPS-style networks that no method may use as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bench.api import Scored
from metrics.common import float64, network

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
        "summary": "The lpips package with its official weights, native size.",
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
        "summary": "The lpips package with its official weights, native size.",
    },
]


class LpipsProc:
    """Perceptual distance of output and original. [N, 3, H, W] -> float64 [N]; 0 for identical pictures.

    The network in the role has ``distance(a, b) -> [N]`` on images in [-1, 1] (Zhang et al., CVPR 2018: squared
    differences of unit-normalised features, weighted by channel, averaged over space, summed over layers).
    """

    metric = "lpips_proc"
    role = "perceptual_metric"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.role, self.metric)

    @torch.inference_mode()
    def __call__(self, scored: Scored) -> np.ndarray:
        return float64(self.network.distance(scored.output, scored.target))


class LpipsAlex(LpipsProc):
    """As :class:`LpipsProc`, by the network of the lpips package on AlexNet."""

    metric = role = "lpips_alex"


class LpipsVgg(LpipsProc):
    """As :class:`LpipsProc`, by the network of the lpips package on VGG-16."""

    metric = role = "lpips_vgg"
