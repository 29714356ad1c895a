"""The coarse blocks of a StyleGAN2 synthesis alone, for features without the rest of the pass."""

from __future__ import annotations

from dataclasses import replace

import torch

from invbench.methods.nets.stylegan2 import Synthesis
from invbench.methods.nets.stylegan2_config import GeneratorConfig


def up_to(synthesis: Synthesis, config: GeneratorConfig, resolution: int) -> Synthesis:
    """The blocks of a synthesis up to a resolution of at least 8, with its own tensors: features without the rest of the pass.

    config  of the whole generator
    It takes the first ``num_ws`` latents and gives a picture that is good for nothing.
    """
    channels = {size: width for size, width in config.channels.items() if size <= resolution}
    with torch.device("meta"):
        found = Synthesis(replace(config, resolution=resolution, channels=channels, rows=None))
    for size in channels:
        found.add_module(f"b{size}", synthesis.get_submodule(f"b{size}"))
    found.kernel = synthesis.kernel
    return found.train(synthesis.training)
