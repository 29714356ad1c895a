"""How well a method's own out-of-domain mask agrees with the true one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from invbench.api import MetricInput
from invbench.metrics.common import float64, not_covered

SPECS = [
    {
        "id": "domain_iou",
        "class": "DomainIoU",
        "title": "IoU of the out-of-domain area",
        "kind": "inversion",
        "better": "higher",
        "unit": "",
        "range": "[0, 1]",
        "needs": ["ood_mask", "domain_mask"],
        "summary": "The method's out-of-domain area against the exact mask, for pictures that have such an area.",
        "reference": "none: the true masks are known only here",
    },
]


class DomainIoU:
    """Intersection over union of predicted and true out-of-domain pixels -> float64 [N] in [0, 1].

    Predicted: ``state["domain_mask"]`` [N, 1, h, w] (1 = in-domain), resized bilinearly to the picture, below 0.5.
    NaN (not covered) for all images if the method has no such mask, and for an image without a true mask or without any
    out-of-domain pixel, whose IoU would be 0 for any number of false alarms.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        pass

    def __call__(self, given: MetricInput) -> np.ndarray:
        mask = given.state.get("domain_mask")
        if mask is None:
            return not_covered(given)
        height, width = given.output.shape[-2:]
        truths = [np.zeros((height, width), bool) if s.ood_mask is None else s.ood_mask for s in given.samples]
        truth = torch.from_numpy(np.stack(truths)).to(mask.device)
        resized = F.interpolate(mask.double(), size=(height, width), mode="bilinear", align_corners=False)
        predicted = resized[:, 0] < 0.5
        values = (predicted & truth).sum((1, 2)).double() / (predicted | truth).sum((1, 2)).double()
        values[~truth.flatten(1).any(1)] = torch.nan
        return float64(values)
