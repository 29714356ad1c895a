"""Files of the second evaluators' networks: official layout, made-up numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.metrics.nets.farl import FaRLNetwork
from invbench.metrics.nets.vit import VisionTransformer
from tests.weights import official


def adapter() -> dict[str, Tensor]:
    """DreamSim's low-rank changes of three networks of 12 blocks."""
    name = "base_model.model.extractor_list.{}.model.blocks.{}.attn.qkv.lora_{}.weight"
    shapes = {"A": (16, 768), "B": (2304, 16)}
    numbers = [(net, block) for net in range(3) for block in range(12)]
    return official.drawn({name.format(*one, part): shape for one in numbers for part, shape in shapes.items()}, seed=105)


DINOV2 = partial(VisionTransformer, width=1024, depth=24, patch=14, positions=37 * 37, scaled=True, masked=True)


def vit_b16(*, first: bool = False) -> dict[str, tuple[int, ...]]:
    """Shapes of a vision transformer of DINO's size."""
    return official.shapes(lambda: VisionTransformer(width=768, depth=12, patch=16, positions=196, first=first))


def clip(seed: int) -> dict[str, Any]:
    """CLIP ViT-B/16 under DINO's names, as DreamSim ships it."""
    return {"state_dict": official.drawn(vit_b16(first=True) | {"proj": (768, 512)}, seed=seed)}


class _Program(nn.Module):
    """A tree of modules with these tensors, of which a TorchScript program can be made."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        below: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, rest = key.partition(".")
            if rest:
                below.setdefault(name, {})[rest] = value
            else:
                self.register_buffer(name, value)
        for name, tensors in below.items():
            self.add_module(name, _Program(tensors))

    def forward(self, x: Tensor) -> Tensor:
        return x


def farl(path: Path) -> None:
    """Write FaRL's parser as a TorchScript program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the form deprecated
        program = torch.jit.trace(_Program(official.drawn(official.shapes(FaRLNetwork), seed=106)), torch.zeros(1))
        program.save(str(path))
