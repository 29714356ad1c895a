"""Read the files of genforce/idinvert_pytorch: bare state dicts of the encoder, the StyleGAN generator and its VGG-16."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.nets.idinvert import DomainEncoder
from invbench.methods.nets.stylegan1 import StyleGAN1Generator
from invbench.methods.nets.stylegan2_config import GeneratorConfig
from invbench.methods.nets.vgg_features import VGGFeatures
from invbench.metrics.nets.published import fitted, tensors

FILTER = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])) / 16
WHOLE_VGG = re.compile(r"layer(2[4-9]|3\d)\.(weight|bias)")  # what follows relu4_3 in a whole VGG-16


def encoder(checkpoint: Mapping[str, Any], *, source: str) -> DomainEncoder:
    """The encoder, with the widths and the resolution of the file. InvbenchError naming ``source`` if it does not fit."""
    state = tensors(checkpoint, source=source)
    blocks = _count(r"block(\d+)\..+", state)
    first, last = state.get("block0.conv.weight"), state.get(f"block{blocks - 1}.fc.weight")
    if blocks < 4 or first is None or last is None or first.ndim != 4 or last.ndim != 2:
        raise InvbenchError(f"{source}: expected block0.conv.weight to blockN.fc.weight, found {blocks} blocks without them")
    widths = [value.shape[0] for key, value in state.items() if re.fullmatch(r"block\d+\.conv2\.weight", key)]
    config = {"base": first.shape[0], "maximum": max(widths, default=0), "w_dim": last.shape[0] // (2 * (blocks - 1))}
    return fitted(lambda: DomainEncoder(2**blocks, **config), state, source=source)


def generator(checkpoint: Mapping[str, Any], *, source: str) -> tuple[StyleGAN1Generator, tuple[str, ...]]:
    """The generator, and notes. InvbenchError naming ``source`` if a tensor is missing, left over or of another shape.

    Filters must be those of [1, 2, 1]. Truncation is an argument here, so ``truncation.truncation`` may be missing.
    """
    state = tensors(checkpoint, source=source)
    for key in [key for key in state if key.endswith(".blur.kernel")]:
        kernel = state.pop(key).float()
        if kernel.shape[1:] != (1, 3, 3) or not torch.allclose(kernel, FILTER.expand_as(kernel), atol=1e-6):
            raise InvbenchError(f"{source}: {key}: expected the filter of [1, 2, 1], found one of {list(kernel.shape)}")
    blocks, depth = _count(r"synthesis\.output(\d+)\.bias", state), _count(r"mapping\.dense(\d+)\.fc\.weight", state)
    first, grown = state.get("mapping.dense0.fc.weight"), state.pop("synthesis.lod", None)
    if blocks < 2 or depth < 2 or first is None or first.ndim != 2:
        raise InvbenchError(f"{source}: expected mapping.dense0.fc.weight [D, Z] and synthesis.output0 to N, found others")
    if grown is None or grown.ndim != 0 or not 0 <= float(grown) <= blocks - 1:
        raise InvbenchError(f"{source}: synthesis.lod: expected a number from 0 to {blocks - 1}, found {grown}")
    factor = state.pop("truncation.truncation", None)
    if factor is not None and tuple(factor.shape) != (1, 2 * blocks, 1):
        found = list(factor.shape)
        raise InvbenchError(f"{source}: truncation.truncation: expected shape {[1, 2 * blocks, 1]}, found {found}")
    config = GeneratorConfig(
        resolution=4 * 2 ** (blocks - 1),
        channels={4 << number: _width(state, number, source) for number in range(blocks)},
        z_dim=first.shape[1],
        w_dim=first.shape[0],
        n_mapping=depth,
    )
    fused = [4 << int(match[1]) // 2 for match in _matches(r"synthesis\.layer(\d+)\.weight", state)]
    left_out = math.ceil(float(grown))
    fused_from = min(fused, default=2 * config.resolution)
    network = fitted(lambda: StyleGAN1Generator(config, fused_from=fused_from, left_out=left_out), state, source=source)
    notes = (f"synthesis.lod: {float(grown):g}, the last {left_out} resolutions were not trained",) if left_out else ()
    return network, notes


def features(checkpoint: Mapping[str, Any], *, source: str) -> tuple[VGGFeatures, tuple[str, ...]]:
    """VGG-16 up to relu4_3, and notes; later layers are not used. InvbenchError naming ``source`` if it does not fit."""
    state = tensors(checkpoint, source=source)
    idle = [key for key in state if WHOLE_VGG.fullmatch(key)]
    kept = {key: value for key, value in state.items() if key not in idle}
    notes = (f"layers after relu4_3: {len(idle)} tensors are idle",) if idle else ()
    return fitted(VGGFeatures, kept, source=source), notes


def _width(state: Mapping[str, Tensor], number: int, source: str) -> int:
    key = f"synthesis.layer{2 * number}.epilogue.bias"
    if key not in state or state[key].ndim != 1:
        raise InvbenchError(f"{source}: {key}: expected a vector, found {'another tensor' if key in state else 'none'}")
    return state[key].shape[0]


def _matches(pattern: str, state: Mapping[str, Tensor]) -> list[re.Match[str]]:
    return [match for match in map(re.compile(pattern).fullmatch, state) if match]


def _count(pattern: str, state: Mapping[str, Tensor]) -> int:
    """Number of the different numbers in the names that match."""
    return len({match[1] for match in _matches(pattern, state)})
