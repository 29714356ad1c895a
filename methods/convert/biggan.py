"""Read the files of huggingface/pytorch-pretrained-BigGAN: bare state dicts of BigGAN-deep, pytorch_model.bin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.nets.biggan import FIRST, FIRST_WIDTH, BigGAN, BigGANConfig, published
from invbench.metrics.nets.published import check, fitted, tensors

WEIGHT, U, V = ".weight_orig", ".weight_u", ".weight_v"
RESOLUTIONS = {len(published(size).layers): size for size in (128, 256, 512)}  # number of blocks -> pixels


def generator(checkpoint: Mapping[str, Any], *, source: str) -> BigGAN:
    """The generator. InvbenchError naming ``source`` if a tensor is missing, left over or of another shape.

    The blocks are those of the released network with as many of them (config.json says no more); all widths are the file's.
    Each weight is divided by its spectral norm u W v, as the library does in eval mode.
    """
    state = tensors(checkpoint, source=source)
    config = shape(state, source=source)
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in BigGAN(**config.to_dict()).state_dict().items()}
    plain = {"embeddings.weight", "generator.bn.weight"}
    stored: dict[str, tuple[int, ...]] = {}
    for key, size in expected.items():
        if key in plain or not key.endswith(".weight"):
            stored[key] = size
            continue
        name = key.removesuffix(".weight")
        stored |= {name + WEIGHT: size, name + U: size[:1], name + V: (int(torch.Size(size[1:]).numel()),)}
    check(state, stored, source=source)
    return fitted(lambda: BigGAN(**config.to_dict()), {key: _effective(state, key, source) for key in expected}, source=source)


def shape(state: Mapping[str, Tensor], *, source: str) -> BigGANConfig:
    """The shape of the network of a state dict. InvbenchError naming ``source`` if it is none of the released ones."""
    first, embeddings = state.get("generator.gen_z" + WEIGHT), state.get("embeddings.weight")
    means = state.get("generator.bn.running_means")
    if any(value is None or value.ndim != 2 for value in (first, embeddings, means)):
        raise InvbenchError(
            f"{source}: expected matrices embeddings.weight, generator.gen_z{WEIGHT}, generator.bn.running_means, found others"
        )
    assert first is not None and embeddings is not None and means is not None
    blocks = {int(match[1]) for key in state if (match := re.fullmatch(r"generator\.layers\.(\d+)\.conv_0\.bias", key))}
    if len(blocks) not in RESOLUTIONS:
        known = ", ".join(f"{number} ({size} pixels)" for number, size in RESOLUTIONS.items())
        raise InvbenchError(f"{source}: expected one of the released numbers of blocks, {known}, found {len(blocks)}")
    width, condition = first.shape[0] // (FIRST * FIRST * FIRST_WIDTH), first.shape[1]
    try:
        return replace(
            published(RESOLUTIONS[len(blocks)]),
            z_dim=condition - embeddings.shape[0],
            class_embed_dim=embeddings.shape[0],
            channel_width=width,
            num_classes=embeddings.shape[1],
            n_stats=means.shape[0],
        )
    except ValueError as error:
        raise InvbenchError(f"{source}: {error}") from error


def _effective(state: Mapping[str, Tensor], key: str, source: str) -> Tensor:
    name = key.removesuffix(".weight")
    if key in state:
        return state[key]
    weight = state[name + WEIGHT]
    norm = state[name + U].double() @ weight.double().flatten(1) @ state[name + V].double()
    if not torch.isfinite(norm) or norm == 0:
        raise InvbenchError(f"{source}: {name}{WEIGHT}: expected a spectral norm u W v other than 0, found {float(norm)}")
    return (weight.double() / norm).to(weight.dtype)
