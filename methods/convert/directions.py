"""Edit directions from official files, and from a generator's own weights (SeFa)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.directions.positions import EditDirections
from invbench.methods.nets.stylegan2 import Generator

EDIT = ("file", "scale", "layers", "component", "to_position")
COMPONENT = ("component", "scale", "layers")


Edits = Mapping[str, Mapping[str, Any]]


def edit_directions(
    contents: Mapping[str, Mapping[str, Any]], *, sources: Mapping[str, str], num_ws: int, edits: Edits
) -> EditDirections:
    """Edit directions from several files, as one network, and notes.

    contents  alias -> {"tensor": [1, D], [L, D] or [1, L, D]}, a linear direction (InterFaceGAN, SAM), or
              {"boundary": [1, L, D], "meta_data": {"manipulate_layers": ...}}, the same with the layers that it moves, unless
              the edit names others (in-domain inversion), or
              {"comp": [K, 1, D], "mean": [1, D], "std": [K]}, principal components (GANSpace)
    num_ws    L, number of layers of the suite's generator
    edits     name -> {"file": alias, ...} with

        scale        the size of strength 1, default 1: a factor of the direction, or standard deviations of a component
        layers       [first, end): the layers that are moved, default all; as in the lists of omertov/encoder4editing
        component    index of a principal component
        to_position  for a component: true (default): move to the position strength * scale, as published; false: shift by it

    Raises InvbenchError naming the file or the edit if they do not fit each other.
    """
    dim = max((_width(content) for content in contents.values()), default=0)
    network = EditDirections(names=tuple(edits), num_ws=num_ws, dim=dim)
    for index, (name, edit) in enumerate(edits.items()):
        _known(name, edit, EDIT)
        alias = str(edit.get("file"))
        if alias not in contents:
            raise InvbenchError(f"edits.{name}: file: expected one of {', '.join(contents)}, found {alias!r}")
        content, source = contents[alias], sources[alias]
        scale, mask = float(edit.get("scale", 1.0)), _mask(name, edit.get("layers"), num_ws)
        if "comp" in content:
            component, mean, std = _component(name, edit, content, source)
            network.vectors[index] = mask * component * std * scale
            if edit.get("to_position", True):
                network.readings[index], network.mean[index] = component / (std * scale), mean
        else:
            mask = mask if "layers" in edit else mask * _own_layers(content, num_ws, source)
            network.vectors[index] = mask * _linear(content, num_ws, dim, source) * scale
    return network.eval().requires_grad_(False)


@torch.no_grad()
def sefa(generator: Generator, *, edits: Edits) -> tuple[EditDirections, dict[str, Any]]:
    """Directions in closed form (Shen and Zhou 2021, genforce/sefa): a step in W along them changes the styles most.

    ``edits``: name -> {"component": index, "scale": factor, "layers": [first, end)}. The components are the unit eigenvectors
    of the sum of A A^T over the modulations A [D, C] of the layers' convolutions (and, for the last layer, of its ToRGB), each
    column of length 1; index 0 has the largest eigenvalue. The sign is chosen so that the largest entry is positive.
    """
    network = EditDirections(names=tuple(edits), num_ws=generator.num_ws, dim=generator.w_dim)
    for index, (name, edit) in enumerate(edits.items()):
        _known(name, edit, COMPONENT)
        mask = _mask(name, edit.get("layers"), generator.num_ws)
        last = generator.num_ws - 1
        layers = [
            layer
            for layer, style in generator.synthesis.style_index.items()
            if bool(mask[style]) and ("conv" in layer or style == last)
        ]
        parameters = [generator.synthesis.get_parameter(f"{layer}.affine.weight") for layer in layers]
        weights = [parameter.double().T for parameter in parameters]
        unit = [weight / weight.norm(dim=0, keepdim=True).clamp_min(1e-12) for weight in weights]
        total = torch.stack([weight @ weight.T for weight in unit]).sum(0)
        vectors = torch.linalg.eigh(total).eigenvectors.T.flip(0)
        number = edit.get("component", 0)
        if not isinstance(number, int) or not 0 <= number < len(vectors):
            raise InvbenchError(f"edits.{name}: component: expected 0 to {len(vectors) - 1}, found {number!r}")
        vector = vectors[number]
        vector = vector * vector[vector.abs().argmax()].sign()
        network.vectors[index] = mask * vector.float() * float(edit.get("scale", 1.0))
    return network, {"names": list(edits), "num_ws": generator.num_ws, "dim": generator.w_dim}


def _component(
    name: str, edit: Mapping[str, Any], content: Mapping[str, Any], source: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The unit vector [D], mean [D] and standard deviation of a principal component."""
    comp, mean, std = (content[key].float() for key in ("comp", "mean", "std"))
    if comp.ndim not in (2, 3) or comp.shape[-1] != comp[0].numel() or mean.numel() != comp.shape[-1] or len(std) != len(comp):
        found = ", ".join(str(tuple(one.shape)) for one in (comp, mean, std))
        raise InvbenchError(f"{source}: expected comp [K, 1, D], mean [1, D] and std [K], found {found}")
    number = edit.get("component")
    if not isinstance(number, int) or not 0 <= number < len(comp):
        raise InvbenchError(f"edits.{name}: component: expected 0 to {len(comp) - 1} of {source}, found {number!r}")
    return comp[number].flatten(), mean.flatten(), std.flatten()[number]


def _linear(content: Mapping[str, Any], num_ws: int, dim: int, source: str) -> Tensor:
    """A direction [L, D] or [1, D]."""
    vector = content.get("tensor", content.get("boundary"))
    found = tuple(vector.shape) if isinstance(vector, Tensor) else tuple(content)
    if not isinstance(vector, Tensor) or found not in {(1, dim), (num_ws, dim), (1, num_ws, dim)}:
        raise InvbenchError(f"{source}: expected a direction [1, {dim}] or [1, {num_ws}, {dim}], found {found}")
    return vector.float().reshape(-1, dim)


def _own_layers(content: Mapping[str, Any], num_ws: int, source: str) -> Tensor:
    """[L, 1]: 1 in the layers that the file names, "0-5", "0-2, 7" or [0, 1, 2], last ones included; else in all of them."""
    meta = content.get("meta_data")
    named = meta.get("manipulate_layers") if isinstance(meta, Mapping) else None
    if named is None or named == "":
        return torch.ones(num_ws, 1)
    parts = named.split(",") if isinstance(named, str) else named if isinstance(named, list) else [named]
    mask = torch.zeros(num_ws, 1)
    for part in parts:
        found = re.fullmatch(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*", str(part))
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, num_ws)
        if not first <= last < num_ws:
            raise InvbenchError(f"{source}: manipulate_layers: expected layers from 0 to {num_ws - 1}, found {named!r:.80}")
        mask[first : last + 1] = 1
    return mask


def _width(content: Mapping[str, Any]) -> int:
    value = next((content[key] for key in ("tensor", "boundary", "comp") if key in content), None)
    return value.shape[-1] if isinstance(value, Tensor) and value.ndim else 0


def _mask(name: str, layers: Sequence[int] | None, num_ws: int) -> Tensor:
    """[L, 1]: 1 in the layers first <= i < end."""
    first, end = layers if layers is not None and len(layers) == 2 else (0, num_ws)
    if layers is not None and (len(layers) != 2 or not 0 <= first < end <= num_ws):
        raise InvbenchError(f"edits.{name}: layers: expected [first, end) within 0 to {num_ws}, found {list(layers)}")
    index = torch.arange(num_ws)
    return ((index >= first) & (index < end)).float()[:, None]


def _known(name: str, edit: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in edit:
        if key not in keys:
            raise InvbenchError(f"edits.{name}: unknown key {key!r} (known: {', '.join(keys)})")
