"""Split, join, save and load inversions. Axis 0 is the image in every tensor, so this is all slicing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from invbench.api import InvbenchError, Inversion
from invbench.util.files import write_atomic

_STATE = "state."


def select(inversion: Inversion, indices: Sequence[int]) -> Inversion:
    """The inversion of the images at ``indices``, in that order."""
    index = torch.as_tensor(list(indices), dtype=torch.long, device=inversion.latents.device)
    return Inversion(
        latents=inversion.latents[index],
        images=inversion.images[index],
        state={key: value[index.to(value.device)] for key, value in inversion.state.items()},
    )


def split(inversion: Inversion) -> list[Inversion]:
    """N inversions of one image each."""
    return [select(inversion, [index]) for index in range(inversion.latents.shape[0])]


def join(inversions: Sequence[Inversion]) -> Inversion:
    """The reverse of :func:`split`. Raises ValueError when the parts hold different state or different shapes."""
    if not inversions:
        raise ValueError("join: expected at least one inversion, found none")
    keys = set(inversions[0].state)
    for part in inversions:
        if set(part.state) != keys:
            raise ValueError(f"join: expected the same state in every part, found {sorted(keys ^ set(part.state))} in some")

    def stack(name: str, tensors: list[Tensor]) -> Tensor:
        shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
        if len(shapes) > 1:
            raise ValueError(f"join: {name}: expected one shape beyond axis 0, found {sorted(shapes)}")
        return torch.cat(tensors)

    return Inversion(
        latents=stack("latents", [part.latents for part in inversions]),
        images=stack("images", [part.images for part in inversions]),
        state={key: stack(f"state[{key!r}]", [part.state[key] for part in inversions]) for key in sorted(keys)},
    )


def save(inversion: Inversion, path: Path) -> None:
    """Write a safetensors file: ``latents``, ``images`` and ``state.<key>``, bit for bit."""
    tensors = {"latents": inversion.latents, "images": inversion.images}
    tensors |= {_STATE + key: value for key, value in inversion.state.items()}
    # clone: safetensors refuses tensors that share memory, as slices of one batch do
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_atomic(path, safetensors.torch.save(plain, {"format": "invbench.inversion.1"}))


def load(path: Path, *, device: torch.device | str = "cpu") -> Inversion:
    """Read what :func:`save` wrote. Raises InvbenchError naming the file and what is wrong with it."""
    try:
        # clone: tensors lie in the file one behind the other, and kernels round otherwise where memory is not aligned
        tensors = {key: value.clone() for key, value in safetensors.torch.load_file(path, device=str(device)).items()}
    except FileNotFoundError:
        raise InvbenchError(f"{path}: expected a saved inversion, found no file") from None
    except (SafetensorError, OSError) as error:
        raise InvbenchError(f"{path}: expected a saved inversion, found an unreadable file: {error}") from error
    other = sorted(key for key in tensors if key not in {"latents", "images"} and not key.startswith(_STATE))
    missing = sorted({"latents", "images"} - set(tensors))
    if other or missing:
        raise InvbenchError(f"{path}: expected latents, images and state.*; missing {missing}, unexpected {other}")
    try:
        return Inversion(
            latents=tensors["latents"],
            images=tensors["images"],
            state={key.removeprefix(_STATE): value for key, value in tensors.items() if key.startswith(_STATE)},
        )
    except ValueError as error:
        raise InvbenchError(f"{path}: {error}") from error
