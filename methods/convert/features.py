"""Read published networks that change features of the generator beside its latents.

HFGI (Tengfei-Wang/HFGI), the Feature-Style encoder (InterDigitalInc/FeatureStyleEncoder), StyleRes (hamzapehlivan/StyleRes)
and StyleFeatureEditor (ControlGenAI/StyleFeatureEditor). Each function takes a file's content and ``source``, its name for
messages, gives the network and notes, and raises InvbenchError where any part does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.methods.convert.encoders import ConvertedEncoder, convert_e4e, latent_rows
from invbench.methods.convert.stylegan2 import ConvertedGenerator, convert_discriminator, convert_generator
from invbench.methods.nets.feature_style import FeatureStyleEncoder
from invbench.methods.nets.hfgi import HFGINetwork
from invbench.methods.nets.sfe import SFENetwork
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.styleres import StyleResNetwork
from invbench.metrics.nets.published import entry, fitted, tensors

STYLERES = ("e4e", "latent_avg", "generator_smooth")
FUSED, CLAMP = 64, 256  # resolution of the block that holds StyleRes' modules; bound of its generator's activations
BLOCK = f"synthesis.b{FUSED}."
SFE = ("state_dict", "encoder_opt", "disc_opt", "latent_avg")
BESIDE = ("decoder", "discriminator", "e4e_encoder")  # what a whole training of StyleFeatureEditor saves beside its networks
OWN = ("residue.", "grid_align.")  # of HFGI; beside them its file holds what a file of e4e holds


def hfgi(checkpoint: Mapping[str, Any], *, source: str) -> tuple[HFGINetwork, tuple[str, ...]]:
    """``ckpt.pt``: {"state_dict": {"encoder.*", "residue.*", "decoder.*", "grid_align.*"}, "latent_avg", "opts"}."""
    state, beside = _hfgi(checkpoint, source)
    found = {key: value for key, value in state.items() if key.startswith(OWN)}
    shift = found.get("residue.condition_shift3.2.bias")
    if shift is None or shift.ndim != 1:
        raise InvbenchError(f"{source}: expected residue.condition_shift3.2.bias [C], found {', '.join(list(found)[:5])}")
    return fitted(lambda: HFGINetwork(shift.shape[0]), found, source=source), beside.notes


def hfgi_e4e(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The copy of e4e in such a file."""
    beside = _hfgi(checkpoint, source)[1]
    return beside.encoder, beside.notes


def hfgi_decoder(checkpoint: Mapping[str, Any], *, source: str) -> tuple[Generator, tuple[str, ...]]:
    """The generator in such a file; an error where there is none."""
    beside = _hfgi(checkpoint, source)[1]
    if beside.decoder is None:
        raise InvbenchError(f"{source}: expected a decoder beside the encoder, found none")
    return beside.decoder.network(), beside.notes


def _hfgi(checkpoint: Mapping[str, Any], source: str) -> tuple[dict[str, Tensor], ConvertedEncoder]:
    state = tensors(entry(checkpoint, "state_dict", source=source), source=source)
    rest = {key: value for key, value in state.items() if not key.startswith(OWN)}
    return state, convert_e4e({**checkpoint, "state_dict": rest}, source=source)


def feature_style(
    checkpoint: Mapping[str, Any], *, source: str, mean: Mapping[str, Any], mean_source: str
) -> tuple[FeatureStyleEncoder, tuple[str, ...]]:
    """``143_enc.pth``, a bare state dict. The mean latent is that of pSp's file, which is ``mean``, as in the public code."""
    found = tensors(checkpoint, source=source)
    heads = len({key.split(".")[1] for key in found if key.startswith("styles.")})
    first, content = found.get("styles.0.weight"), found.get("content_layer.4.weight")
    if first is None or content is None or first.ndim != 2:
        keys = ", ".join(list(found)[:5]) or "nothing"
        raise InvbenchError(f"{source}: expected styles.0.weight and content_layer.4.weight, found {keys}")
    shape = (heads, first.shape[0])
    found["latent_avg"] = latent_rows(entry(mean, "latent_avg", source=mean_source), shape, mean_source).clone()
    network = fitted(lambda: FeatureStyleEncoder(*shape, feature=content.shape[0]), found, source=source)
    return network, (f"latent_avg: of {mean_source}",)


def styleres(checkpoint: Mapping[str, Any], *, source: str) -> tuple[StyleResNetwork, tuple[str, ...]]:
    """``styleres_ffhq.pth``: {"e4e": tensors, "latent_avg", "generator_smooth": a generator with the three modules in it}."""
    own, converted = _styleres(checkpoint, source)
    encoder = tensors(entry(checkpoint, "e4e", source=source), source=source)
    shape = (len({key.split(".")[1] for key in encoder if key.startswith("styles.")}), converted.config.w_dim)
    mean = latent_rows(entry(checkpoint, "latent_avg", source=source), shape, source)
    found = own | {f"e4e.{key}": value for key, value in encoder.items()} | {"e4e.latent_avg": mean.clone()}
    channels = converted.config.channels[FUSED]
    return fitted(lambda: StyleResNetwork(*shape, channels=channels), found, source=source), converted.notes


def styleres_generator(checkpoint: Mapping[str, Any], *, source: str) -> tuple[Generator, tuple[str, ...]]:
    """The generator in such a file, whose activations are clamped as the public code does."""
    converted = _styleres(checkpoint, source)[1]
    return converted.network(), converted.notes


def _styleres(checkpoint: Mapping[str, Any], source: str) -> tuple[dict[str, Tensor], ConvertedGenerator]:
    """The three modules' tensors and the generator, from keys of both."""
    left = [key for key in checkpoint if key not in STYLERES]
    if left:
        raise InvbenchError(f"{source}: expected {', '.join(STYLERES)}, found {', '.join(left[:8])}")
    state = tensors(entry(checkpoint, "generator_smooth", source=source), source=source)
    own = {key.removeprefix(BLOCK): value for key, value in state.items() if key.startswith(f"{BLOCK}modify_feature_")}
    rest = {key: value for key, value in state.items() if not key.startswith(f"{BLOCK}modify_feature_")}
    clamp = {"G_ema": {"synthesis_kwargs": {"conv_clamp": CLAMP}}}
    return own, convert_generator({"G_ema": rest, "init_kwargs": clamp}, source=source)


def sfe(
    checkpoint: Mapping[str, Any], *, source: str, generator: Mapping[str, Any], generator_source: str
) -> tuple[SFENetwork, tuple[str, ...]]:
    """``sfe_editor_light.pt``: {"state_dict": {"encoder.*": the editor, "inverter.*"}}, or what the whole training saves.

    The mean latent is that of the generator's file, ``generator``, as in the public code; a training's file has a copy. Its
    decoder, discriminator and e4e are read, and not used: the public code takes them from files of their own.
    """
    state = tensors(entry(checkpoint, "state_dict", source=source), source=source)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[name] = value
    left = [key for key in checkpoint if key not in SFE] + [key for key in parts if key not in ("encoder", "inverter", *BESIDE)]
    first, conv = state.get("inverter.fs_backbone.styles.0.weight"), state.get("encoder.conv.weight")
    if left or first is None or conv is None or first.ndim != 2:
        expected = f"{', '.join(SFE)}, and in state_dict encoder.conv.weight, inverter.fs_backbone.styles.0.weight"
        raise InvbenchError(f"{source}: expected {expected}, found {', '.join(map(str, left[:8] or list(state)[:8]))}")
    heads = {key.split(".")[2] for key in parts["inverter"] if key.startswith("fs_backbone.styles.")}
    shape = (len(heads), first.shape[0])
    mean, owner = checkpoint.get("latent_avg"), source
    if mean is None:
        mean, owner = convert_generator(generator, source=generator_source).state["mapping.w_avg"], generator_source
    found = {f"editor.{key}": value for key, value in parts["encoder"].items()}
    found |= {f"inverter.{key}": value for key, value in parts["inverter"].items()}
    found["inverter.fs_backbone.latent_avg"] = latent_rows(mean, shape, owner).clone()
    network = fitted(lambda: SFENetwork(*shape, feature=conv.shape[0]), found, source=source)
    notes = [f"latent_avg: of {owner}"]
    if "discriminator" in parts:
        convert_discriminator(parts["discriminator"], source=f"{source}: discriminator")
    rest = {f"{part}.{key}": value for part in ("decoder", "e4e_encoder") for key, value in parts.get(part, {}).items()}
    if rest:
        plain = {key.removeprefix("e4e_"): value for key, value in rest.items()}
        convert_e4e({"state_dict": plain, "latent_avg": mean}, source=f"{source}: decoder, e4e_encoder")
    unused = [part for part in BESIDE if part in parts]
    return network, (*notes, *(f"{part}: not used, as in the public code" for part in unused))
