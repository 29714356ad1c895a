"""Read published encoders: the files of eladrich/pixel2style2pixel (pSp), omertov/encoder4editing (e4e),
yuval-alaluf/restyle-encoder (ReStyle over both), the encoders into W of yuval-alaluf/hyperstyle and
VinAIResearch/HyperInverter, and those of caopulan/GANInverter (LSAP).

Such a file is {"state_dict": {"encoder.*", "decoder.*"}, "latent_avg": tensor, "opts": dict}; a training checkpoint also holds
its progress. The published encoder gives offsets from ``latent_avg``, which here becomes a buffer of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.methods.convert.stylegan2 import ConvertedGenerator, convert_generator
from invbench.methods.nets.encoders import E4EEncoder, PSPEncoder
from invbench.methods.nets.restyle import RESNET34, ReStyleE4EEncoder, ReStylePSPEncoder
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.w_encoder import WEncoder
from invbench.metrics.nets.published import entry, fitted, tensors

TRAINING = ("global_step", "optimizer", "best_val_loss", "discriminator_state_dict", "discriminator_optimizer_state_dict")
Encoder: TypeAlias = PSPEncoder | WEncoder | ReStylePSPEncoder
Build: TypeAlias = Callable[[int, int], Encoder]  # (number of style vectors, their width) -> encoder
KNOWN = ("state_dict", "latent_avg", "opts", *TRAINING)


@dataclass(frozen=True)
class ConvertedEncoder:
    """A converted file: ``encoder`` with its mean latent, ``decoder``: the generator in the file, None if it has none."""

    encoder: Encoder
    decoder: ConvertedGenerator | None
    notes: tuple[str, ...]


def convert_psp(checkpoint: Mapping[str, Any], *, source: str) -> ConvertedEncoder:
    """pSp's encoder into W+, or into W if the file holds it. Raises InvbenchError naming ``source`` if it does not fit."""
    return _convert(checkpoint, PSPEncoder, source=source)


def convert_e4e(checkpoint: Mapping[str, Any], *, source: str) -> ConvertedEncoder:
    """e4e's encoder. Raises InvbenchError naming ``source`` if the file does not fit."""
    return _convert(checkpoint, E4EEncoder, source=source)


def convert_restyle(checkpoint: Mapping[str, Any], cls: type[ReStylePSPEncoder], *, source: str) -> ConvertedEncoder:
    """ReStyle's encoder of either backbone. Raises InvbenchError naming ``source`` if the file does not fit, or if neither it
    nor its decoder has the mean latent, from which ReStyle starts.
    """
    resnet = "encoder.conv1.weight" in tensors(entry(checkpoint, "state_dict", source=source), source=source)
    options: dict[str, Any] = {"backbone": "resnet", "stages": RESNET34} if resnet else {}
    checkpoint = {**checkpoint, "opts": {"start_from_latent_avg": True}}  # inference always adds it, for all options
    return _convert(checkpoint, lambda heads, width: cls(heads, width, **options), source=source)


def restyle_psp(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The encoder of ReStyle over pSp, and notes."""
    converted = convert_restyle(checkpoint, ReStylePSPEncoder, source=source)
    return converted.encoder, converted.notes


def restyle_e4e(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The encoder of ReStyle over e4e, and notes."""
    converted = convert_restyle(checkpoint, ReStyleE4EEncoder, source=source)
    return converted.encoder, converted.notes


def e4e(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """e4e's encoder, and notes."""
    converted = convert_e4e(checkpoint, source=source)
    return converted.encoder, converted.notes


def ganinverter(checkpoint: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """A file of caopulan/GANInverter in the form of the other encoders' files. There, encoder and decoder are state dicts of
    their own, and the mean latent is a buffer of the encoder. Raises InvbenchError if the file has something else.
    """
    known = ("encoder", "decoder", "discriminator", "opts", *TRAINING)
    left = [key for key in checkpoint if key not in known]
    inner = tensors(entry(checkpoint, "encoder", source=source), source=source)
    found = {key.removeprefix("module."): value for key, value in inner.items()}  # training on several cards adds it
    mean = found.pop("latent_avg", None)
    left += [key for key in found if not key.startswith("encoder.")]
    if left:
        expected = f"{', '.join(known)}, and in encoder latent_avg, encoder.*"
        raise InvbenchError(f"{source}: expected {expected}, found {', '.join(left[:8])}")
    inner = tensors(checkpoint["decoder"], source=source) if "decoder" in checkpoint else {}
    names = {key: key.removeprefix("module.").removeprefix("decoder.") for key in inner}
    parts = {f"decoder.{names[key]}": value for key, value in inner.items()}
    plain: dict[str, Any] = {"state_dict": {**found, **parts}, "opts": checkpoint.get("opts") or {}}
    return plain if mean is None else {**plain, "latent_avg": mean}


def lsap(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """LSAP's encoder, which is e4e's, and notes."""
    return e4e(ganinverter(checkpoint, source=source), source=source)


def lsap_decoder(checkpoint: Mapping[str, Any], *, source: str) -> tuple[Generator, tuple[str, ...]]:
    """The generator in a file of LSAP, as :func:`decoder`."""
    return decoder(ganinverter(checkpoint, source=source), source=source)


def psp(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """pSp's encoder, and notes."""
    converted = convert_psp(checkpoint, source=source)
    return converted.encoder, converted.notes


def w_encoder(
    checkpoint: Mapping[str, Any], *, source: str, generator: Mapping[str, Any] | None = None, generator_source: str = ""
) -> tuple[nn.Module, tuple[str, ...]]:
    """An encoder into W of either backbone, and notes. ``generator``: a file of the generator that it was trained for; its mean
    latent is taken if the encoder's file has none, as HyperInverter's code does.

    Raises InvbenchError if the file does not fit, or if it is an encoder into W+.
    """
    keys = tensors(entry(checkpoint, "state_dict", source=source), source=source)
    if any(key.startswith("encoder.styles.") for key in keys):
        raise InvbenchError(f"{source}: expected an encoder into W, with encoder.linear.weight, found one into W+")
    taken: tuple[str, ...] = ()
    carries = checkpoint.get("latent_avg") is not None or any(key.startswith("decoder.") for key in keys)
    if generator is not None and not carries:
        mean = convert_generator(generator, source=generator_source).state["mapping.w_avg"]
        checkpoint = {**checkpoint, "latent_avg": mean, "opts": {}}  # whatever its options say, the mean is added
        taken = (f"latent_avg: not in the file, that of {generator_source} is taken",)
    converted = _convert(checkpoint, PSPEncoder, source=source)
    return converted.encoder, (*taken, *converted.notes)


def decoder(checkpoint: Mapping[str, Any], *, source: str) -> tuple[Generator, tuple[str, ...]]:
    """The generator in an encoder's file, and notes. Raises InvbenchError if the file has none."""
    return _carried(convert_e4e(checkpoint, source=source), source)


def restyle_decoder(checkpoint: Mapping[str, Any], *, source: str) -> tuple[Generator, tuple[str, ...]]:
    """The generator in a file of ReStyle, as :func:`decoder`."""
    return _carried(convert_restyle(checkpoint, ReStylePSPEncoder, source=source), source)


def _carried(converted: ConvertedEncoder, source: str) -> tuple[Generator, tuple[str, ...]]:
    if converted.decoder is None:
        raise InvbenchError(f"{source}: expected a decoder beside the encoder, found none")
    return converted.decoder.network(), converted.notes


def _convert(checkpoint: Mapping[str, Any], build: Build, *, source: str) -> ConvertedEncoder:
    state = tensors(entry(checkpoint, "state_dict", source=source), source=source)
    found, parts = _part(state, "encoder."), _part(state, "decoder.")
    left = [key for key in checkpoint if key not in KNOWN]
    left += [key for key in state if not key.startswith(("encoder.", "decoder."))]
    if left:
        raise InvbenchError(f"{source}: expected encoder.*, decoder.* and {', '.join(KNOWN)}, found {', '.join(left[:8])}")
    decoder, notes = None, []
    heads = len({key.split(".")[1] for key in found if key.startswith("styles.")})
    shape = (heads or 1, _width(found, source))
    latent_avg = checkpoint.get("latent_avg")
    if latent_avg is not None:
        latent_avg = latent_rows(latent_avg, shape, source)
    if parts:
        mean = None if latent_avg is None else latent_avg.mean(0)
        if latent_avg is not None and not torch.allclose(latent_avg, latent_avg[:1].expand_as(latent_avg)):
            notes.append("decoder's mean latent: latent_avg differs between the vectors, their mean is taken")
        decoder = convert_generator({"g_ema": parts, "latent_avg": mean}, source=source)
        notes += [f"decoder's {note}" for note in decoder.notes]
    if not _adds_mean(checkpoint):
        latent_avg = torch.zeros(shape)
    elif latent_avg is None:
        if decoder is None:
            raise InvbenchError(f"{source}: expected latent_avg, or a decoder to take it from, found neither")
        latent_avg = decoder.state["mapping.w_avg"].expand(shape)
        notes.append("latent_avg: not in the file, the decoder's mean latent is taken")
    found["latent_avg"] = latent_avg.clone() if heads else latent_avg[0].clone()
    resnet: dict[str, Any] = {"backbone": "resnet", "stages": RESNET34} if "conv1.weight" in found else {}
    built: Encoder = fitted(lambda: build(*shape) if heads else WEncoder(shape[1], **resnet), found, source=source)
    return ConvertedEncoder(built, decoder, tuple(notes))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _width(found: Mapping[str, Tensor], source: str) -> int:
    """D, the width of the output of the last layer of a head, or of the encoder into W."""
    for key in ("styles.0.linear.weight", "linear.weight"):
        if key in found and found[key].ndim == 2:
            return found[key].shape[0]
    keys = ", ".join(list(found)[:5]) or "nothing"
    raise InvbenchError(f"{source}: expected an encoder with styles.* or with linear.weight, found {keys}")


def latent_rows(latent_avg: Any, shape: tuple[int, int], source: str) -> Tensor:
    """latent_avg as [L, D], from [D], [1, D] or [L, D]; published files have all three. Of an encoder into W, L is 1, and equal
    rows are taken as one.
    """
    if shape[0] == 1 and isinstance(latent_avg, Tensor) and latent_avg.ndim == 2 and bool((latent_avg == latent_avg[:1]).all()):
        latent_avg = latent_avg[:1]
    fits = isinstance(latent_avg, Tensor) and tuple(latent_avg.shape) in {shape[1:], (1, shape[1]), shape}
    if not fits:
        found = tuple(latent_avg.shape) if isinstance(latent_avg, Tensor) else type(latent_avg).__name__
        raise InvbenchError(f"{source}: latent_avg: expected [{shape[1]}], [1, {shape[1]}] or {list(shape)}, found {found}")
    return latent_avg.float().expand(shape)


def _adds_mean(checkpoint: Mapping[str, Any]) -> bool:
    """Whether the encoder starts from the mean latent; files without the option are older and do."""
    opts = checkpoint.get("opts") or {}
    return bool((opts if isinstance(opts, Mapping) else vars(opts)).get("start_from_latent_avg", True))
