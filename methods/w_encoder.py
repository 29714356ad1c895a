"""An encoder into W: one code for all layers, from which HyperStyle and HyperInverter start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from invbench.api import Clock
from invbench.methods.psp import PSP
from invbench.options import Options

SPEC = {
    "id": "w_encoder",
    "class": "WEncoding",
    "title": "W encoder",
    "family": "encoder",
    "paper": "Richardson et al., pSp (into W); Alaluf et al., HyperStyle; Dinh et al., HyperInverter (its first phase)",
    "venue": "CVPR 2021 / CVPR 2022 / CVPR 2022",
    "roles": ["generator", "encoder_w", "directions"],
    "optional": {"encoder_w_hyperinverter": "trained_for=hyperinverter"},
    "gives": "w",
    "options": {
        "trained_for": {
            "default": "hyperstyle",
            "unit": "",
            "choices": ["hyperstyle", "hyperinverter"],
            "help": "whose network is taken where a suite has one of each; elsewhere there is one for both",
        },
    },
    "presets": {"paper": {}, "released": {}, "hyperinverter": {"trained_for": "hyperinverter"}},
    "summary": "One code for all layers, predicted in one pass; pictures are made with the stored noise. HyperStyle's networks "
    "were trained with the code of e4e, HyperInverter's with that of pSp or of e4e; pictures are reduced with antialiasing, as "
    "HyperStyle's code does, where HyperInverter's resizes without it.",
}


class WEncoding(PSP):
    """Encoder into W (eladrich/pixel2style2pixel, yuval-alaluf/hyperstyle): see :class:`invbench.api.Embedder`."""

    def __init__(self, networks: Mapping[str, Any], options: Options):
        own = f"encoder_w_{options.trained_for}"
        self.role = own if own in networks else "encoder_w"
        super().__init__(networks, options)

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        return self.generator.repeat(super().embed(images, clock)).contiguous()
