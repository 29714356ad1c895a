"""Checks before a weights file is accepted: whether its tensors are usable, and whether its networks can be built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invbench.api import InvbenchError, MissingWeights
from invbench.weights import build
from invbench.weights.cache import Found, WeightsCache
from invbench.weights.catalogue import Asset
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.layout import Derived
from invbench.weights.layouts import DEEPEST, LAYOUTS, mismatches

LISTED = 5  # tensors that an error names; the rest is counted
# Parts of checkpoints that no network is built of: optimisers, discriminators, the generator without the moving average.
UNUSED = re.compile(r"(?i:.*(optim|discriminator|augment|scaler|scheduler).*)|[dDgG]")


def check_tensors(path: Path) -> None:
    """Raises InvbenchError (key, expected, found) unless the file's tensors are dense, real, floating and finite.

    A whole number may stand alone, as counters of steps do; what no network is built of is not looked at.
    """
    tensors = _tensors(load_checkpoint(path, mmap=True))
    problems = [f"{key}: {problem}" for key, value in tensors if (problem := _problem(value))]
    if problems:
        more = f" and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise InvbenchError(f"{path}: {'; '.join(problems[:LISTED])}{more}")


def check_layout(path: Path, asset: Asset) -> None:
    """Raises InvbenchError (key, expected, found) where a file that is of no layout comes near to one of the asset's."""
    content = load_checkpoint(path, mmap=True)
    for layout in asset.layouts:
        wrong = mismatches(layout, content)
        if wrong and len(wrong) < len(LAYOUTS[layout].marks):
            raise InvbenchError(f"{path}: not {asset.id}: {'; '.join(wrong[:LISTED])}")


def check_networks(asset: Asset, found: Found, cache: WeightsCache) -> None:
    """Build each network of a file that is to serve as the asset, and leave it. Raises InvbenchError where one does not fit.

    One that needs another file that is not here is left for later.
    """
    for part in parts(asset, found):
        try:
            with told(found.path, part):
                source = build.source_of(asset, found, cache, asked=part)
                build.make(source, build.opened(source))
        except MissingWeights:
            continue


def parts(asset: Asset, found: Found) -> Iterator[str]:
    """The networks that a file of the asset holds."""
    for part, loader in LAYOUTS[found.layout].parts.items():
        if isinstance(loader, Derived) or (asset.part and part not in (asset.part, "generator")):
            continue
        if part != "generator" or not asset.part or _has_decoder(found):
            yield part


@contextmanager
def told(path: Path, part: str) -> Iterator[None]:
    """Errors of torch and of converters on unexpected content become one InvbenchError that names the file."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise InvbenchError(f"{path}: expected the tensors of {part}, found others: {reason}") from error


def _has_decoder(found: Found) -> bool:
    content = build.read(found)
    return any(str(key).startswith("decoder.") for key in content.get("state_dict", {}))


def _tensors(content: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping) and depth < DEEPEST and not (isinstance(key, str) and UNUSED.fullmatch(key)):
            yield from _tensors(value, f"{prefix}{key}/", depth + 1)


def _problem(value: Tensor) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    if value.layout != torch.strided or value.is_quantized:
        found = "a quantised one" if value.is_quantized else f"layout {str(value.layout).removeprefix('torch.')}"
        return f"expected a dense tensor, found {found}"
    if value.is_complex() or (not value.is_floating_point() and value.numel() > 1):
        return f"expected floating-point numbers, found {kind}"
    if not value.numel() or not value.is_floating_point():
        return ""
    for axis, stride in enumerate(value.stride()):
        value = value.narrow(axis, 0, 1) if stride == 0 else value  # the same numbers again
    low, high = torch.aminmax(value.float() if value.dtype.itemsize == 1 else value)
    if bool(low.isfinite() & high.isfinite()):
        return ""
    wrong = ~value.isfinite()
    return f"expected finite numbers, found {int(wrong.sum())} of {value.numel()} that are NaN or infinite"
