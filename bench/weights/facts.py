"""Facts that distinguish files of one layout: number of style vectors, resolution, domain, ...; read from the shapes of their
tensors and the options that their training stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

HINTS = ("domain", "task")  # facts that a training's options tell; what the user says goes before them
KINDS = {  # class of an encoder, as a training's options name it
    "GradualStyleEncoder": "psp",
    "Encoder4Editing": "e4e",
    "BackboneEncoder": "restyle_psp",
    "ResNetBackboneEncoder": "restyle_psp",
    "ProgressiveBackboneEncoder": "restyle_e4e",
    "ResNetProgressiveBackboneEncoder": "restyle_e4e",
}
STEMS = ("state_dict/encoder.input_layer.0.weight", "state_dict/encoder.conv1.weight")
DOMAINS = {
    r"ffhq|celeb|face": "faces",
    r"cars?(?![a-z])": "cars",
    r"church": "church",
    r"horse": "horse",
    r"cats?(?![a-z])": "cat",
    r"wild": "wild",
}


def _numbers(pattern: str, shapes: Shapes) -> set[int]:
    return {int(match[1]) for match in map(re.compile(pattern).fullmatch, shapes) if match}


def nvlabs(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of NVIDIA's pickle: resolution, and the domain by the name of the training set."""
    found = max(_numbers(r"(?:G_ema/)?synthesis\.b(\d+)\.conv1\.weight", shapes), default=0)
    return {"resolution": found} | _trained_on(content.get("init_kwargs", {}).get("training_set", {}).get("path"))


def tensorflow(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of the original TensorFlow pickle: resolution."""
    return {"resolution": max(_numbers(r"Gs/synthesis/(\d+)x\1/Conv1/weight", shapes), default=0)}


def rosinality(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of rosinality's checkpoint: resolution."""
    return {"resolution": 4 * 2 ** len(_numbers(r"(?:g_ema/)?to_rgbs\.(\d+)\.bias", shapes))}


def encoder(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of an encoder: style vectors, resolution, channels that it sees, and what its options tell of method, task and domain."""
    heads = len(_numbers(r"state_dict/encoder\.styles\.(\d+)\.linear\.weight", shapes))
    opts = _opts(content)
    kind = KINDS.get(str(opts.get("encoder_type")))
    if kind is None and ("stylegan_size" in opts or "discriminator_state_dict" in content):
        kind = "e4e"  # option and part that only its trainer writes
    if kind is None and "output_size" in opts:
        kind = "psp"
    facts: dict[str, Any] = {"num_ws": heads, "resolution": 2 ** (heads // 2 + 1), "in_channels": _channels(shapes)}
    if kind:
        facts["encoder"] = kind
    trained = opts.get("dataset_type")
    if isinstance(trained, str) and not trained.endswith("encode"):
        facts["task"] = _printable(trained)
    return facts | _trained_on(trained)


def encoder_w(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of an encoder into W: resolution, domain, and whether the file has a mean latent."""
    blocks = _numbers(r"state_dict/decoder\.to_rgbs\.(\d+)\.bias", shapes)
    opts = _opts(content)
    size = 8 * 2 ** max(blocks) if blocks else opts.get("stylegan_size") or opts.get("output_size")
    own = content.get("latent_avg") is not None or bool(blocks)  # HyperInverter's files take the mean latent from the generator
    return {"mean": own} | ({"resolution": size} if isinstance(size, int) else {}) | _trained_on(opts.get("dataset_type"))


def dinov2(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of DINOv2: its width, which tells ViT-S (384), B (768) and L (1024) apart."""
    return {"width": shapes["patch_embed.proj.weight"][0]}


def ganinverter(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of a file that GANInverter writes, as :func:`encoder`."""
    heads = len(_numbers(r"encoder/encoder\.styles\.(\d+)\.linear\.weight", shapes))
    facts: dict[str, Any] = {"num_ws": heads, "resolution": 2 ** (heads // 2 + 1)}
    return facts | _trained_on(_opts(content).get("dataset_type"))


def restyle(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of ReStyle, as :func:`encoder`."""
    opts = _opts(content)
    # Both trainers write the same options; the class's name, and a discriminator, tell them apart.
    kind = "restyle_e4e" if "discriminator_state_dict" in content else KINDS.get(str(opts.get("encoder_type")))
    facts = {key: value for key, value in encoder(shapes, content).items() if key != "encoder"}
    return facts | ({"encoder": kind} if kind else {})


def heads(shapes: Shapes, pattern: str, *, each: int = 1) -> dict[str, Any]:
    """Facts of a network with ``each`` style vectors for every tensor of the pattern."""
    found = each * len(_numbers(pattern, shapes))
    return {"num_ws": found, "resolution": 2 ** (found // 2 + 1)}


def biggan(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Blocks, classes and, for a released number of blocks, the resolution of a BigGAN-deep."""
    blocks = sum(key.startswith("generator.layers.") and key.endswith(".conv_0.bias") for key in shapes)
    found = {"blocks": blocks, "classes": shapes["embeddings.weight"][1]}
    return found | ({"resolution": {10: 128, 12: 256, 14: 512}[blocks]} if blocks in (10, 12, 14) else {})


def idinvert_encoder(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of the encoder of in-domain inversion: style vectors and resolution, by the number of its blocks."""
    blocks = len(_numbers(r"block(\d+)\..+", shapes))
    return {"num_ws": 2 * (blocks - 1), "resolution": 2**blocks}


def hyperstyle(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of HyperStyle: resolution and domain."""
    last = max(_numbers(r"state_dict/decoder\.to_rgbs\.(\d+)\.bias", shapes), default=None)
    size = _opts(content).get("output_size") if last is None else 8 * 2**last
    return ({"resolution": size} if size else {}) | _trained_on(_opts(content).get("dataset_type"))


def hyperinverter(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of HyperInverter: style vectors, resolution, D and domain."""
    styles = len(_numbers(r"state_dict/w_bar_encoder\.styles\.(\d+)\.convs\.0\.bias", shapes))
    hidden = shapes["state_dict/hypernet.weight_regressors.b4_conv1_weight.w1"][0]
    facts = {"num_ws": styles, "resolution": 2 ** (styles // 2 + 1), "hidden": hidden}
    return facts | _trained_on(_opts(content).get("dataset_type"))


def _opts(content: Mapping[str, Any]) -> Mapping[str, Any]:
    opts = content.get("opts") or {}
    return opts if isinstance(opts, Mapping) else vars(opts)


def _channels(shapes: Shapes) -> int:
    return next(shapes[key][1] for key in STEMS if key in shapes)


def _trained_on(name: Any) -> dict[str, Any]:
    """The domain of a dataset's name; an unknown name becomes its own domain."""
    if not isinstance(name, str) or not name:
        return {}
    words = re.split(r"[/\\]", name)[-1].lower()
    return {"domain": next((domain for word, domain in DOMAINS.items() if re.search(word, words)), _printable(words))}


def _printable(text: str) -> str:
    """Text from a weights file, made safe for messages: short and without control characters."""
    return re.sub(r"[^\w .+-]", "?", text)[:40]


def lpips(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of LPIPS: the backbone, and whether its weights are in the file."""
    second = next(shape[1] for key, shape in shapes.items() if re.fullmatch(r"lin1\.model\.1\.weight|lin\.1\.1\.weight", key))
    return {"net": {192: "alex", 128: "vgg"}.get(second, "squeeze"), "whole": any(key.startswith("net.") for key in shapes)}


def squeeze(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """As :func:`lpips`, of squeeze."""
    return {"net": "squeeze", "whole": any(key.startswith("net.") for key in shapes)}


def invertibility(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """The feature spaces of an invertibility predictor."""
    return {"spaces": sorted(key for key in content if key != "sd_base")}


def moco(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Epochs of MoCo's training."""
    epochs = content.get("epoch")
    return {"epochs": epochs} if isinstance(epochs, int) else {}


def classes(key: str) -> Callable[[Shapes, Mapping[str, Any]], dict[str, Any]]:
    """Makes a function that gives the length of the tensor ``key`` as the number of classes."""
    return lambda shapes, content: {"classes": shapes[key][0]} if key in shapes else {}


def direction(shapes: Shapes, content: Mapping[str, Any]) -> dict[str, Any]:
    """Style vectors of a direction in W+."""
    shape = shapes["tensor"]
    return {"num_ws": shape[-2]} if len(shape) > 1 and shape[-2] > 1 else {}
