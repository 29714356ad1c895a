"""The precision in which methods compute: fp32, tf32 or bf16; metrics always compute in fp32.

    fp32    everything in float32; on a GPU torch would otherwise let convolutions round to TF32
    tf32    products on a GPU round their factors to 10 bits of mantissa; on a CPU there is no such thing, and it is fp32
    bf16    convolutions and batched matrix products with many outputs round their factors to 7 bits of mantissa

bf16 is not torch's autocast. Only the large products round, and give float32 again; so parameters and their updates, the
optimiser's moments, losses and their sums, statistics, layers with few outputs (those that give RGB, the weights of LPIPS),
blur filters and the mapping network stay in float32 without a line in a method's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FP32, TF32, BF16 = NAMES = ("fp32", "tf32", "bf16")
FEW = 16  # outputs of a product; one with fewer is cheap, and is a result more often than a feature
_PRODUCTS = (torch.conv2d, torch.nn.functional.conv2d, torch.conv_transpose2d, torch.nn.functional.conv_transpose2d, torch.bmm)


def effective(name: str, device: torch.device | str) -> str:
    """The precision that a device really uses when ``name`` is asked for."""
    return FP32 if name == TF32 and torch.device(device).type == "cpu" else name


def plain(device: torch.device) -> None:
    """Let products on a GPU compute in float32, until :func:`computing` asks otherwise."""
    if device.type == "cuda":
        _allow_tf32(allowed=False)


def computing(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """A context in which the precision ``name`` holds; for fp32 nothing changes."""
    name = effective(name, device)
    if name == FP32:
        return nullcontext()
    return _Bf16() if name == BF16 else _tf32()


class _Bf16(TorchFunctionMode):
    """Rounds the factors of large products of float32 tensors to bfloat16; the result is float32."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or not _is_large(func, args, kwargs):
            return func(*args, **kwargs)
        rounded = [_rounded(value) for value in args]
        return func(*rounded, **{name: _rounded(value) for name, value in kwargs.items()}).float()


def _rounded(value: Any) -> Any:
    return value.bfloat16() if isinstance(value, Tensor) else value


def _is_large(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    if len(args) < 2 or len(tensors) < 2 or any(value.dtype != torch.float32 for value in tensors):
        return False
    weight = args[1]
    if func is torch.bmm:
        return min(*args[0].shape[1:], weight.shape[2]) >= FEW
    groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)  # as torch.nn.Conv2d passes it
    inside, outside = weight.shape[1], weight.shape[0] // groups  # the inputs and outputs of a group, in either order
    return min(inside, outside) >= FEW


def _allow_tf32(*, allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    _allow_tf32(allowed=True)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
