"""Change of age and of head pose, read by public networks, for suites without truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from invbench.api import MetricInput
from invbench.metrics.common import float64, network

SPECS = [
    {
        "id": "age_change_dex",
        "class": "AgeChangeDex",
        "title": "Age change by DEX (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "years",
        "range": "[-100, 100]",
        "roles": ["age_dex"],
        "edits": ["age"],
        "protocols": ["native", "psp256"],
        "summary": "On whole aligned pictures; DEX was trained on crops of the face. Compare it with the strength.",
        "reference": "criteria/aging_loss.py of yuval-alaluf/SAM (psp256)",
    },
    {
        "id": "yaw_change_pose",
        "class": "YawChangePose",
        "title": "Yaw change by Hopenet (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "degrees",
        "range": "[-195, 195]",
        "roles": ["pose"],
        "edits": ["yaw"],
        "protocols": ["hopenet224"],
        "summary": "Positive = the face turns to the left of the picture. HyperInverter used another network, FacePoseNet.",
        "reference": "code/test_hopenet.py of natanielruiz/deep-head-pose",
    },
]


class AgeChangeDex:
    """DEX's age of the edited picture minus that of the reconstruction -> float64 [N] in years.

    Reading both pictures with the same network cancels its constant error. Source: HyperInverter (Dinh et al., CVPR 2022),
    Table 2; its crop and code are not published.
    """

    metric, role, reading = "age_change_dex", "age_dex", "age"

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.read = getattr(network(networks, self.role, self.metric), self.reading)

    @torch.inference_mode()
    def __call__(self, given: MetricInput) -> np.ndarray:
        before, after = (
            float64(given.once(f"{self.reading}:{self.role}", which, self.read)) for which in ("inverted", "output")
        )
        return after - before


class YawChangePose(AgeChangeDex):
    """As AgeChangeDex, for the yaw in degrees by the head-pose network -> float64 [N]; signs as in nets.hopenet."""

    metric, role, reading = "yaw_change_pose", "pose", "yaw"
