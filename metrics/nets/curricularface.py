"""CurricularFace IR-101 (Huang et al., CVPR 2020; HuangYG123/CurricularFace), the identity metric of the field.

Published scores use faces that a detector found and a similarity transform of five points aligned at 112 px
(`id_similarity` of eladrich/pixel2style2pixel); this module has only the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from invbench.metrics.nets.irse import IR101, FaceEmbedding
from invbench.metrics.nets.published import fitted


class CurricularFace(FaceEmbedding):
    """IR-101: units without channel gates, and a last normalisation without weights."""

    def __init__(self) -> None:
        super().__init__(stages=IR101, gated=False, affine=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Aligned faces [N, 3, 112, 112], RGB in [-1, 1] -> embeddings [N, 512] of length 1.

        Raises ValueError on another shape.
        """
        return self.embedding(faces)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> CurricularFace:
    """``CurricularFace_Backbone.pth``, a bare state dict -> the network.

    Raises InvbenchError naming ``source`` if it does not fit.
    """
    return fitted(CurricularFace, checkpoint, source=source)
