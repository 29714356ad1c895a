"""The precision in which weights are exported: fp16, with float32 for what it cannot hold, and eight bits for large tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from invbench import packed

SMALLEST = 4096  # values of a tensor that is large enough to be packed


def round_as_exported(network: nn.Module, float32: Sequence[str], *, eight_bits: bool) -> None:
    """Round the weights to the values that the file will hold, so that figures are those of the exported network."""
    for key, value in network.state_dict().items():
        if eight_bits and is_packed(key, value, float32):
            whole, scale = packed.pack(value)
            value.copy_(whole * scale)
        elif is_half(key, value, float32):
            value.copy_(value.half())


def is_packed(key: str, value: Tensor, float32: Sequence[str]) -> bool:
    """Whether a tensor is exported in eight bits, if its network is."""
    return is_half(key, value, float32) and value.ndim > 1 and value.numel() >= SMALLEST


def is_half(key: str, value: Tensor, float32: Sequence[str]) -> bool:
    """Whether a tensor is exported in fp16. Statistics of batch normalisation are not: they are unbounded and few."""
    return value.is_floating_point() and key not in float32 and not key.endswith(("running_mean", "running_var"))
