"""ArcFace IR-SE50 (Deng et al., CVPR 2019; TreB1eN/InsightFace_Pytorch), the identity network of the pSp family's losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from invbench.metrics.nets.irse import FACE, IRSE50, FaceEmbedding
from invbench.metrics.nets.published import fitted

WHOLE = 256  # pixels a side of the aligned picture that the crop is cut from
ROWS, COLUMNS = slice(35, 223), slice(32, 220)  # crop of that picture: the face without hair and shoulders


class ArcFace(FaceEmbedding):
    """``forward`` takes whole FFHQ-aligned pictures, ``embedding`` takes aligned faces of 112 px."""

    def __init__(self) -> None:
        super().__init__(stages=IRSE50, gated=True, affine=True)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W], RGB in [-1, 1] -> embeddings [N, 512] of length 1.

        As in the identity loss of eladrich/pixel2style2pixel: area-averaged to 256 px, cropped to rows 35:223 and columns
        32:220, area-averaged to 112 px. Raises ValueError on another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        if images.shape[2:] != (WHOLE, WHOLE):
            images = F.adaptive_avg_pool2d(images, WHOLE)
        return self.embedding(F.adaptive_avg_pool2d(images[:, :, ROWS, COLUMNS], FACE))


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> ArcFace:
    """``model_ir_se50.pth``, a bare state dict -> the network. Raises InvbenchError naming ``source`` if it does not fit."""
    return fitted(ArcFace, checkpoint, source=source)
