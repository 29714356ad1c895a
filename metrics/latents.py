"""What latents are like: LSAP's distance of style vectors from those of random latents (Cao et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from invbench.api import MetricInput
from invbench.metrics.common import float64, network

SPECS = [
    {
        "id": "nscd",
        "class": "NSCD",
        "title": "Style-space distance of latents",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "[0, 2]",
        "roles": ["style_space"],
        "needs": ["latents"],
        "summary": "1 minus the mean over layers of the inner product of the normalised style vector with its anchor, the mean "
        "of the normalised style vectors of random latents, which is not normalised: random latents have a distance above 0. "
        "Pictures do not matter, so that those by other code have none.",
        "reference": "caopulan/GANInverter: the alignment loss of LSAP, there a sum over layers without the 1",
    },
]


class NSCD:
    """Normalised style-space cosine distance (Cao et al. 2022): see :class:`invbench.api.Metric`."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.styles = network(networks, "style_space", "nscd")

    def __call__(self, given: MetricInput) -> np.ndarray:
        if given.latents is None:
            raise ValueError("given.latents: expected the latents [N, L, D] of the inversions, found None")
        return float64(self.styles.distance(given.latents))
