"""DINOv2 (Oquab et al., 2023) as torch-fidelity 0.4 extracts its features, for Frechet and kernel distances.

torch-fidelity builds the network by torch.hub, which runs code from the internet, so it is written here; its preparation of
pictures is torch-fidelity's own. Files: ``dinov2_vits14_pretrain.pth``, ``_vitb14_``, ``_vitl14_`` of facebookresearch/dinov2
(Apache-2.0), bare state dicts without registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.metrics.nets.published import fitted, tensors
from invbench.metrics.nets.vit import VisionTransformer, shape_of

SIDE = 224


class DinoV2(nn.Module):
    """A DINOv2 network and torch-fidelity's preparation; the options are those of the vision transformer."""

    def __init__(self, *, width: int, depth: int, patch: int, positions: int) -> None:
        super().__init__()
        self.model = VisionTransformer(
            width=width, depth=depth, patch=patch, positions=positions, scaled=True, masked=True
        )

    def features(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] from uint8 pictures -> float32 [N, width], the normalised first token.

        The uint8 values are resized to 224 x 224 as in TensorFlow 1 (bilinear, not antialiased), then normalised by ImageNet's
        mean and standard deviation.
        """
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resized

        levels = (images + 1).mul(127.5).round().clamp(0, 255)
        mean, std = (levels.new_tensor(values).view(3, 1, 1) * 255 for values in (IMAGENET_MEAN, IMAGENET_STD))
        return self.model((resized(levels, size=(SIDE, SIDE), align_corners=False) - mean) / std)

    def forward(self, images: Tensor) -> Tensor:
        """As :meth:`features`."""
        return self.features(images)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> DinoV2:
    """A released file -> the network, in eval mode and frozen. Raises InvbenchError naming ``source`` if it does not fit."""
    state = tensors(checkpoint, source=source)
    shape = shape_of(state, source=source)
    return fitted(lambda: DinoV2(**shape), {f"model.{key}": value for key, value in state.items()}, source=source)
