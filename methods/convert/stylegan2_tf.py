"""Names and axes of the TensorFlow StyleGAN2 (NVlabs/stylegan2, NVlabs/stylegan2-ada), whose pickles hold LSUN's generators.

Convolutions are stored as [k, k, I, O], upsampling ones also rotated by 180 degrees; dense layers as [I, O]; the bias of a
modulation without the 1 that is added to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

Change = Callable[[Tensor], Tensor]
PASSING = re.compile(r"(.*/)?lod")  # from progressive growing; StyleGAN2 does not use it


def same(value: Tensor) -> Tensor:
    """The tensor unchanged."""
    return value


def dense(value: Tensor) -> Tensor:
    """Weights of a dense layer, [I, O] -> [O, I]."""
    return value.T


def plain(value: Tensor) -> Tensor:
    """Kernels of a convolution, [k, k, I, O] -> [O, I, k, k]."""
    return value.permute(3, 2, 0, 1)


def enlarging(value: Tensor) -> Tensor:
    """Kernels of an upsampling convolution, [k, k, I, O] rotated by 180 degrees -> [O, I, k, k]."""
    return value.flip(0, 1).permute(3, 2, 0, 1)


def plus_one(value: Tensor) -> Tensor:
    """The bias of a modulation, with the 1 that the TensorFlow code adds at run time."""
    return value + 1


def first(value: Tensor) -> Tensor:
    """The constant input, [1, C, 4, 4] -> [C, 4, 4]."""
    return value[0]


def noise(value: Tensor) -> Tensor:
    """A noise map, [1, 1, R, R] -> [R, R]."""
    return value[0, 0]


AXES: dict[Change, int] = {dense: 2, plain: 4, enlarging: 4, first: 4, noise: 4}
LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
PARTS: dict[str, tuple[str, Change]] = {
    "weight": ("weight", plain),
    "bias": ("bias", same),
    "mod_weight": ("affine.weight", dense),
    "mod_bias": ("affine.bias", plus_one),
    "noise_strength": ("noise_strength", same),
}


def from_tensorflow(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Variables of Gs -> a state dict with NVlabs' PyTorch names; unknown names are kept for the check of keys."""
    state: dict[str, Tensor] = {}
    for name, value in variables.items():
        if PASSING.fullmatch(name):
            continue
        new, change = _renamed(name)
        fits = value.ndim == AXES.get(change, value.ndim) and value.numel() > 0
        state[new] = change(value).contiguous() if fits else value  # else the check of shapes reports it
    return state


def _renamed(name: str) -> tuple[str, Change]:
    if name == "dlatent_avg":
        return "mapping.w_avg", same
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", first
    if match := re.fullmatch(r"mapping/Dense(\d+)/(weight|bias)", name):
        return f"mapping.fc{match[1]}.{match[2]}", dense if match[2] == "weight" else same
    if match := re.fullmatch(r"synthesis/noise(\d+)", name):
        number = int(match[1])  # 0 belongs to 4 x 4; then two for each resolution
        layer = "conv1" if number % 2 == 0 else "conv0"
        return f"synthesis.b{4 * 2 ** ((number + 1) // 2)}.{layer}.noise_const", noise
    if match := re.fullmatch(r"synthesis/(\d+)x\1/(\w+)/(\w+)", name):
        layer, part = match[2], match[3]
        if layer in LAYERS and part in PARTS:
            ours, change = PARTS[part]
            change = enlarging if (layer, part) == ("Conv0_up", "weight") else change
            return f"synthesis.b{match[1]}.{LAYERS[layer]}.{ours}", change
    return name, same
