"""Read the files of orpatashnik/StyleCLIP: mapper checkpoints, which hold the generator that they were trained with, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from invbench.api import InvbenchError
from invbench.methods.directions.styleclip import MapperDirections
from invbench.methods.nets.styleclip import GROUPS, SINGLE
from invbench.metrics.nets.published import fitted

MAPPER, DECODER = "mapper.", "decoder."


def mapper(checkpoint: Mapping[str, Any], *, source: str, edit: str, scale: float) -> tuple[MapperDirections, dict[str, Any]]:
    """The mapper as the source of one edit, and its configuration. Every tensor of the mapper is used; its generator is not.

    Raises InvbenchError naming ``source`` for a file that does not fit: missing or further tensors, other shapes, and mappers
    of style space, of which none is published.
    """
    stored = checkpoint.get("state_dict")
    if not isinstance(stored, Mapping) or not any(str(key).startswith(MAPPER) for key in stored):
        raise InvbenchError(f"{source}: expected a mapper of StyleCLIP, state_dict with keys {MAPPER}*, found none")
    strange = [str(key) for key in stored if not str(key).startswith((MAPPER, DECODER))]
    if strange:
        raise InvbenchError(f"{source}: expected keys {MAPPER}* and {DECODER}* only, found {strange[0]!r:.80}")
    state = {key.removeprefix(MAPPER): value for key, value in stored.items() if key.startswith(MAPPER)}
    for key, value in state.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.isfinite().all():
            raise InvbenchError(f"{source}: {MAPPER}{key}: expected finite numbers, found others")
    groups = tuple(dict.fromkeys(key.split(".")[0] for key in state))
    known = {SINGLE} if SINGLE in groups else set(GROUPS)
    if set(groups) - known:
        raise InvbenchError(f"{source}: expected the mappers {', '.join(GROUPS)} or {SINGLE}, found {', '.join(groups):.80}")
    width = max(value.shape[-1] for value in state.values() if value.ndim)
    config: dict[str, Any] = {"names": [edit], "dim": int(width), "scale": scale}
    config["groups"] = [name for name in (*GROUPS, SINGLE) if name in groups]
    state = {f"mapper.{key}": value for key, value in state.items()}

    def build() -> MapperDirections:
        return MapperDirections(**config)

    network: MapperDirections = fitted(build, state, source=source)
    return network, config
