"""Files of official layouts, made of stand-ins: right names and shapes, few numbers, so that they take no room."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.convert.stylegan2 import to_rosinality
from invbench.methods.nets.biggan import BigGAN, BigGANConfig
from invbench.methods.nets.discriminator import Discriminator, DiscriminatorConfig
from invbench.methods.nets.equalised import binomial_filter
from invbench.methods.nets.hyperinverter import HyperInverterNetwork
from invbench.methods.nets.hyperstyle import HyperStyleNetwork
from invbench.methods.nets.restyle import RESNET34
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from tests import golden_vectors

SHARED_LAYERS = (0, 2, 3, 5, 6, 8, 9, 11, 12)  # of HyperStyle
FFHQ_LAYERS = (5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24)  # that its file for FFHQ tunes
SMALL = {"z_dim": 16, "w_dim": 16, "n_mapping": 2}


def stand_in(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Tensors of these shapes that need no memory: one number each, repeated; whole numbers where the file has them."""
    return {key: one(shape, whole=key.endswith("num_batches_tracked")) for key, shape in shapes.items()}


def one(shape: list[int], *, whole: bool = False) -> Tensor:
    value = torch.zeros((1,) * len(shape), dtype=torch.int64) if whole else torch.full((1,) * len(shape), 0.01)
    return value.expand(shape)


def channels(resolution: int, *, wide: int) -> dict[int, int]:
    """Channels by resolution: the official ones, 512 to 64 pixels and halved from there on, up to ``wide`` pixels, then 4."""
    sizes = [2**i for i in range(2, resolution.bit_length())]
    return {size: min(512, 32768 // size) if size <= wide else 4 for size in sizes}


def generator(resolution: int, *, seed: int = 0, wide: int = 0, **sizes: int) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """A small random generator of that resolution; its features are as wide as the official ones up to ``wide`` pixels."""
    widths = channels(resolution, wide=wide)
    config = GeneratorConfig(resolution, widths, **{**SMALL, **sizes})
    network = Generator(config)
    draw = torch.Generator().manual_seed(seed)
    state = {key: torch.randn(value.shape, generator=draw) for key, value in network.state_dict().items()}
    return config, state


def rosinality(resolution: int, *, seed: int = 0, **sizes: int) -> dict[str, Any]:
    """A checkpoint as rosinality's converter writes it."""
    return to_rosinality(*generator(resolution, seed=seed, **sizes))


def shapes(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's tensors by name; it is built without memory."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build().state_dict().items()}


def drawn(shapes: Mapping[str, Sequence[int]], *, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of these shapes that take little room, by which activations neither vanish nor explode.

    The rows of a weight overlap in memory: row i is i numbers further on in one random sequence.
    """
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            found[key] = torch.zeros(shape, dtype=torch.int64)
        elif len(shape) < 2:
            noise = 0.1 * torch.randn(shape, generator=draw)
            found[key] = 1 + noise.abs() if key.endswith(("weight", "running_var")) else noise
        else:
            row = torch.Size(shape[1:])
            numbers = torch.randn(shape[0] + row.numel() - 1, generator=draw) * math.sqrt(2 / row.numel())
            found[key] = numbers.as_strided(tuple(shape), (1, *torch.empty(row, device="meta").stride()))
    return found


def encoder(
    num_ws: int, opts: dict[str, Any], *, decoder: bool = True, fill: Callable[..., dict[str, Tensor]] = stand_in
) -> dict[str, Any]:
    """A file of pSp or e4e with ``num_ws`` heads, their tensors made by ``fill``; its decoder is a small one of the right
    resolution."""
    keys = golden_vectors.load("e4e")["modules"]["encoder"]["keys"]
    return _file({key: shape for key, (shape, _) in keys.items()}, num_ws, opts, decoder=decoder, fill=fill)


def restyle(
    num_ws: int,
    over: str,
    dataset_type: str | None,
    *,
    decoder: bool = True,
    fill: Callable[..., dict[str, Tensor]] = stand_in,
) -> dict[str, Any]:
    """A file of ReStyle ``over`` "psp" or "e4e": IR-SE50 with 18 heads, ResNet-34 with fewer, as released."""
    shapes = golden_vectors.load("restyle_layout")["irse50" if num_ws == 18 else "resnet34"]
    kind = {"psp": "BackboneEncoder", "e4e": "ProgressiveBackboneEncoder"}[over]
    opts = {"encoder_type": kind if num_ws == 18 else f"ResNet{kind}", "output_size": 2 ** (num_ws // 2 + 1), "input_nc": 6}
    opts |= {"dataset_type": dataset_type} if dataset_type else {}
    return _file(shapes, num_ws, opts, decoder=decoder, fill=fill)


def _file(
    shapes: Mapping[str, list[int]],
    num_ws: int,
    opts: dict[str, Any],
    *,
    decoder: bool,
    fill: Callable[..., dict[str, Tensor]],
) -> dict[str, Any]:
    kept = {k: s for k, s in shapes.items() if not k.startswith("styles.") or int(k.split(".")[1]) < num_ws}
    state = {f"encoder.{key}": value for key, value in fill(kept).items()}
    if decoder:
        parts = rosinality(2 ** (num_ws // 2 + 1), w_dim=512, z_dim=512)["g_ema"]
        state |= {f"decoder.{key}": value for key, value in parts.items()}
    return {"state_dict": state, "latent_avg": torch.zeros(num_ws, 512), "opts": opts}


def e4e(num_ws: int, dataset_type: str | None, *, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Any]:
    """A file of e4e; without ``dataset_type`` its options say nothing of the domain."""
    opts = {"stylegan_size": 2 ** (num_ws // 2 + 1), "start_from_latent_avg": True, "encoder_type": "Encoder4Editing"}
    return encoder(num_ws, opts | ({"dataset_type": dataset_type} if dataset_type else {}), fill=fill)


def psp(dataset_type: str = "ffhq_encode", *, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Any]:
    """A file of pSp for FFHQ."""
    opts = {"encoder_type": "GradualStyleEncoder", "dataset_type": dataset_type, "start_from_latent_avg": True}
    return encoder(18, opts, fill=fill)


def w_encoder(
    resolution: int, dataset_type: str | None, *, fill: Callable[..., dict[str, Tensor]] = stand_in
) -> dict[str, Any]:
    """A file of HyperStyle's encoder into W, with the decoder that the code of e4e saves beside it."""
    keys = golden_vectors.load("psp")["modules"]["w_encoder"]["keys"]
    opts = {"encoder_type": "WEncoder", "stylegan_size": resolution, "start_from_latent_avg": True}
    state = {f"encoder.{key}": value for key, value in fill({key: shape for key, (shape, _) in keys.items()}).items()}
    parts = rosinality(resolution, w_dim=512, z_dim=512)["g_ema"]
    state |= {f"decoder.{key}": value for key, value in parts.items()}
    return {
        "state_dict": state,
        "latent_avg": torch.zeros(1, 512),
        "opts": opts | ({"dataset_type": dataset_type} if dataset_type else {}),
    }


def hyperinverter_w(dataset_type: str, *, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Any]:
    """A file of HyperInverter's encoder into W, without decoder and mean latent: IR-SE50 for faces, else ResNet-34."""
    faces = dataset_type.startswith("ffhq")
    shapes = {key: shape for key, (shape, _) in golden_vectors.load("psp")["modules"]["w_encoder"]["keys"].items()}
    if not faces:
        resnet = golden_vectors.load("restyle_layout")["resnet34"]
        own = {key: shapes[key] for key in ("linear.weight", "linear.bias")}
        shapes = {key: shape for key, shape in resnet.items() if not key.startswith("styles.")} | own
        shapes["conv1.weight"] = [64, 3, 7, 7]
    state = {f"encoder.{key}": value for key, value in fill(shapes).items()}
    return {"state_dict": state, "opts": {"dataset_type": dataset_type, "output_size": 1024 if faces else 256}}


def lsap(num_ws: int = 18, *, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Any]:
    """A file of LSAP as GANInverter writes it."""
    plain = e4e(num_ws, "ffhq_encode", fill=fill)
    inner = {key: value for key, value in plain["state_dict"].items() if key.startswith("encoder.")}
    rest = {key.removeprefix("decoder."): value for key, value in plain["state_dict"].items() if key not in inner}
    opts = {"encoder_type": "Encoder4Editing", "output_size": 2 ** (num_ws // 2 + 1), "start_from_latent_avg": True}
    return {
        "encoder": inner | {"latent_avg": plain["latent_avg"]},
        "decoder": rest,
        "opts": opts | {"dataset_type": "ffhq_encode"},
        "global_step": 0,
        "best_val_loss": None,
    }


def hfgi(*, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Any]:
    """A file of HFGI for FFHQ: that of e4e with two networks more."""
    content = e4e(18, "ffhq_encode", fill=fill)
    for part in ("residue", "grid_align"):
        content["state_dict"] |= {f"{part}.{key}": value for key, value in bare("hfgi", part, fill=fill).items()}
    return content


def feature_style(*, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Tensor]:
    """The file of the Feature-Style encoder, which holds no mean latent."""
    return bare("feature_style_layout", "enc", fill=fill)


def sfe(*, whole: bool = False, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Any]:
    """The file of StyleFeatureEditor's second phase; ``whole``: as its training saves it, with a small generator."""
    layout = golden_vectors.load("sfe_layout")
    parts = {"encoder": "feature_editor", "inverter": "inverter"}
    state = {f"{part}.{key}": value for part, name in parts.items() for key, value in fill(layout[name]).items()}
    if not whole:
        return {"state_dict": state}
    plain = e4e(18, "ffhq_encode", fill=fill)["state_dict"]
    state |= {f"e4e_{key}" if key.startswith("encoder.") else key: value for key, value in plain.items()}
    with torch.device("meta"):
        discriminator = Discriminator(DiscriminatorConfig(1024, dict.fromkeys((2**i for i in range(2, 11)), 4)))
    shapes = {key: list(value.shape) for key, value in discriminator.state_dict().items()}
    state |= {f"discriminator.{key}": value for key, value in fill(shapes).items()}
    return {"state_dict": state, "encoder_opt": {}, "disc_opt": {}, "latent_avg": torch.linspace(-1, 1, 512)}


def styleres(*, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Any]:
    """The file of StyleRes, whose generator has few channels beyond 64."""
    keys = {key: shape for key, (shape, _) in golden_vectors.load("styleres")["modules"]["generator"]["keys"].items()}
    own = fill({key: shape for key, shape in keys.items() if ".modify_feature_" in key})
    config = GeneratorConfig(1024, {2**i: 512 if i < 7 else 4 for i in range(2, 11)})
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in Generator(config).state_dict().items()}
    return {
        "e4e": bare("styleres", "e4e", fill=fill),
        "latent_avg": torch.zeros(18, 512),
        "generator_smooth": drawn(shapes) | own,
    }


def deghosting(layout: str, *, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Tensor]:
    """Diff-CAM's deghosting network with its generator, whose filters are StyleGAN2's."""
    state = bare("ood_deghosting_layout", layout, fill=fill)
    kernel = 4 * binomial_filter()
    return {key: kernel.clone() if key.endswith(".kernel") else value for key, value in state.items()}


def padinv(resolution: int, *, fill: Callable[..., dict[str, Tensor]] = stand_in, **parts: Any) -> dict[str, Any]:
    """What the training script of padding-space inversion writes, with a small generator of that resolution; ``parts`` are
    models beside the two."""
    models = {"encoder": bare("padinv", "encoder", fill=fill), "generator": hammer(resolution), **parts}
    return {"models": models, "running_metadata": {"iter": 1}, "optimizers": {}}


def hammer(resolution: int, *, seed: int = 0) -> dict[str, Tensor]:
    """A random generator under the names of genforce/hammer, with few channels beyond 32."""
    config = GeneratorConfig(resolution, {2**i: 512 if i < 6 else 4 for i in range(2, resolution.bit_length())})
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in Generator(config).state_dict().items()}
    found: dict[str, Tensor] = {}
    for key, value in drawn(shapes, seed=seed).items():
        key = re.sub(r"^mapping\.fc", "mapping.dense", key).replace("mapping.w_avg", "w_avg").replace("affine.", "style.")
        block = re.match(r"synthesis\.b(\d+)\.(conv0|conv1|torgb|const)", key)
        if block:
            step = int(block[1]).bit_length() - 3
            names = {"conv0": f"layer{2 * step - 1}", "conv1": f"layer{2 * step}", "torgb": f"output{step}"}
            key = key.replace(f"b{block[1]}.{block[2]}", names.get(block[2], "early_layer.const"))
            key = key.replace("noise_const", "noise")
            if key.endswith((".noise", ".const")):
                value = value[None] if value.ndim == 3 else value[None, None]
            if key.endswith("style.bias"):
                value = 1 + value
            if block[2] == "conv0" and key.endswith(".weight") and "style" not in key:
                found[key.replace(".weight", ".filter")] = binomial_filter()
        found[key] = value
    return found


def idinvert_generator(*, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Tensor]:
    """The generator of in-domain inversion for FFHQ, with its filters, and noise and mean latent that are small."""
    state = bare("idinvert_layout", "generator_ffhq256", fill=fill)
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    for key, value in state.items():
        if key.endswith("blur.kernel"):
            state[key] = torch.outer(taps, taps).expand(value.shape).contiguous()
        elif key.endswith((".lod", "truncation.truncation")):
            state[key] = torch.full(value.shape, float(key.startswith("truncation")))
        elif key.startswith("mapping."):
            state[key] = value * (math.sqrt(512) * 100 if key.endswith("weight") else 100)
        elif key.endswith(("fc.weight", "conv.weight")) or re.fullmatch(r"synthesis\.layer\d+\.weight", key):
            state[key] = value * math.sqrt(value[0].numel() / 2)  # weights are stored with unit variance
    return state


def vgg_layers(tensor: Callable[[int, str], Tensor]) -> dict[str, Tensor]:
    """The convolutions of VGG-16 up to relu4_3 under the names of in-domain inversion: number and kind of each -> tensor."""
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
    return {f"layer{number}.{kind}": tensor(number, kind) for number in numbers for kind in ("weight", "bias")}


def hyperstyle(
    resolution: int,
    dataset_type: str | None,
    *,
    layers: Sequence[int],
    channels: Mapping[int, int] | None = None,
    separable: bool = False,
    decoder: bool = True,
    fill: Callable[..., dict[str, Tensor]] = stand_in,
) -> dict[str, Any]:
    """A file of HyperStyle for a generator of these channels (None: 4 everywhere); which layers share a hypernetwork does not
    depend on them, as in the public code."""
    widths = channels or dict.fromkeys((2**i for i in range(2, resolution.bit_length())), 4)
    shared = [number for number in SHARED_LAYERS if number in layers]
    with torch.device("meta"):
        network = HyperStyleNetwork(resolution, channels=widths, layers=layers, shared=shared, separable=separable)
    parts = fill({key: list(value.shape) for key, value in network.state_dict().items()})
    matrices = {key.split(".")[1]: value for key, value in parts.items() if key.startswith("shared_weight_hypernet.")}
    state = {f"hypernet.{key}": value for key, value in parts.items()}
    state |= {f"hypernet.refinement_blocks.{i}.hypernet.{name}": value for i in shared for name, value in matrices.items()}
    if decoder:
        config = GeneratorConfig(resolution, widths, n_mapping=2)
        with torch.device("meta"):
            shapes = {key: list(value.shape) for key, value in Generator(config).state_dict().items()}
        parts = to_rosinality(config, stand_in(shapes))["g_ema"]
        state |= {f"decoder.{key}": value for key, value in parts.items()}
    listed = ",".join(map(str, layers))
    kind = "SharedWeightsHyperNetResNetSeparable" if separable else "SharedWeightsHyperNetResNet"
    opts = {"encoder_type": kind, "output_size": resolution, "input_nc": 6, "layers_to_tune": listed}
    opts |= {"dataset_type": dataset_type} if dataset_type else {}
    mean = torch.zeros(2 * resolution.bit_length() - 4, 512)
    return {"state_dict": state, "opts": opts, "latent_avg": mean, "global_step": 1, "best_val_loss": 0.5}


def hyperinverter(
    resolution: int,
    dataset_type: str | None,
    *,
    hidden: int,
    channels: Mapping[int, int] | None = None,
    targets: str = "conv_without_bias",
    fill: Callable[..., dict[str, Tensor]] = stand_in,
) -> dict[str, Any]:
    """A file of HyperInverter for a generator of these channels (None: 4 everywhere); ResNet-34 for churches, as released."""
    widths = channels or dict.fromkeys((2**i for i in range(2, resolution.bit_length())), 4)
    resnet = bool(dataset_type) and "church" in str(dataset_type)
    backbone: dict[str, Any] = {"backbone": "resnet", "stages": RESNET34} if resnet else {}
    with torch.device("meta"):
        network = HyperInverterNetwork(resolution, channels=widths, targets=targets, hidden=hidden, **backbone)
        discriminator = Discriminator(DiscriminatorConfig(resolution, widths))
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    shapes |= {f"discriminator.{key}": list(value.shape) for key, value in discriminator.state_dict().items()}
    trunk = {key: value for key, value in shapes.items() if key.startswith("w_bar_encoder.") and ".styles." not in key}
    trunk = {key.replace("w_bar_encoder.", "w_encoder."): value for key, value in trunk.items() if "latlayer" not in key}
    shapes |= trunk | {"w_encoder.linear.weight": [512, 512], "w_encoder.linear.bias": [512]}
    opts = {"hidden_dim": hidden, "output_size": resolution, "target_shape_name": targets}
    opts |= {"encoder_type": "ResNetLayerWiseEncoder" if resnet else "LayerWiseEncoder"}
    opts |= {"dataset_type": dataset_type} if dataset_type else {}
    return {"state_dict": fill(shapes), "opts": opts}


def bare(name: str, variant: str, *, fill: Callable[..., dict[str, Tensor]] = stand_in) -> dict[str, Tensor]:
    """A bare state dict of a golden layout."""
    golden = golden_vectors.load(name)
    shapes = golden[variant] if variant in golden else {k: s for k, (s, _) in golden["modules"][variant]["keys"].items()}
    return fill(shapes)


def thin(shapes: Mapping[str, Sequence[int]], *, by: int = 16) -> dict[str, Sequence[int]]:
    """Shapes of AttGAN's or STGAN's variables with channels divided by ``by``; 13 labels beside channels stay."""
    return {key: [n if n < 48 else n // by + n % by for n in shape] for key, shape in shapes.items()}


def translation(name: str, *variants: str, seed: int = 0, by: int = 16) -> dict[str, Tensor]:
    """TensorFlow variables of AttGAN or STGAN under their official names, with few channels."""
    layout = golden_vectors.load(f"{name}_layout")
    found = {}
    for variant in variants:
        for key, value in drawn(thin(layout[variant], by=by), seed=seed).items():
            if key.endswith(("gamma", "moving_variance")):
                value = 1 + value.abs()
            elif value.ndim == 4:  # as large as kernels whose outputs come first
                value = value * (math.sqrt(value.shape[2]) if "transpose" in key else math.sqrt(value.shape[3] / len(value)))
            found[key] = value.contiguous()
    return found


def save(content: Any, path: Path) -> Path:
    """The file, written by torch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def biggan(config: BigGANConfig, *, seed: int = 3) -> dict[str, Tensor]:
    """A state dict as the library stores it, with random numbers: u and v are unit vectors, norms are positive."""
    draws, state = torch.Generator().manual_seed(seed), {}
    for key, value in BigGAN(**config.to_dict()).state_dict().items():
        drawn = torch.randn(value.shape, generator=draws)
        if key.endswith("running_vars"):
            state[key] = 0.5 + drawn.abs()
        elif key == "embeddings.weight" or not key.endswith(".weight") or key == "generator.bn.weight":
            state[key] = drawn if key == "embeddings.weight" else 0.3 * drawn
        else:
            name, u = key.removesuffix("weight"), F.normalize(torch.randn(len(value), generator=draws), dim=0)
            state |= {f"{name}weight_orig": drawn, f"{name}weight_u": u}
            state[f"{name}weight_v"] = F.normalize(u @ drawn.flatten(1), dim=0)
    return state
