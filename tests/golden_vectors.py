"""Golden vectors: weights and inputs made by rule, outputs of the official code as samples.

A golden file names, for each module, the tensors (key -> shape, or `layout`, "FILE:MODULE" of a file of layouts) and the rule
that gives each its values: by lists of keys (`rules`), or by regular expressions, of which the first that is found in a key
counts (`patterns`). Nothing is stored but seeds, checksums and sampled outputs. For a string S, v(S, shape) is a standard
normal draw of NumPy's PCG64 seeded with the CRC-32 of S, rounded to float32; every rule starts from v of the tensor's own key.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"

Shape = tuple[int, ...]
RULES: dict[str, Callable[[np.ndarray, Shape], np.ndarray]] = {
    "v": lambda v, shape: v,
    "v/0.01": lambda v, shape: v / 0.01,
    "0.1*v/0.01": lambda v, shape: 0.1 * v / 0.01,
    "v/sqrt(fan_in)": lambda v, shape: v / math.sqrt(math.prod(shape[1:])),
    "v/sqrt(rows)": lambda v, shape: v / math.sqrt(shape[0]),
    "1+0.1*v": lambda v, shape: 1 + 0.1 * v,
    "0.25+0.05*v": lambda v, shape: 0.25 + 0.05 * v,
    "1+0.1*|v|": lambda v, shape: 1 + 0.1 * np.abs(v),
    "0.1*v": lambda v, shape: 0.1 * v,
    "2*v/|v|": lambda v, shape: 2 * v / np.linalg.norm(v),
    "0*v": lambda v, shape: 0 * v,
    "outer([1,2,1])/16": lambda v, shape: 0 * v + np.outer([1, 2, 1], [1, 2, 1]) / 16,
}
DERIVED: dict[str, Callable[[str, Mapping[str, np.ndarray]], np.ndarray]] = {
    "W^T u / |W^T u|": lambda key, made: _right(made[key[:-1] + "u"], made[key.removesuffix("_v") + "_orig"])
}
"""Rules of tensors that follow from others, which stand before them; they are in no checksum."""


def load(name: str) -> dict[str, Any]:
    """The golden file `name`.json."""
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def state(golden: dict[str, Any], module: str, shapes: Mapping[str, Shape] | None = None) -> dict[str, Tensor]:
    """The synthetic weights of a module, float32, in layout order; their SHA-256 and spot values are checked.

    `shapes` is the layout, key -> shape in order; None takes the one that stands in the file (`keys`), or that it names.
    """
    entry = golden["modules"][module]
    layout = shapes or _layout(entry)
    rule_of = {key: rule for rule, keys in entry.get("rules", {}).items() for key in keys}
    for pattern, rule in reversed(entry.get("patterns", [])):
        rule_of |= {key: rule for key in layout if re.search(pattern, key)}
    kept = {key: np.array(group["values"], np.float32) for group in entry["kept"] for key in group["keys"]}
    made: dict[str, np.ndarray] = {}
    digest = hashlib.sha256()
    for key, shape in layout.items():
        if key in entry["aliases"]:
            continue
        if key in kept:
            made[key] = kept[key].reshape(shape)
        elif rule_of[key] in DERIVED:
            made[key] = DERIVED[rule_of[key]](key, made)
        elif rule_of[key] == "zero":
            made[key] = np.zeros(shape, np.int64)
        else:
            values = RULES[rule_of[key]](_normal(key, shape).astype(np.float64), shape)
            made[key] = np.asarray(values, dtype="<f4").reshape(shape)
            digest.update(made[key].tobytes())
    made |= {key: made[target] for key, target in entry["aliases"].items()}
    for key, first in entry["spot_first4"].items():
        np.testing.assert_allclose(made[key].ravel()[:4], first, rtol=1e-6, err_msg=f"{module}/{key}")
    assert digest.hexdigest() == entry["sha256_float32_le_in_layout_order_without_kept_zero_aliases"], module
    return {key: torch.from_numpy(made[key]) for key in layout}


def tensor(golden: dict[str, Any], name: str) -> Tensor:
    """An input, float32; its CRC-32 is checked."""
    entry = golden["inputs"][name]
    shape, transform = tuple(entry["shape"]), entry["transform"]
    drawn, repeat = shape, 1
    if "repeated" in transform:  # blocks: drawn small, then enlarged by an integer factor
        drawn = tuple(int(part) for part in transform.split("shape ")[1].split(",")[0].split("x"))
        repeat = shape[-1] // drawn[-1]
    values = _normal(entry["seed"], drawn)
    if transform.startswith("tanh"):
        values = np.tanh(values.astype(np.float64)).astype(np.float32)
    values = values.repeat(repeat, -1).repeat(repeat, -2) if repeat > 1 else values
    assert zlib.crc32(values.astype("<f4").tobytes()) == entry["crc32_float32_le"], name
    return torch.from_numpy(values)


def check(golden: dict[str, Any], name: str, output: Tensor, *, relative: float = 1e-9) -> None:
    """Assert that an output equals the official one.

    In float64 samples and norm agree to `relative` of the output's root mean square; in float32 to ten times what
    the official code itself loses in that precision.
    """
    entry = golden["outputs"][name]
    assert list(output.shape) == entry["shape"], name
    flat = output.detach().reshape(-1).double().numpy()
    norm = entry["l2_float64"]
    bound = relative * norm / math.sqrt(flat.size)
    if output.dtype == torch.float32:
        bound = 10 * entry["float32_vs_float64"]["max_abs"]
        relative = 10 * entry["float32_vs_float64"]["rel_l2"]
    error = np.abs(flat[entry["indices"]] - np.array(entry["samples_float64"])).max()
    assert error <= bound, f"{name}: samples are off by {error:.3g}, bound {bound:.3g}"
    drift = abs(np.linalg.norm(flat) - norm) / norm
    assert drift <= relative, f"{name}: norm is off by {drift:.3g} relative, bound {relative:.3g}"


def _layout(entry: dict[str, Any]) -> dict[str, Shape]:
    if "keys" in entry:
        return {key: tuple(shape) for key, (shape, _) in entry["keys"].items()}
    file, _, part = entry["layout"].partition(":")
    return {key: tuple(shape) for key, shape in load(file)[part].items()}


def _right(u: np.ndarray, weight: np.ndarray) -> np.ndarray:
    product = u.astype(np.float64) @ weight.reshape(len(weight), -1).astype(np.float64)
    return (product / np.linalg.norm(product)).astype("<f4")


def _normal(seed: str, shape: Shape) -> np.ndarray:
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(seed.encode("utf-8"))))
    return np.asarray(draw.standard_normal(shape)).astype(np.float32)
