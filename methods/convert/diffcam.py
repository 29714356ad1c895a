"""Read the files of HaoruiSong622/Editing-Out-of-Domain: two bare state dicts.

The deghosting network's file holds its own generator with the names of open-mmlab/mmgeneration, which are rosinality's but for
a few words; the numbers are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from invbench.api import InvbenchError
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.nets.deghosting import Deghosting
from invbench.methods.nets.diffcam import DiffCAM
from invbench.metrics.nets.published import fitted, tensors

# Output of the released network by edit: those that the authors' directions are named after.
RELEASED = {"bushy_eyebrows": 6, "eyeglasses": 7, "mouth_open": 10, "narrow_eyes": 11, "beard": 12, "smile": 15, "age": 16}
GENERATOR = "generator."
WORDS = (  # mmgeneration -> rosinality
    (r"^style_mapping\.(\d+)\.linear\.weight_orig$", r"style.\1.weight"),
    (r"^style_mapping\.", "style."),
    (r"^constant_input\.", "input."),
    (r"^injected_noise_", "noises.noise_"),
    (r"style_modulation\.linear\.weight_orig$", "modulation.weight"),
    (r"style_modulation\.", "modulation."),
    (r"\.noise_injector\.", ".noise."),
    (r"\.weight_orig$", ".weight"),
)


def diffcam(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The differential activation network, and notes. Raises InvbenchError naming ``source`` if the file does not fit."""
    state = tensors(checkpoint, source=source)
    last = state.get("fc.weight")
    outputs = 0 if last is None or last.ndim != 2 else last.shape[0]
    if outputs <= max(RELEASED.values()):
        raise InvbenchError(f"{source}: fc.weight: expected at least {max(RELEASED.values()) + 1} attributes, found {outputs}")
    return fitted(lambda: DiffCAM(RELEASED, outputs=outputs), state, source=source), ()


def deghosting(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The deghosting network with its generator, and notes; sizes are read from the tensors.

    Raises InvbenchError naming ``source`` if the file does not fit.
    """
    state = tensors(checkpoint, source=source)
    own = {renamed(key): value for key, value in state.items() if key.startswith(GENERATOR)}
    converted = convert_generator(own, source=f"{source}: {GENERATOR}")
    config = converted.config
    rest = {key: value for key, value in state.items() if not key.startswith(GENERATOR)}
    rest |= {f"{GENERATOR}{key}": value for key, value in converted.state.items()}
    fusions = [key for key in state if re.fullmatch(r"FCN\.fusion_out\.\d+\.weight", key)]
    ups = sum(bool(re.fullmatch(r"FCN\.decoder\.\d+\.upsample_conv\.weight", key)) for key in state)
    in_size = 2 ** (len(fusions) + 1)
    if in_size * 2**ups != config.resolution or in_size not in config.channels:
        raise InvbenchError(
            f"{source}: expected {len(fusions)} fusions (from 4 to {in_size} pixels) and as many decoders as lead to the "
            f"generator's {config.resolution} pixels, found {ups} decoders"
        )
    decoded = (*(config.channels[in_size * 2 ** (i + 1)] for i in range(ups)), 64)
    if ups == 1:
        decoded = (128, 64)
    network = fitted(
        lambda: Deghosting(
            config.channels,
            config.num_ws,
            config.w_dim,
            generator=config.to_dict(),
            in_size=in_size,
            encoded={size: config.channels[size] for size in config.channels if size <= in_size},
            decoded=decoded,
        ),
        rest,
        source=source,
    )
    return network, converted.notes


def renamed(key: str) -> str:
    """The name that rosinality has for a tensor of mmgeneration's generator: "generator.conv1.conv.weight_orig"."""
    name = key.removeprefix(GENERATOR)
    for pattern, word in WORDS:
        name = re.sub(pattern, word, name)
    return name
