"""Read the files of EzioBy/padinv: {"models": {"encoder": tensors, "generator": tensors, ...}, what a training wrote, ...}.

Its generator has the names of genforce/hammer. The mean latent is that of the generator; the encoder's tensors do not hold it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.convert.stylegan2 import ConvertedGenerator, convert_discriminator, convert_generator
from invbench.methods.nets.padding import PaddingEncoder
from invbench.methods.nets.stylegan2 import Generator
from invbench.metrics.nets.published import entry, fitted, tensors

MODELS = ("encoder", "generator", "generator_smooth", "discriminator")
AFFINE = {"style.weight": "affine.weight", "style.bias": "affine.bias", "filter": "resample_filter"}


def padding(checkpoint: Mapping[str, Any], *, source: str) -> tuple[PaddingEncoder, tuple[str, ...]]:
    """The encoder, with as many of its heads as the file's generator has style vectors, and notes.

    InvbenchError naming ``source`` where a network of the file, the generator included, does not fit.
    """
    models = _models(checkpoint, source)
    found = tensors(entry(models, "encoder", source=source), source=source)
    converted = _generator(models, source)
    heads = len({key.split(".")[1] for key in found if key.startswith("latent_heads.")})
    first, vectors = found.get("latent_heads.0.linear.weight"), converted.config.num_ws
    if first is None or first.ndim != 2 or heads < vectors:
        raise InvbenchError(f"{source}: expected latent_heads.*, at least {vectors} for this generator, found {heads}")
    found["latent_avg"] = converted.state["mapping.w_avg"].clone()
    network = fitted(lambda: PaddingEncoder(vectors, first.shape[0], heads=heads), found, source=source)
    idle = (f"latent_heads: {heads - vectors} of {heads} are idle",) if heads > vectors else ()
    return network, (*idle, *converted.notes)


def generator(checkpoint: Mapping[str, Any], *, source: str) -> tuple[Generator, tuple[str, ...]]:
    """The generator that the encoder was trained for, and notes. Raises as :func:`padding`."""
    converted = _generator(_models(checkpoint, source), source)
    return converted.network(), converted.notes


def _models(checkpoint: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    models: Mapping[str, Any] = entry(checkpoint, "models", source=source)
    left = [key for key in models if key not in MODELS]
    if left:
        raise InvbenchError(f"{source}: models: expected some of {', '.join(MODELS)}, found {', '.join(left[:8])}")
    return models


def _generator(models: Mapping[str, Any], source: str) -> ConvertedGenerator:
    """The generator whose mean latent the encoder adds; another one, and a discriminator, must be whole, and are not used."""
    if "discriminator" in models:
        convert_discriminator(tensors(models["discriminator"], source=source), source=f"{source}: discriminator")
    for name in ("generator_smooth", "generator"):
        if name in models or name == "generator":
            state = tensors(entry(models, name, source=source), source=source)
            converted = convert_generator({_native(key): _plain(key, value) for key, value in state.items()}, source=source)
    return converted


def _native(key: str) -> str:
    """``synthesis.layer3.style.weight`` -> ``synthesis.b16.conv0.affine.weight``; an unknown key stays as it is."""
    if key == "w_avg":
        return "mapping.w_avg"
    if key == "synthesis.early_layer.const":
        return "synthesis.b4.const"
    if key == "synthesis.filter":
        return "synthesis.resample_filter"
    key = re.sub(r"^mapping\.dense(\d+)\.", r"mapping.fc\1.", key)
    found = re.fullmatch(r"synthesis\.(layer|output)(\d+)\.(.+)", key)
    if found is None:
        return key
    kind, number, rest = found[1], int(found[2]), found[3]
    block = number if kind == "output" else (number + 1) // 2
    layer = "torgb" if kind == "output" else ("conv0" if number % 2 else "conv1")
    rest = AFFINE.get(rest, "noise_const" if rest == "noise" else rest)
    return f"synthesis.b{4 << block}.{layer}.{rest}"


def _plain(key: str, value: Tensor) -> Tensor:
    """Without the axes of length 1 that the constant input and the noise maps have."""
    if key.endswith((".noise", "early_layer.const")) and value.ndim == 4:
        return value.reshape(value.shape[1:] if value.shape[0] == 1 and key.endswith("const") else value.shape[2:])
    return value
