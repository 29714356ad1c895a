"""Read the files of bluestyle97/STGAN-pytorch: one of the generator and one of the discriminator, in "state_dict" of each.

No weights of it are released. A file names no attributes; they are the ten of its configuration, in that order. Its training
takes labels of 0 and 1 and shrinks their differences at random, its test takes them whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from invbench.methods.convert.translation import EDITS, expect_names, shape
from invbench.methods.nets.attgan import AttGANDiscriminator
from invbench.methods.nets.labels import LabelReader
from invbench.methods.nets.stgan_port import PORT, STGANPortGenerator
from invbench.metrics.nets.published import fitted, tensors

TEN = [
    "Bangs", "Blond_Hair", "Brown_Hair", "Bushy_Eyebrows", "Eyeglasses", "Male", "Mouth_Slightly_Open", "Mustache", "Pale_Skin",
    "Young",
]  # fmt: skip
GROUPS = [["Blond_Hair", "Brown_Hair"]]  # which its script takes for colours of hair, with two that are not among the ten
GATES = {"upsample": "up", "reset_gate": "reset", "update_gate": "update", "hidden": "candidate"}
PREFIXES = {"encoder": "enc_layers", "decoder": "dec_layers"}


def generator(checkpoint: Mapping[str, Any], *, source: str) -> STGANPortGenerator:
    """The port's generator. Raises InvbenchError naming ``source`` if the file does not fit."""
    state = tensors(checkpoint, source=source)
    layers = len({match[1] for key in state if (match := re.match(r"encoder\.(\d+)\.", key))})
    widths = [shape(state, f"encoder.{i}.0.weight", 4, source)[0] for i in range(layers)]
    inputs, first = shape(state, "decoder.0.0.weight", 4, source)[:2]
    expect_names(inputs - first, TEN, "decoder.0.0.weight", source)
    units = len({match[1] for key in state if (match := re.match(r"stu\.(\d+)\.", key))})
    last = shape(state, f"decoder.{layers - 1}.0.weight", 4, source)[1]
    config: dict[str, Any] = {
        "widths": widths,
        "shortcuts": units,
        "kernel": shape(state, "stu.0.reset_gate.0.weight", 4, source)[2],
        "last": last if f"decoder.{layers - 1}.3.weight" in state else 0,
    }
    labels = {
        "names": TEN,
        "edits": {edit: list(given) for edit, given in EDITS.items() if given[0] in TEN},
        "off": 0.0,
        "on": 1.0,
        "difference": True,
        "groups": GROUPS,
    }
    return fitted(lambda: STGANPortGenerator(labels, **config, **PORT), _renamed(state, _generator_key), source=source)


def labels(checkpoint: Mapping[str, Any], *, source: str) -> LabelReader:
    """The port's discriminator as a reader of attributes. Raises InvbenchError naming ``source`` if the file does not fit.

    Running statistics of its instance normalisations are not used, as in its training; what they normalise has lost the
    convolution's bias, so that is left out.
    """
    state = tensors(checkpoint, source=source)
    layers = len({match[1] for key in state if (match := re.match(r"conv\.(\d+)\.", key))})
    widths = [shape(state, f"conv.{i}.0.weight", 4, source)[0] for i in range(layers)]
    hidden, inputs = shape(state, "fc_att.0.weight", 2, source)
    classes = shape(state, "fc_att.2.weight", 2, source)[0]
    expect_names(classes, TEN, "fc_att.2.weight", source)
    size = math.isqrt(inputs // max(1, *widths[-1:])) * 2**layers
    kept = {key: value for key, value in state.items() if not _is_idle(key, value, widths)}
    config = {"size": size, "widths": widths, "hidden": hidden, **PORT}
    network = fitted(lambda: AttGANDiscriminator(classes, **config), _renamed(kept, _discriminator_key), source=source)
    return LabelReader(network, TEN, size)


def _is_idle(key: str, value: Tensor, widths: list[int]) -> bool:
    match = re.fullmatch(r"conv\.(\d+)\.(0\.bias|1\.running_mean|1\.running_var|1\.num_batches_tracked)", key)
    return match is not None and tuple(value.shape) == (() if key.endswith("tracked") else (widths[int(match[1])],))


def _renamed(state: Mapping[str, Tensor], name: Callable[[str], str]) -> dict[str, Tensor]:
    return {name(key): value for key, value in state.items()}


def _generator_key(key: str) -> str:
    if unit := re.fullmatch(rf"stu\.(\d+)\.({'|'.join(GATES)})\.(.+)", key):
        return f"stu.{unit[1]}.{GATES[unit[2]]}.{unit[3]}"
    return re.sub(r"^(encoder|decoder)\.(\d+)\.", lambda m: f"{PREFIXES[m[1]]}.{m[2]}.layers.", key)


def _discriminator_key(key: str) -> str:
    key = re.sub(r"^conv\.(\d+)\.", r"conv.\1.layers.", key)
    return re.sub(
        r"^fc_(adv|att)\.([02])\.", lambda m: f"fc_{'cls' if m[1] == 'att' else 'adv'}.{int(m[2]) // 2}.layers.0.", key
    )
