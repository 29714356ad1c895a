"""Frozen networks of the zoo, which recipes use in their losses."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from invbench.api import InvbenchError, MissingWeights
from invbench.methods.train.common import ZOO
from invbench.packed import unpack


def load_frozen(name: str, *, device: torch.device | str = "cpu", zoo: Path = ZOO) -> Any:
    """The network ``name`` of the zoo, in float32 and eval mode, with frozen weights.

    The file holds the arguments of its class and the manifest beside it the class, as
    :func:`invbench.methods.train.common.save_network` wrote them.
    Raises MissingWeights if there is no such file, InvbenchError if its content does not fit.
    """
    path = zoo / f"{name}.safetensors"
    if not path.exists():
        raise MissingWeights(f"{path}: no such weights; train them first: nox -s train -- {name}")
    try:
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["config"])
            tensors = unpack({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 - not a mapping
        entry = json.loads(path.with_suffix(".json").read_text())["class"]
        module, _, kind = entry.partition(":")
        if not module.startswith(("invbench.methods.", "invbench.metrics.")):
            raise ValueError(f"class: expected one of invbench.methods or invbench.metrics, found {entry!r}")
        network: nn.Module = getattr(importlib.import_module(module), kind)(**config)
        network.load_state_dict(tensors)  # converts to float32, or to the class's float64
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, ImportError) as error:
        raise InvbenchError(f"{path}: expected a network of the zoo, found {type(error).__name__}: {error}") from error
    return network.to(device).eval().requires_grad_(False)
