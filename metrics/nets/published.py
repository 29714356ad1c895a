"""Loading of published weights into a network: all keys must fit, or one error lists those that do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from invbench.api import InvbenchError

Network = TypeVar("Network", bound=nn.Module)
MEAN, COUNTER = "running_mean", "num_batches_tracked"  # keys of a batch normalisation
LISTED = 8  # number of keys of each kind that an error names; the others are counted


def fitted(build: Callable[[], Network], state: Any, *, source: str) -> Network:
    """The network that ``build`` makes, with the tensors of ``state`` (key -> tensor): float32, in eval mode, frozen.

    It is built without memory and uses the tensors without copying, which avoids random initial weights; unless it has
    constants that no file holds. Raises InvbenchError naming ``source`` and listing missing, unexpected and misshapen keys.
    """
    found = tensors(state, source=source)
    with torch.device("meta"):
        network = build()
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    check(found, expected, source=source)
    if any(name not in expected for name, _ in network.named_buffers()):
        network = build()
    network.load_state_dict(dict(found), assign=True)
    return network.float().eval().requires_grad_(False)


def entry(checkpoint: Any, key: str, *, source: str) -> Any:
    """``checkpoint[key]``. Raises InvbenchError if ``checkpoint`` is not a dictionary or lacks the key."""
    if not isinstance(checkpoint, Mapping):
        raise InvbenchError(f"{source}: expected a dictionary with the key {key!r}, found {type(checkpoint).__name__}")
    if key not in checkpoint:
        keys = ", ".join(map(str, list(checkpoint)[:LISTED])) or "none"
        raise InvbenchError(f"{source}: expected the key {key!r}, found the keys {keys}")
    return checkpoint[key]


def tensors(state: Any, *, source: str) -> dict[str, Tensor]:
    """``state`` itself as a dictionary. Raises InvbenchError unless it maps names to tensors."""
    if not isinstance(state, Mapping):
        raise InvbenchError(f"{source}: expected a dictionary of tensors, found {type(state).__name__}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise InvbenchError(f"{source}: expected a tensor under each name, found {type(value).__name__} under {key!r}")
    return dict(state)


def with_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with a zero for each missing step count of a normalisation; torch before 0.4.1 did not count steps."""
    found = dict(state)
    if not any(key.endswith(COUNTER) for key in found):
        names = [key.removesuffix(MEAN) for key in found if key.endswith(MEAN)]
        found |= {f"{name}{COUNTER}": torch.zeros((), dtype=torch.int64) for name in names}
    return found


def check(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], *, source: str) -> None:
    """Raise InvbenchError unless ``found`` has exactly the ``expected`` keys and shapes."""
    problems = [
        *_listed("missing", [f"{key} {list(shape)}" for key, shape in expected.items() if key not in found]),
        *_listed("unexpected", [f"{key} {list(value.shape)}" for key, value in found.items() if key not in expected]),
        *_listed(
            "wrong shape",
            [
                f"{key} (expected {list(shape)}, found {list(found[key].shape)})"
                for key, shape in expected.items()
                if key in found and tuple(found[key].shape) != shape
            ],
        ),
    ]
    if problems:
        raise InvbenchError(f"{source}: tensors do not fit the network: {'; '.join(problems)}")


def _listed(kind: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return [f"{len(items)} {kind}: {', '.join(items[:LISTED])}{more}"]
