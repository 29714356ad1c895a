"""The CAM-consistency loss (Kim, Khan and Choo, CVPR 2021): a translated picture is the original where no attribute lies.

No code of it is public, and of the paper only what others report was at hand. The reading chosen here: for each attribute k
that changes, Grad-CAM (Selvaraju et al. 2017) of the critic's logit of the *wanted* state (the logit, or its negative where the
attribute is taken away) for the translated picture, divided by its largest value; the mask M is the largest over k. The loss is
mean |(1 - M) (x - y)|, in the generator's step with M held, so that y keeps to x outside, and in the critic's step with y held,
so that M comes to cover what the generator changes ("cooperative"): there M is part of the graph, which takes second
derivatives. The feature is the last with 8 x 8 places, where the published critics end at 2 x 2 and 4 x 4. Weight 10, as
StarGAN's cycle has, on the mean; it rises between 20 % and 40 % of the training, once the critic tells attributes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def activation(critic: Any, images: Tensor, wanted: Tensor, layer: int) -> Tensor:
    """Where the critic sees the attributes that changed, [N, 1, H, W] in [0, 1], as a graph over the critic's weights.

    wanted  [N, A]: 1 for an attribute that was given, -1 for one that was taken away, 0 for one that stayed
    layer   convolutions of the critic before the feature
    A picture in which nothing changed, or whose map has no positive place, has mask 0.
    """
    feature = critic.until(images, layer)
    logits = critic.after(feature, layer)[1]
    union = torch.zeros_like(feature[:, :1])
    for score in (wanted * logits).sum(0).unbind():
        (gradient,) = torch.autograd.grad(score, feature, create_graph=True)
        found = (gradient.mean((2, 3), keepdim=True) * feature).sum(1, keepdim=True).relu()
        largest = found.amax((1, 2, 3), keepdim=True)
        union = torch.maximum(union, torch.where(largest > 0, found / largest.clamp_min(1e-12), 0))
    return F.interpolate(union, size=images.shape[-2:], mode="bilinear", align_corners=False)


def outside(mask: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The mean absolute change of pictures [N, 3, H, W] where the mask [N, 1, H, W] is not."""
    return ((1 - mask) * (before - after).abs()).mean()
