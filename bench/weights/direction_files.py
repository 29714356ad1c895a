"""Files of edit directions that strangers publish, read without running anything that is in them.

What comes out is what :func:`invbench.methods.convert.directions.edit_directions` takes: one direction, or components.

    .pt, .npy      a tensor [1, D] or [L, D]; {"comp", "mean", "std"} (components, as omertov/encoder4editing keeps them);
                   {"boundary", "meta_data"} (in-domain inversion)
    .npz           components of harskish/ganspace: lat_comp, lat_mean, lat_stdev; or one array
    .pkl           a direction that harskish/ganspace exports: lat_comp, lat_stdev, edit_start, edit_end; or one array
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.weights import archives, object_arrays
from invbench.weights.checkpoints import LEGACY_TORCH, PICKLE, ZIP, load_checkpoint
from invbench.weights.network_pickles import read_records

COMPONENTS = {"comp": "lat_comp", "mean": "lat_mean", "std": "lat_stdev"}  # ours -> GANSpace's
EXPORTED = ("lat_comp", "lat_stdev", "edit_start", "edit_end")


def read(path: Path) -> Mapping[str, Any]:
    """The contents of a file of directions, tensors in float32.

    Raises InvbenchError (file, expected, found) for a file that is none, is damaged, names code, or holds numbers that are not
    finite.
    """
    with open(path, "rb") as handle:
        head = handle.read(16)
    if head.startswith(ZIP) and archives.is_npz(path):
        content = _components(archives.load(path), path)
    elif head.startswith(PICKLE) and not head.startswith(LEGACY_TORCH):
        content = _exported(_pickled(path), path)
    else:
        content = load_checkpoint(path)
    found = {key: value.float() if isinstance(value, Tensor) else value for key, value in content.items()}
    for key, value in found.items():
        if isinstance(value, Tensor) and not torch.isfinite(value).all():
            raise InvbenchError(f"{path}: {key}: expected finite numbers, found NaN or infinite ones")
    return found


def _components(arrays: Mapping[str, Tensor], path: Path) -> Mapping[str, Any]:
    if len(arrays) == 1:
        return {"tensor": next(iter(arrays.values()))}
    missing = [name for name in COMPONENTS.values() if name not in arrays]
    if missing:
        expected = ", ".join(COMPONENTS.values())
        raise InvbenchError(f"{path}: expected the arrays {expected} of GANSpace, or one array, found {', '.join(arrays)}")
    return {ours: arrays[theirs] for ours, theirs in COMPONENTS.items()}


def _pickled(path: Path) -> Any:
    with open(path, "rb") as handle:
        try:
            return object_arrays.plain(read_records(handle, os.fstat(handle.fileno()).st_size))
        except InvbenchError as error:
            raise InvbenchError(f"{path}: {error}") from None
        except Exception as error:  # as above
            kind = f"found a damaged one: {type(error).__name__}"
            raise InvbenchError(f"{path}: expected a whole pickle of arrays, {kind}") from None


def _exported(content: Any, path: Path) -> Mapping[str, Any]:
    """A direction as GANSpace exports it: a step of a standard deviation, with its layers."""
    if isinstance(content, Tensor):
        return {"tensor": content}
    if not isinstance(content, dict) or any(name not in content for name in EXPORTED):
        found = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise InvbenchError(f"{path}: expected one array, or {', '.join(EXPORTED)} of GANSpace, found {found:.200}")
    comp, std, first, end = (_number(content[name]) for name in EXPORTED)
    if not isinstance(comp, Tensor) or not all(isinstance(one, int) for one in (first, end)) or not 0 <= first < end:
        raise InvbenchError(f"{path}: expected a component, and layers edit_start below edit_end, found {first!r} and {end!r}")
    vector = comp.reshape(1, -1) * (1.0 if std is None else float(std))
    return {"tensor": vector, "meta_data": {"manipulate_layers": list(range(first, end))}}


def _number(value: Any) -> Any:
    """A tensor of one integer as that integer, since NumPy's scalars come as tensors; other values as they are."""
    whole = isinstance(value, Tensor) and value.numel() == 1 and not value.is_floating_point()
    return int(value) if whole else value


def deviations(path: Path) -> list[np.ndarray]:
    """Standard deviations of the channels of every style, from StyleCLIP's pickle of [means, deviations].

    Raises InvbenchError for another file, and for deviations that are not finite numbers.
    """
    content = _pickled(path)
    found = content[1] if isinstance(content, list) and len(content) == 2 and isinstance(content[1], list) else []
    if not found or not all(isinstance(one, Tensor) and torch.isfinite(one).all() for one in found):
        raise InvbenchError(f"{path}: expected [means, deviations], lists of arrays of finite numbers, found another pickle")
    return [one.double().flatten().numpy() for one in found]


def latents(path: Path) -> Tensor:
    """Latents [M, L, D] of StyleFlow's pickle {"Latent": [array, ...]}. Raises InvbenchError for another file."""
    content = _pickled(path)
    stored = content.get("Latent") if isinstance(content, dict) else None
    parts = [one for one in (stored if isinstance(stored, list) else [stored]) if isinstance(one, Tensor) and one.ndim > 1]
    if not parts or len({one.shape[-2:] for one in parts}) != 1 or (isinstance(stored, list) and len(parts) < len(stored)):
        raise InvbenchError(f"{path}: expected latents of equal shape under 'Latent', found another pickle")
    whole = torch.cat([one.float().reshape(-1, *one.shape[-2:]) for one in parts])
    if not torch.isfinite(whole).all():
        raise InvbenchError(f"{path}: Latent: expected finite numbers, found NaN or infinite ones")
    return whole
