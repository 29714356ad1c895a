"""The sources of directions that a user fits or adds: written to ``INVBENCH_HOME/directions/SUITE/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from invbench.api import InvbenchError
from invbench.plugins import own_directions
from invbench.plugins.config import NetworkConfig, Suite
from invbench.plugins.registry import load_callable
from invbench.util.provenance import file_digest
from invbench.weights.networks import load_network, read_weights

SAVE = "invbench.methods.train.common:save_network"


def place(suite: Suite, source: str) -> Path:
    """The file of a user's source. Raises InvbenchError for a name that cannot be one, or that the package has."""
    if not re.fullmatch(own_directions.NAME, source):
        raise InvbenchError(f"--as: expected lower-case letters, digits, '_' and '-', found {source!r:.80}")
    path = own_directions.folder(suite.id) / f"{source}.safetensors"
    known = suite.networks.get(own_directions.PREFIX + source)
    if known is not None and known.weights != path:
        raise InvbenchError(f"--as {source}: suite {suite.id} has a source of this name already; choose another")
    return path


def checked(network: Any) -> Any:
    """A network of linear directions itself. Raises InvbenchError for numbers that are not finite, and for no direction."""
    for name, vector in zip(network.names, network.vectors, strict=True):
        if not torch.isfinite(vector).all() or not vector.any():
            raise InvbenchError(f"edit {name}: expected a direction of finite numbers that moves something, found another")
    if not (torch.isfinite(network.readings).all() and torch.isfinite(network.mean).all()):
        raise InvbenchError(f"edits {', '.join(network.names)}: expected positions of finite numbers, found others")
    return network


def save(path: Path, network: Any, config: Mapping[str, Any], record: Mapping[str, Any]) -> Path:
    """Write a network of directions, all numbers as they are."""
    written: Path = load_callable(SAVE)(path, network, config, record, float32=floats(network))
    file_digest.cache_clear()  # the file of this path may have been read as another one
    return written


def joined(path: Path, network: Any, config: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """``network`` with the edits that the source at ``path`` has already, if any, those of its own names replaced; and its
    configuration. Raises InvbenchError for a source of another generator."""
    if not path.is_file():
        return network, dict(config)
    if own_directions.class_of(path.with_suffix(".json")) != own_directions.LINEAR:
        raise InvbenchError(f"{path}: expected directions that others can stand beside, found a network; choose another --as")
    stored, _ = read_weights(path)
    old: Any = load_network(NetworkConfig.model_validate({"class": own_directions.LINEAR, "weights": path}))
    if (stored.get("num_ws"), stored.get("dim")) != (config["num_ws"], config["dim"]):
        raise InvbenchError(f"{path}: expected latents {config['num_ws']} x {config['dim']}, found {old.num_ws} layers")
    kept = [index for index, name in enumerate(old.names) if name not in network.names]
    whole = {**config, "names": [*(old.names[index] for index in kept), *network.names]}
    both = type(network)(**whole)
    both.load_state_dict({key: torch.cat([value[kept], network.state_dict()[key]]) for key, value in old.state_dict().items()})
    return both, whole


def floats(network: Any) -> tuple[str, ...]:
    """Names of the tensors that are written in float32: all but integers."""
    return tuple(key for key, value in network.state_dict().items() if value.is_floating_point())
