"""The Inception-v3 of FID and KID from torch-fidelity, with its resizing (Szegedy et al., CVPR 2016; toshas/torch-fidelity).

Its weights are TensorFlow's of 2015-12-05. ``pt_inception-2015-12-05-6726825d.pth`` (mseitzer/pytorch-fid) and
``weights-inception-2015-12-05-6726825d.pth`` (toshas/torch-fidelity) have the same layout: a bare state dict.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invbench.metrics.nets.published import fitted, tensors

FEATURE = "2048"  # torch-fidelity's name for the output of the last pooling


class Inception(nn.Module):
    """torch-fidelity's ``inception-v3-compat``, built with random weights, so that it never downloads anything."""

    def __init__(self) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        class Unloaded(FeatureExtractorInceptionV3):
            """Accepts the empty state dict that the constructor gets, which means: keep the initial weights."""

            def load_state_dict(self, state: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
                return super().load_state_dict(state, strict=strict and bool(state), assign=assign)

        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        self.model: Any = Unloaded("inception-v3-compat", [FEATURE], feature_extractor_weights_path=nothing)
        self.model.MaxPool_1, self.model.MaxPool_2 = MaxPool(), MaxPool()

    def features(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] from uint8 pictures -> float32 [N, 2048].

        The extractor gets the uint8 values p, resizes them to 299 x 299 as in TensorFlow 1 (bilinear, not antialiased) and uses
        (p - 128) / 128.
        """
        levels = (images + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return self.model(levels)[0]

    def forward(self, images: Tensor) -> Tensor:
        """As :meth:`features`."""
        return self.features(images)


class MaxPool(nn.Module):
    """``nn.MaxPool2d(3, stride=2)`` by rows, then columns: the same values, on a CPU in a fifth of the time (measured)."""

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, C, (H - 1) // 2, (W - 1) // 2]."""
        for axis in (2, 3):
            a, b, c = x.unfold(axis, 3, 2).unbind(-1)
            x = torch.maximum(torch.maximum(a, b), c)
        return x


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> Inception:
    """Either public file -> the network, in eval mode and frozen. Raises InvbenchError naming ``source`` if it does not fit.

    A file may lack the counters ``num_batches_tracked`` of its normalisations, which older versions of torch did not write.
    """
    found = tensors(checkpoint, source=source)
    counters = {
        re.sub(r"running_var$", "num_batches_tracked", key): torch.zeros((), dtype=torch.long)
        for key in found
        if key.endswith(".bn.running_var")
    }
    return fitted(Inception, {f"model.{key}": value for key, value in (counters | found).items()}, source=source)
