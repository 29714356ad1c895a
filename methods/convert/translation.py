"""Read the files of image-to-image networks: yunjey/stargan (bare state dicts), elvisyjlin/AttGAN-PyTorch ({"G": ...}), and the
TensorFlow variables of LynnHo/AttGAN-Tensorflow and csmliu/STGAN as ``tensorflow_export.py`` writes them.

The names and the order of attributes stand in no file; they are those of the released ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.methods.nets.attgan import PORT, TENSORFLOW, AttGANDiscriminator, AttGANGenerator
from invbench.methods.nets.labels import LabelReader
from invbench.methods.nets.stargan import StarGANDiscriminator, StarGANGenerator
from invbench.methods.nets.stgan import STGANGenerator
from invbench.metrics.nets.published import entry, fitted, tensors, with_counters

HAIR = ["Black_Hair", "Blond_Hair", "Brown_Hair"]
FIVE = [*HAIR, "Male", "Young"]  # of StarGAN's released files
RAFD = 8  # expressions of the data set that its larger variant is also trained on, before two numbers that tell the data set
THIRTEEN = [
    "Bald", "Bangs", *HAIR, "Bushy_Eyebrows", "Eyeglasses", "Male", "Mouth_Slightly_Open", "Mustache", "No_Beard", "Pale_Skin",
    "Young",
]  # fmt: skip
EDITS = {
    "age": ["Young", False],
    "bald": ["Bald", True],
    "bangs": ["Bangs", True],
    "beard": ["No_Beard", False],
    "black_hair": ["Black_Hair", True],
    "blond_hair": ["Blond_Hair", True],
    "brown_hair": ["Brown_Hair", True],
    "bushy_eyebrows": ["Bushy_Eyebrows", True],
    "eyeglasses": ["Eyeglasses", True],
    "male": ["Male", True],
    "mouth_open": ["Mouth_Slightly_Open", True],
    "mustache": ["Mustache", True],
    "pale_skin": ["Pale_Skin", True],
}
GROUPS = [HAIR, ["Bald", "Bangs"]]
PORT_GROUPS = [*GROUPS, ["Mustache", "No_Beard"]]
RUNNING = re.compile(r"(.+)\.(running_mean|running_var|num_batches_tracked)")
INSTANCE_EPSILON = 1e-6  # of TensorFlow's instance normalisation
NORMS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
STU = ("reset", "update", "candidate")


def stargan(checkpoint: Mapping[str, Any], *, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """StarGAN's generator, and notes. Raises InvbenchError naming ``source`` if the file does not fit.

    Running statistics of its instance normalisations are not used: see :class:`StarGANGenerator`.
    """
    state = tensors(checkpoint, source=source)
    idle = [key for key in state if _is_idle(key, state)]
    kept = {key: value for key, value in state.items() if key not in idle}
    first = shape(state, "main.0.weight", 4, source)
    numbers = first[1] - 3
    fixed = [0.0] * RAFD + [1.0, 0.0] if numbers == len(FIVE) + RAFD + 2 else []
    if numbers - len(fixed) != len(FIVE):
        raise InvbenchError(
            f"{source}: main.0.weight: expected {len(FIVE)} labels ({', '.join(FIVE)}), alone or with those of RaFD, "
            f"found {numbers}"
        )
    blocks = len({match[1] for key in state if (match := re.fullmatch(r"main\.(\d+)\.main\.0\.weight", key))})
    labels = {"names": FIVE, "edits": _edits(FIVE), "off": 0.0, "on": 1.0, "groups": [HAIR], "fixed": fixed}
    network = fitted(lambda: StarGANGenerator(labels, width=first[0], blocks=blocks), kept, source=source)
    return network, (f"running statistics: {len(idle)} tensors are idle",) if idle else ()


def stargan_labels(checkpoint: Mapping[str, Any], *, source: str) -> LabelReader:
    """StarGAN's discriminator as a reader of attributes. Raises InvbenchError naming ``source`` if the file does not fit."""
    state = tensors(checkpoint, source=source)
    width = shape(state, "main.0.weight", 4, source)[0]
    classes, _, side, _ = shape(state, "conv2.weight", 4, source)
    layers = len([key for key in state if re.fullmatch(r"main\.\d+\.weight", key)])
    expect_names(classes, FIVE, "conv2.weight", source)
    size = side * 2**layers
    network = fitted(lambda: StarGANDiscriminator(classes, size=size, width=width, layers=layers), state, source=source)
    return LabelReader(network, FIVE, size)


def attgan(checkpoint: Mapping[str, Any], *, source: str) -> AttGANGenerator:
    """AttGAN's generator of the port: slope 0.01, epsilon 1e-5, labels of half a unit. Raises InvbenchError as above."""
    state = tensors(entry(checkpoint, "G", source=source), source=f"{source}: G")
    if all(key.startswith("module.") for key in state):  # of several GPUs
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return _attgan(state, f"{source}: G", on=0.5, groups=PORT_GROUPS, **PORT)


def attgan_tensorflow(checkpoint: Mapping[str, Any], *, source: str) -> AttGANGenerator:
    """AttGAN's official generator: slope 0.2, epsilon 1e-3, labels of a whole unit. Raises InvbenchError as above."""
    found: dict[str, Tensor] = {}
    for key, value in _arrays(checkpoint, source).items():
        name = re.sub(r"^UNetGenc/Conv(?:_(\d+))?/", lambda m: f"enc_layers.{m[1] or 0}.", key)
        name = re.sub(r"^UNetGdec/Conv2d_transpose(?:_(\d+))?/", lambda m: f"dec_layers.{m[1] or 0}.", name)
        found |= dict([_layer(name, value)])
    return _attgan(with_counters(found), source, on=1.0, groups=GROUPS, **TENSORFLOW)


def stgan(checkpoint: Mapping[str, Any], *, source: str) -> STGANGenerator:
    """STGAN's official generator; variables of a discriminator are left. Raises InvbenchError as above."""
    found = {}
    for key, value in _arrays(checkpoint, source).items():
        name = re.sub(r"^Genc/Conv(?:_(\d+))?/", lambda m: f"enc_layers.{m[1] or 0}.", key)
        name = re.sub(r"^Gdec/Conv2d_transpose(?:_(\d+))?/", lambda m: f"dec_layers.{m[1] or 0}.", name)
        if unit := re.fullmatch(r"Gstu/(Conv2d_transpose|Conv)(?:_(\d+))?/(weights|biases)", name):
            number, kind = int(unit[2] or 0), "bias" if unit[3] == "biases" else "weight"
            part = f"{number}.up" if unit[1] != "Conv" else f"{number // 3}.{STU[number % 3]}"
            found[f"stu.{part}.{kind}"] = _kernel(value)
        else:
            found |= dict([_layer(name, value)])
    state = with_counters(found)
    names, widths = _names(state, source), _widths(state, source)
    labels = {"names": names, "edits": _edits(names), "off": -0.5, "on": 0.5, "difference": True, "groups": GROUPS}
    return fitted(lambda: STGANGenerator(labels, widths=widths, **TENSORFLOW), state, source=source)


def stgan_labels(checkpoint: Mapping[str, Any], *, source: str) -> LabelReader:
    """STGAN's official discriminator as a reader of attributes; only its variables are read. Raises InvbenchError as above."""
    found: dict[str, Tensor] = {}
    variables = {k: v for k, v in tensors(checkpoint, source=source).items() if k.startswith("D/")}
    if not variables:
        raise InvbenchError(f"{source}: expected variables D/..., found none: export the checkpoint of the training, whole")
    last = max((int(m[1] or 0) for key in variables if (m := re.match(r"D/Conv(?:_(\d+))?/", key))), default=0)
    channels = shape(variables, f"D/Conv_{last}/weights", 4, source)[3]
    heads = ("fc_adv.0", "fc_adv.1", "fc_cls.0", "fc_cls.1")
    for key, value in variables.items():
        if head := re.fullmatch(r"D/flatten_fully_connected(?:_([123]))?/fully_connected/(weights|biases)", key):
            number, weight = int(head[1] or 0), head[2] == "weights"
            name = f"{heads[number]}.layers.0.{'weight' if weight else 'bias'}"
            found[name] = _flattened(value, channels, source) if weight and number in (0, 2) else value.T if weight else value
        else:
            found |= dict([_layer(re.sub(r"^D/Conv(?:_(\d+))?/", lambda m: f"conv.{m[1] or 0}.", key), value)])
    hidden, inputs = shape(found, "fc_cls.0.layers.0.weight", 2, source)
    classes = shape(found, "fc_cls.1.layers.0.weight", 2, source)[0]
    expect_names(classes, THIRTEEN, "D/flatten_fully_connected_3/fully_connected/weights", source)
    widths = [shape(found, f"conv.{i}.layers.0.weight", 4, source)[0] for i in range(last + 1)]
    size = math.isqrt(inputs // channels) * 2 ** len(widths)
    config = {"size": size, "widths": widths, "hidden": hidden, "slope": TENSORFLOW["slope"], "epsilon": INSTANCE_EPSILON}
    return LabelReader(fitted(lambda: AttGANDiscriminator(classes, **config), found, source=source), THIRTEEN, size)


def _attgan(
    state: dict[str, Tensor], source: str, *, on: float, groups: list[list[str]], slope: float, epsilon: float
) -> AttGANGenerator:
    names, widths = _names(state, source), _widths(state, source)
    inputs = shape(state, "dec_layers.1.layers.0.weight", 4, source)[0]
    inject = 1 if inputs == sum(widths[-2:]) + len(names) else 0
    labels = {"names": names, "edits": _edits(names), "off": -on, "on": on, "groups": groups}
    return fitted(
        lambda: AttGANGenerator(labels, widths=widths, inject=inject, slope=slope, epsilon=epsilon), state, source=source
    )


def _names(state: Mapping[str, Tensor], source: str) -> list[str]:
    """The attributes, of which the first layer of the decoder sees the numbers beside the last feature."""
    inputs, width = shape(state, "dec_layers.0.layers.0.weight", 4, source)[:2]
    expect_names(inputs - width, THIRTEEN, "dec_layers.0", source)
    return THIRTEEN


def expect_names(found: int, names: list[str], key: str, source: str) -> None:
    """Raises InvbenchError naming ``source`` and ``key`` unless ``found`` is the number of ``names``."""
    if found != len(names):
        raise InvbenchError(f"{source}: {key}: expected {len(names)} attributes ({', '.join(names)}), found {found}")


def _edits(names: list[str]) -> dict[str, list[Any]]:
    return {edit: list(entry) for edit, entry in EDITS.items() if entry[0] in names}


def _widths(state: Mapping[str, Tensor], source: str) -> list[int]:
    layers = len([key for key in state if re.fullmatch(r"enc_layers\.\d+\.layers\.0\.weight", key)])
    return [shape(state, f"enc_layers.{i}.layers.0.weight", 4, source)[0] for i in range(layers)]


def shape(state: Mapping[str, Tensor], key: str, axes: int, source: str) -> tuple[int, ...]:
    """The shape of ``state[key]``. Raises InvbenchError naming ``source`` unless it is there and has ``axes`` axes."""
    found = state.get(key)
    if found is None or found.ndim != axes:
        told = "none" if found is None else f"shape {list(found.shape)}"
        raise InvbenchError(f"{source}: {key}: expected a tensor of {axes} axes, found {told}")
    return tuple(found.shape)


def _is_idle(key: str, state: Mapping[str, Tensor]) -> bool:
    match = RUNNING.fullmatch(key)
    weight = state.get(f"{match[1]}.weight") if match else None
    expected = () if key.endswith("tracked") else weight.shape if weight is not None else None
    return weight is not None and weight.ndim == 1 and tuple(state[key].shape) == tuple(expected or ())


def _arrays(checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Variables of the generator."""
    return {key: value for key, value in tensors(checkpoint, source=source).items() if not key.startswith("D/")}


def _layer(name: str, value: Tensor) -> tuple[str, Tensor]:
    """A variable of a layer "enc_layers.2." as the port names it; a name that is none of these stays as it is."""
    match = re.fullmatch(r"(\w+\.\d+)\.(?:(weights|biases)|(?:BatchNorm|InstanceNorm)/(\w+))", name)
    if match is None or (match[3] and match[3] not in NORMS):
        return name, value
    if match[3]:
        return f"{match[1]}.layers.1.{NORMS[match[3]]}", value
    return f"{match[1]}.layers.0.{'weight' if match[2] == 'weights' else 'bias'}", _kernel(value)


def _kernel(value: Tensor) -> Tensor:
    """[h, w, in, out] -> [out, in, h, w], and for transposed convolutions [h, w, out, in] -> [in, out, h, w]."""
    return value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value


def _flattened(value: Tensor, channels: int, source: str) -> Tensor:
    """The matrix [h * w * channels, out] of a feature whose channels come last -> [out, channels * h * w]."""
    side = math.isqrt(value.shape[0] // channels)
    if value.ndim != 2 or side * side * channels != value.shape[0]:
        raise InvbenchError(f"{source}: expected rows for {channels} channels of a square, found shape {list(value.shape)}")
    return value.T.reshape(-1, side, side, channels).permute(0, 3, 1, 2).reshape(value.shape[1], -1).contiguous()
