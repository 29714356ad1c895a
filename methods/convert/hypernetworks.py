"""Read published hypernetworks: the files of yuval-alaluf/hyperstyle and VinAIResearch/HyperInverter.

HyperStyle: {"state_dict": {"hypernet.*", "decoder.*"}, "opts", "latent_avg", ...}; its encoder into W is another file.
HyperInverter: {"state_dict": {"hypernet.*", "w_encoder.*", "w_bar_encoder.*", "discriminator.*"}, "opts", ...}; its generator
is NVIDIA's pickle. Widths, layers and D are read from the tensors, and compared with what the options say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.methods.convert.stylegan2 import ConvertedGenerator, convert_discriminator, convert_generator
from invbench.methods.nets.hyperinverter import RELEASED, SETS, HyperInverterNetwork, target_names
from invbench.methods.nets.hyperstyle import HyperStyleNetwork, layer_names
from invbench.methods.nets.restyle import RESNET34
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.stylegan2_config import official_channels
from invbench.metrics.nets.irse import IRSE50
from invbench.metrics.nets.published import entry, fitted, tensors

HYPERSTYLE = ("state_dict", "opts", "latent_avg", "global_step", "best_val_loss")
HYPERINVERTER = ("state_dict", "opts", "encoder_optimizer", "discriminator_optimizer", "loss_dict")
SHARED = "shared_weight_hypernet."
REGRESSORS = "hypernet.weight_regressors."


def hyperstyle(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """HyperStyle's hypernetwork in either form, and notes.

    The file stores the shared matrices once more under each layer that uses them: these must be the same numbers.
    InvbenchError naming ``source`` where anything is missing, left over, or at odds with the options.
    """
    state = _state(checkpoint, HYPERSTYLE, ("hypernet", "decoder"), source)
    found = _part(state, "hypernet.")
    numbers = sorted({int(key.split(".")[1]) for key in found if key.startswith("refinement_blocks.")})
    shared = [i for i in numbers if f"refinement_blocks.{i}.linear.weight" in found]
    _compare("layers_to_tune", _layers(_opts(checkpoint), numbers), numbers, source)
    for i in shared:
        _without_copies(found, i, source)
    decoder = _decoder(checkpoint, state, source)
    resolution = decoder.config.resolution if decoder else int(_opts(checkpoint).get("output_size") or _smallest(numbers))
    channels = dict(decoder.config.channels) if decoder else official_channels(resolution)
    code = _length(found, f"{SHARED}w1", source)
    inner = [_length(found, f"refinement_blocks.{i}.convs.0.weight", source) for i in (shared[:1] + numbers[-1:])]
    network = fitted(
        lambda: HyperStyleNetwork(
            resolution,
            channels=channels,
            layers=numbers,
            shared=shared,
            separable=any(".make_kernel_in." in key for key in found),
            stages=RESNET34,
            code=code,
            inner=(inner[0], inner[-1]),
        ),
        found,
        source=source,
    )
    return network, ()


def hyperstyle_decoder(checkpoint: Mapping[str, Any], *, source: str) -> tuple[Generator, tuple[str, ...]]:
    """The generator in a file of HyperStyle, and notes. InvbenchError where it has none."""
    state = _state(checkpoint, HYPERSTYLE, ("hypernet", "decoder"), source)
    converted = _decoder(checkpoint, state, source)
    if converted is None:
        raise InvbenchError(f"{source}: expected a decoder beside the hypernetwork, found none")
    return converted.network(), converted.notes


def hyperinverter(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """HyperInverter's second phase, and notes. InvbenchError naming ``source`` as for :func:`hyperstyle`."""
    parts = ("hypernet", "w_encoder", "w_bar_encoder", "discriminator")
    state = _state(checkpoint, HYPERINVERTER, parts, source)
    found = {key: value for key, value in state.items() if key.startswith(("hypernet.", "w_bar_encoder."))}
    notes = []
    discriminator = _part(state, "discriminator.")
    if discriminator:
        convert_discriminator(discriminator, source=f"{source}: discriminator")
        notes.append("discriminator: of the training only, not used")
    opts = _opts(checkpoint)
    names = [key.replace("_", ".") for key in _regressors(found)]
    first = f"{REGRESSORS}{_regressors(found)[0] if names else 'b4_conv1_weight'}"
    hidden = _length(found, f"{first}.w1", source)
    styles = {key.split(".")[2] for key in found if key.startswith("w_bar_encoder.styles.")}
    resolution = 2 ** (len(styles) // 2 + 1)
    _compare("hidden_dim", opts.get("hidden_dim"), hidden, source)
    _compare("output_size", opts.get("output_size"), resolution, source)
    channels = _channels(found, names, hidden, resolution)
    chosen = opts.get("target_shape_name")
    if chosen is not None:
        _compare("target_shape_name", chosen, _set_of(names, channels), source)
    resnet = "w_bar_encoder.conv1.weight" in found
    network = fitted(
        lambda: HyperInverterNetwork(
            resolution,
            channels=channels,
            targets=names or RELEASED,
            hidden=hidden,
            backbone="resnet" if resnet else "irse",
            stages=RESNET34 if resnet else IRSE50,
        ),
        found,
        source=source,
    )
    return network, tuple(notes)


def _state(checkpoint: Mapping[str, Any], known: Sequence[str], parts: Sequence[str], source: str) -> dict[str, Tensor]:
    state = tensors(entry(checkpoint, "state_dict", source=source), source=source)
    left = [key for key in checkpoint if key not in known]
    left += [key for key in state if not key.startswith(tuple(f"{part}." for part in parts))]
    if left:
        expected = f"{', '.join(f'{part}.*' for part in parts)} and {', '.join(known)}"
        raise InvbenchError(f"{source}: expected {expected}, found {', '.join(left[:8])}")
    return state


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _opts(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    opts = checkpoint.get("opts") or {}
    return opts if isinstance(opts, Mapping) else vars(opts)


def _compare(name: str, said: Any, found: Any, source: str) -> None:
    """Raises InvbenchError where the options say (None: nothing) what the tensors do not hold."""
    if said is not None and said != found:
        raise InvbenchError(f"{source}: opts: {name}: expected what the tensors hold, {found}, found {said}")


def _layers(opts: Mapping[str, Any], numbers: Sequence[int]) -> list[int] | None:
    """Option ``layers_to_tune``: numbers between commas, or nothing for all; None where there is no such option."""
    said = opts.get("layers_to_tune")
    if said is None:
        return None
    listed = said.split(",") if isinstance(said, str) else said
    try:
        return sorted(int(one) for one in listed) or list(range(int(opts.get("n_hypernet_outputs", max(numbers) + 1))))
    except (TypeError, ValueError):
        return [-1]  # equal to no layers


def _without_copies(found: dict[str, Tensor], number: int, source: str) -> None:
    """Take the copies of the shared matrices under a layer out of ``found``, after comparing them."""
    for name in ("w1", "b1", "w2", "b2"):
        key = f"refinement_blocks.{number}.hypernet.{name}"
        if key not in found or f"{SHARED}{name}" not in found:
            absent = key if key not in found else f"{SHARED}{name}"
            raise InvbenchError(f"{source}: expected the shared matrices under every layer that uses them, missing {absent}")
        copy, own = found.pop(key), found[f"{SHARED}{name}"]
        one = copy.data_ptr() == own.data_ptr() and copy.shape == own.shape and copy.stride() == own.stride()
        if not one and not torch.equal(copy, own):
            raise InvbenchError(f"{source}: {key}: expected the numbers of {SHARED}{name}, found others")


def _decoder(checkpoint: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> ConvertedGenerator | None:
    parts = _part(state, "decoder.")
    if not parts:
        return None
    mean = checkpoint.get("latent_avg")
    rows = mean.reshape(-1, mean.shape[-1])[:1] if isinstance(mean, Tensor) and mean.ndim else None  # one vector, repeated
    return convert_generator({"g_ema": parts, "latent_avg": rows}, source=source)


def _smallest(numbers: Sequence[int]) -> int:
    """The smallest resolution with as many layers."""
    return next(2**power for power in range(3, 12) if len(layer_names(2**power)) > max(numbers, default=0))


def _length(found: Mapping[str, Tensor], key: str, source: str) -> int:
    if key not in found or found[key].ndim == 0:
        raise InvbenchError(f"{source}: expected a hypernetwork with {key}, found {', '.join(list(found)[:5]) or 'nothing'}")
    return found[key].shape[0]


def _regressors(found: Mapping[str, Tensor]) -> list[str]:
    names = (key.removeprefix(REGRESSORS).split(".")[0] for key in found if key.startswith(REGRESSORS))
    return list(dict.fromkeys(names))


def _channels(found: Mapping[str, Tensor], names: Sequence[str], hidden: int, resolution: int) -> dict[int, int]:
    """Channels of the generator's features by the lengths of the matrices; config-f where none tells."""
    channels = official_channels(resolution)
    for name in names:
        block, layer, *rest = name.split(".")
        first = found.get(f"{REGRESSORS}{name.replace('.', '_')}.w1")
        if layer in ("conv1", "torgb") and rest == ["weight"] and first is not None and first.ndim == 2:
            channels[int(block.removeprefix("b"))] = first.shape[1] // hidden
    return channels


def _set_of(names: Sequence[str], channels: Mapping[int, int]) -> str:
    """The name of the set that these parameters are, or the parameters."""
    same = (chosen for chosen in SETS if set(target_names(channels, chosen)) == set(names))
    return next(same, ", ".join(names))
