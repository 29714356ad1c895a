"""Which tensor of a file became which tensor of a network, found by comparing tensors, independently of the converter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invbench.weights.build import Source, make, opened

CLOSE = 1e-9  # relative tolerance of sums in float64 of the same numbers in another order


@dataclass(frozen=True)
class Conversion:
    """All tensors of the network, and the tensors of the file that it does not use.

    taken    (network's key, its shape, file's key, its shape): the same numbers, under another name or in another order
    made     (network's key, its shape): numbers that no tensor of the file has; they were changed, averaged or drawn, see notes
    unused   (file's key, its shape)
    """

    network: str
    taken: tuple[tuple[str, tuple[int, ...], str, tuple[int, ...]], ...]
    made: tuple[tuple[str, tuple[int, ...]], ...]
    unused: tuple[tuple[str, tuple[int, ...]], ...]
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The report as lines: the network's tensors in order, then unused tensors of the file, then the notes."""
        for key, shape, theirs, shape_there in self.taken:
            reshaped = "" if shape == shape_there else f" {list(shape_there)}"
            yield f"{key} {list(shape)} <- {theirs}{reshaped}"
        for key, shape in self.made:
            yield f"{key} {list(shape)} made (no tensor of the file holds these numbers)"
        for key, shape in self.unused:
            yield f"not used: {key} {list(shape)}"
        for note in self.notes:
            yield f"note: {note}"


def trace(source: Source) -> Conversion:
    """Build the network of a role and find the origin of each of its tensors in the files."""
    contents = opened(source)
    network, notes = make(source, contents)
    theirs = {
        f"{name}/{key}".lstrip("/"): value for name, content in contents.items() for key, value in _tensors(content)
    }
    ours = network.state_dict()
    by_place = {_place(value): key for key, value in theirs.items()}
    origin = {key: by_place[_place(value)] for key, value in ours.items() if _place(value) in by_place}
    free = [key for key in theirs if key not in origin.values()]
    # A tensor that is not a view of the file was copied by the conversion: transposed, or of another precision.
    prints = {key: _fingerprint(theirs[key]) for key in free}
    for key in ours:
        if key not in origin:
            mine = _fingerprint(ours[key])
            found = next((other for other in free if _equal(prints[other], mine)), None)
            if found is not None:
                origin[key] = found
                free.remove(found)
    used = set(origin.values())
    return Conversion(
        network=type(network).__name__,
        taken=tuple(
            (key, tuple(value.shape), origin[key], tuple(theirs[origin[key]].shape))
            for key, value in ours.items()
            if key in origin
        ),
        made=tuple((key, tuple(value.shape)) for key, value in ours.items() if key not in origin),
        unused=tuple((key, tuple(value.shape)) for key, value in theirs.items() if key not in used),
        notes=notes,
    )


def _tensors(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{prefix}{key}/")


def _place(value: Tensor) -> tuple[int, int, int]:
    return value.untyped_storage().data_ptr(), int(value.storage_offset()), value.numel()


def _fingerprint(value: Tensor) -> tuple[int, float, float]:
    numbers = value.detach().double() if value.numel() else torch.zeros(1, dtype=torch.float64)
    return value.numel(), float(numbers.sum()), float(numbers.square().sum())


def _equal(a: tuple[int, float, float], b: tuple[int, float, float]) -> bool:
    scale = max(a[2], b[2], 1e-30)
    return a[0] == b[0] and abs(a[2] - b[2]) <= CLOSE * scale and abs(a[1] - b[1]) <= CLOSE * (scale * a[0]) ** 0.5 + 1e-12
