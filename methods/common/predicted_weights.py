"""Weights that a network predicts for every image: whether they fit the generator, their memory, interpolation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from invbench.api import InvbenchError, Inversion

COPIES, FEATURE_COPIES = 5, 10  # that live at once of an image's predicted weights, and of its features


def check_targets(method: str, targets: Mapping[str, Sequence[int]], generator: Any) -> None:
    """Raises InvbenchError unless the parameters ``targets`` (name -> shape) are those of the generator's synthesis."""
    own = {name: tuple(value.shape) for name, value in generator.synthesis.named_parameters()}
    for name, shape in targets.items():
        if own.get(name) != tuple(shape):
            found = list(own[name]) if name in own else "no such parameter"
            raise InvbenchError(f"{method}: {name}: its network predicts {list(shape)}, the generator has {found}")


def max_batch(generator: Any, targets: Mapping[str, Sequence[int]], memory: int) -> int:
    """Estimated number of images whose weights are predicted within ``memory`` bytes; at least 1.

    Counted in float32: COPIES of the predicted weights, since the prediction, what was predicted before, their sum and the
    weights made of it live at the same time; and the features of all layers with their products.
    """
    features = sum(math.prod(shape) for shape in generator.synthesis.feature_shape.values())
    weights = sum(math.prod(shape) for shape in targets.values())
    return max(1, memory // (4 * (FEATURE_COPIES * features + COPIES * weights)))


def interpolated(generator: Any, a: Inversion, b: Inversion, t: float, *, names: Sequence[str]) -> Inversion:
    """Between two inversions of one image each or of N: latents and the weights ``names`` of the state, both linearly.

    t 0 gives ``a``, 1 gives ``b`` (Dinh et al. 2022, section 4.6; VinAIResearch/HyperInverter,
    evaluation/real_image_interpolation.py). Values outside extrapolate.
    """
    latents = torch.lerp(a.latents, b.latents, t)
    weights = {name: torch.lerp(a.state[name], b.state[name], t) for name in names}
    with torch.no_grad():
        return Inversion(latents, generator.synthesis(latents, weights=weights), weights)

