"""Two more Inception-v3 features than torch-fidelity's, for the two public forms of the FID of edits.

pytorch_fid   the same weights under mseitzer/pytorch-fid's preparation (0.3.0, Apache-2.0), as StyleFeatureEditor has it
ImageNet      torchvision's weights ``inception_v3_google-0cc3c7bd.pth`` (BSD) under the preparation of StarGAN v2
              (clovaai/stargan-v2), as StyleRes has it

Values of the three are on different scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.metrics.nets.inception import Inception
from invbench.metrics.nets.published import fitted, tensors

SIDE = 299
STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "")  # "": a pooling
MIXED = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")


def pytorch_fid(network: Inception, images: Tensor) -> Tensor:
    """Images [N, 3, H, W] in [-1, 1] -> float32 [N, 2048], resized as floats, bilinear without antialiasing, to 299 x 299."""
    resized = F.interpolate((images + 1) / 2, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return _pooled(network.model, 2 * resized - 1)


class InceptionImageNet(nn.Module):
    """torchvision's Inception-v3, up to its last pooling."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import inception_v3

        self.model: nn.Module = inception_v3(weights=None, aux_logits=True, transform_input=False, init_weights=False)

    def features(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] from uint8 pictures -> float32 [N, 2048].

        Pictures are resized by Pillow, bilinear with antialiasing, from uint8 to uint8, to 299 x 299.
        """
        levels = (images + 1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        resized = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for one in levels]
        seen = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(images.device, torch.float32) / 255
        mean, std = (seen.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return _pooled(self.model, (seen - mean) / std)

    def forward(self, images: Tensor) -> Tensor:
        """As :meth:`features`."""
        return self.features(images)


def _pooled(model: nn.Module, x: Tensor) -> Tensor:
    """The mean over space of the last block's map, [N, 2048]. torch-fidelity and torchvision name the blocks alike."""
    for name in STEM:
        x = getattr(model, name)(x) if name else F.max_pool2d(x, 3, stride=2)
    for name in MIXED:
        x = getattr(model, f"Mixed_{name}")(x)
    return x.mean((2, 3))


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> InceptionImageNet:
    """torchvision's file -> the network, in eval mode and frozen. Raises InvbenchError naming ``source`` if it does not fit."""
    state = tensors(checkpoint, source=source)
    counters = {
        key.replace("running_var", "num_batches_tracked"): torch.zeros((), dtype=torch.int64)
        for key in state
        if key.endswith(".bn.running_var")
    }
    return fitted(InceptionImageNet, {f"model.{key}": value for key, value in (counters | state).items()}, source=source)
