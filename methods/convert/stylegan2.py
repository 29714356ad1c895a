"""Read published StyleGAN2 weights: the layouts of rosinality/stylegan2-pytorch and of NVlabs/stylegan2-ada-pytorch.

The two PyTorch layouts hold the same numbers; only names and axes of length 1 differ. The result has the names of
`invbench.methods.nets.stylegan2` and `invbench.methods.nets.discriminator`, which are NVlabs' names without the filter
buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.methods.convert.stylegan2_tf import from_tensorflow
from invbench.methods.nets.discriminator import Discriminator, DiscriminatorConfig
from invbench.methods.nets.equalised import binomial_filter
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from invbench.methods.nets.stylegan2_config import powers_of_two
from invbench.metrics.nets.published import check

State = dict[str, Tensor]
FILTER_SUFFIXES = (".resample_filter", ".kernel")
MEAN_LATENT_SAMPLES = 10_000  # as the released inversion codes draw if a file has no mean latent


@dataclass(frozen=True)
class Rename:
    """One tensor in both layouts; rosinality's has `leading` and `trailing` more axes of length 1."""

    native: str
    rosinality: str
    leading: int = 0
    trailing: int = 0

    def to_native(self, tensor: Tensor) -> Tensor:
        """The tensor without the extra axes; one that lacks them is returned unchanged, and the shape check reports it."""
        shape = tensor.shape
        stop = len(shape) - self.trailing
        extra = (*shape[: self.leading], *shape[stop:])
        if len(shape) < self.leading + self.trailing or any(length != 1 for length in extra):
            return tensor
        return tensor.reshape(shape[self.leading : stop])

    def to_rosinality(self, tensor: Tensor) -> Tensor:
        """The tensor with the extra axes."""
        return tensor.reshape((1,) * self.leading + tuple(tensor.shape) + (1,) * self.trailing)


@dataclass(frozen=True)
class ConvertedGenerator:
    """A converted generator: `Generator(config).load_state_dict(state)` fits; `notes` lists tensors that the file lacked."""

    config: GeneratorConfig
    state: State
    notes: tuple[str, ...]

    def network(self) -> Generator:
        """The generator with these tensors, float32, in eval mode, frozen."""
        network = Generator(self.config)
        network.load_state_dict(self.state, assign=True)  # uses the tensors of the file without copying
        return network.float().eval().requires_grad_(False)


def convert_generator(
    checkpoint: Mapping[str, Any], *, source: str, mapping_lr_multiplier: float = 0.01
) -> ConvertedGenerator:
    """Convert a generator of either layout.

    checkpoint  rosinality's dict {"g_ema": state, "latent_avg": [D] or [L,D]}; or NVlabs' {"G_ema": state, "init_kwargs":
                ...}; or {"Gs": variables, ...} from a TensorFlow pickle as `invbench.weights.checkpoints` reads it; or a bare
                state dict of either PyTorch layout (with "latent_avg" beside the parameters, if known). The moving average is
                used, even if the file also holds the last weights
    source      file name for messages

    Two parts that old files lack are made from fixed seeds and noted: noise maps (normal, seed 0), and the mean latent (mean
    over 10,000 z, seed 0). NVlabs' clamp of the activations is read from "init_kwargs".
    Raises InvbenchError that names missing, unexpected and misshapen keys.
    """
    latent_avg = checkpoint.get("latent_avg")
    ema = next((checkpoint[key] for key in ("g_ema", "G_ema", "Gs") if key in checkpoint), checkpoint)
    found = from_tensorflow(ema) if "Gs" in checkpoint else dict(ema)
    found.pop("latent_avg", None)
    found = _without_filters(found, source)
    notes = ["modulation biases: stored without the 1 that is added to them here"] if "Gs" in checkpoint else []
    if "input.input" in found:
        found = _renamed(found, generator_renames(_resolution(found), _depth(found)))
        if latent_avg is not None:
            found["mapping.w_avg"] = _one_latent(latent_avg, source)
    try:
        config = GeneratorConfig.from_state(
            found, mapping_lr_multiplier=mapping_lr_multiplier, conv_clamp=_clamp(checkpoint)
        )
    except ValueError as error:
        raise InvbenchError(f"{source}: not a StyleGAN2 generator of a known layout ({error})") from error
    expected = _shapes(lambda: Generator(config))
    if not any(name.endswith(".noise_const") for name in found):
        draw = torch.Generator().manual_seed(0)
        maps = [name for name in expected if name.endswith(".noise_const")]
        found |= {name: torch.randn(expected[name], generator=draw) for name in maps}
        notes.append("noise maps: not in the file, drawn with seed 0")
    without_mean = "mapping.w_avg" not in found
    if without_mean:
        found["mapping.w_avg"] = torch.zeros(config.w_dim)
    check(found, expected, source=source)
    if without_mean:
        network = Generator(config)
        network.load_state_dict(found)
        drawn = network.sample_w(MEAN_LATENT_SAMPLES, generator=torch.Generator().manual_seed(0))
        found["mapping.w_avg"] = drawn.double().mean(0).float()
        notes.append(f"mean latent: not in the file, estimated from {MEAN_LATENT_SAMPLES} samples with seed 0")
    return ConvertedGenerator(config, {name: found[name] for name in expected}, tuple(notes))


def generator(
    checkpoint: Mapping[str, Any], *, source: str, rows: Sequence[int] | None = None
) -> tuple[Generator, tuple[str, ...]]:
    """The generator of a file of either layout, and notes; see :func:`convert_generator`.

    rows  (first, end): the rows of the canvas that form the picture, see GeneratorConfig

    Raises InvbenchError if the file or the rows do not fit.
    """
    converted = convert_generator(checkpoint, source=source)
    if rows is not None:
        try:
            first, end = rows
            converted = replace(converted, config=replace(converted.config, rows=(first, end)))
        except (TypeError, ValueError) as error:
            raise InvbenchError(f"{source}: {error}") from error
    return converted.network(), converted.notes


def convert_discriminator(checkpoint: Mapping[str, Any], *, source: str) -> tuple[DiscriminatorConfig, State]:
    """Convert a discriminator from rosinality's dict {"d": state} or a bare state dict of either layout.

    Raises InvbenchError that names missing, unexpected and misshapen keys.
    """
    found = _without_filters(dict(checkpoint.get("d", checkpoint)), source)
    if "convs.0.0.weight" in found:
        blocks = {name.split(".")[1] for name in found if name.startswith("convs.")}
        found = _renamed(found, discriminator_renames(4 * 2 ** (len(blocks) - 1)))
    try:
        config = DiscriminatorConfig.from_state(found)
    except ValueError as error:
        raise InvbenchError(f"{source}: not a StyleGAN2 discriminator of a known layout ({error})") from error
    expected = _shapes(lambda: Discriminator(config))
    check(found, expected, source=source)
    return config, {name: found[name] for name in expected}


def to_rosinality(config: GeneratorConfig, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The checkpoint that rosinality's converter would write: {"g_ema": state with filters, "latent_avg": [D]}."""
    renames = generator_renames(config.resolution, config.n_mapping)
    g_ema = {rename.rosinality: rename.to_rosinality(state[rename.native]) for rename in renames}
    for i in range(len(config.resolutions) - 1):
        g_ema[f"convs.{2 * i}.conv.blur.kernel"] = 4.0 * binomial_filter()
        g_ema[f"to_rgbs.{i}.upsample.kernel"] = 4.0 * binomial_filter()
    return {"g_ema": g_ema, "latent_avg": state["mapping.w_avg"]}


def generator_renames(resolution: int, n_mapping: int) -> list[Rename]:
    """The names of every stored tensor of a generator, except the mean latent."""
    renames = [Rename("synthesis.b4.const", "input.input", leading=1)]
    for i in range(n_mapping):
        renames += [Rename(f"mapping.fc{i}.{kind}", f"style.{i + 1}.{kind}") for kind in ("weight", "bias")]
    noise = 0
    for i, res in enumerate(powers_of_two(resolution)):
        block = f"synthesis.b{res}"
        convolutions = {"conv1": "conv1"} if i == 0 else {"conv0": f"convs.{2 * i - 2}", "conv1": f"convs.{2 * i - 1}"}
        for name, theirs in convolutions.items():
            renames += [
                *_modulated(f"{block}.{name}", theirs),
                Rename(f"{block}.{name}.bias", f"{theirs}.activate.bias"),
                Rename(f"{block}.{name}.noise_strength", f"{theirs}.noise.weight", leading=1),
                Rename(f"{block}.{name}.noise_const", f"noises.noise_{noise}", leading=2),
            ]
            noise += 1
        to_rgb = "to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"
        renames += _modulated(f"{block}.torgb", to_rgb)
        renames.append(Rename(f"{block}.torgb.bias", f"{to_rgb}.bias", leading=1, trailing=2))
    return renames


def discriminator_renames(resolution: int) -> list[Rename]:
    """The names of every stored tensor of a discriminator."""
    pairs = {f"b{resolution}.fromrgb.weight": "convs.0.0.weight", f"b{resolution}.fromrgb.bias": "convs.0.1.bias"}
    for i, res in enumerate(reversed(powers_of_two(resolution)[1:]), start=1):
        pairs |= {
            f"b{res}.conv0.weight": f"convs.{i}.conv1.0.weight",
            f"b{res}.conv0.bias": f"convs.{i}.conv1.1.bias",
            f"b{res}.conv1.weight": f"convs.{i}.conv2.1.weight",
            f"b{res}.conv1.bias": f"convs.{i}.conv2.2.bias",
            f"b{res}.skip.weight": f"convs.{i}.skip.1.weight",
        }
    pairs |= {"b4.conv.weight": "final_conv.0.weight", "b4.conv.bias": "final_conv.1.bias"}
    for i, name in enumerate(("b4.fc", "b4.out")):
        pairs |= {f"{name}.{kind}": f"final_linear.{i}.{kind}" for kind in ("weight", "bias")}
    return [Rename(native, theirs) for native, theirs in pairs.items()]


def _modulated(native: str, theirs: str) -> list[Rename]:
    return [
        Rename(f"{native}.weight", f"{theirs}.conv.weight", leading=1),
        Rename(f"{native}.affine.weight", f"{theirs}.conv.modulation.weight"),
        Rename(f"{native}.affine.bias", f"{theirs}.conv.modulation.bias"),
    ]


def _clamp(checkpoint: Mapping[str, Any]) -> Any:
    """conv_clamp of an NVlabs generator; None if there is none."""
    kwargs = checkpoint.get("init_kwargs") or {}
    return ((kwargs.get("G_ema") or {}).get("synthesis_kwargs") or {}).get("conv_clamp")


def _resolution(state: Mapping[str, Tensor]) -> int:
    blocks = {name.split(".")[1] for name in state if name.startswith("to_rgbs.")}
    return 4 * 2 ** max(len(blocks), 1)


def _depth(state: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[1] for name in state if name.startswith("style.")})


def _renamed(state: Mapping[str, Tensor], renames: Iterable[Rename]) -> State:
    """The state with known names renamed; unknown names are kept, and the check reports them."""
    known = {rename.rosinality: rename for rename in renames}
    return {
        (known[name].native if name in known else name): (known[name].to_native(value) if name in known else value)
        for name, value in state.items()
    }


def _without_filters(state: Mapping[str, Tensor], source: str) -> State:
    """The state without the resampling filters, which are constants here. Raises InvbenchError for another filter."""
    kept: State = {}
    for name, value in state.items():
        if not name.endswith(FILTER_SUFFIXES):
            kept[name] = value
            continue
        kernel = value.detach().cpu().float()
        if tuple(kernel.shape) != (4, 4) or not torch.allclose(kernel / kernel.sum(), binomial_filter(), atol=1e-6):
            raise InvbenchError(f"{source}: {name}: expected the filter of [1,3,3,1], found {kernel.tolist()}")
    return kept


def _one_latent(latent_avg: Tensor, source: str) -> Tensor:
    """The mean latent [D], from [D] or from equal rows [L,D] as encoder checkpoints store it."""
    rows = latent_avg.reshape(1, -1) if latent_avg.ndim < 2 else latent_avg
    if rows.ndim != 2 or not torch.allclose(rows, rows[:1].expand_as(rows)):
        found = tuple(latent_avg.shape)
        raise InvbenchError(f"{source}: latent_avg: expected [D], or [L,D] with equal rows, found {found}")
    return rows[0]


def _shapes(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build().state_dict().items()}
