"""Features of originals, kept on disk for all methods, edits and runs of a user.

A result is kept under the hash of everything that it depends on: the picture, the protocol, the networks' weights and code, the
metric's code, the computation's name, the libraries and the machine. It comes back to the byte, memory layout included, so no
number depends on whether it was kept. A file that is damaged is made again.

A file is a line of JSON, filled up with blanks, and the bytes of the tensors; the line states the sha256 of both. It is not a
sealed safetensors file (:mod:`invbench.util.sealed`), since that is copied on its way into tensors: reading the 32 MB of VGG-16
took 0.08 s of one core then, and takes 0.02 s now; computing them takes 0.4 s.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from invbench.api import InvbenchError, Sample
from invbench.util import provenance
from invbench.util.cache import home

Value = TypeVar("Value")

LIMIT = "INVBENCH_FEATURES"  # gigabytes (10^9 bytes) that may be kept; 0: nothing
GIGABYTES = 4.0
LARGEST = 2**26  # bytes of one result; a larger one would take the place of hundreds of others
PIXELS = 2**16  # of a picture; smaller ones are computed faster in batches than read one by one
UNUSED = 86400.0  # seconds; what was not used for so long makes way when the limit is reached
FLOOR, RATE = 0.004, 2.5e8  # what is computed in less than FLOOR seconds and bytes / RATE is not kept: reading is no faster
ALIGNED, LINE = 64, 2**14  # bytes: the line of a file is a multiple of the first, and shorter than the second
_HASH = re.compile(r"[0-9a-f]{64}")


class Kept:
    """A folder of results.

    folder  where they lie; it is made when something is kept, and may be deleted at any time
    limit   bytes that it may hold; what does not fit is computed again each time
    """

    def __init__(self, folder: Path, *, limit: float, device: torch.device) -> None:
        self.folder, self.limit, self.device = folder, limit, device
        self._size: int | None = None  # bytes in the folder when it was last looked at, and what was written since
        self._full = limit <= 0

    @cached_property
    def surroundings(self) -> dict[str, Any]:
        """What results depend on beside picture, code and weights: libraries, processor, threads, device."""
        machine = provenance.machine(str(self.device))
        places = ("processor", "threads", "system", "gpu", "cuda")
        return {"versions": provenance.versions(), **{name: machine[name] for name in places}}

    def take(self, content: Any, image: Tensor, compute: Callable[[Tensor], Value]) -> Value:
        """``compute(image)``, or the result that is kept under the hash of ``content``, which names all that it depends on."""
        if self.limit <= 0:
            return compute(image)
        name = provenance.digest([content, self.surroundings])
        path = self.folder / name[:2] / f"{name}.features"
        found = _read(path, self.device)
        if found is not None:
            return found  # type: ignore[no-any-return]
        self._wait()
        start = time.perf_counter()
        value = compute(image)
        self._wait()
        spent = time.perf_counter() - start
        tensors = _tensors(value)
        size = sum(one.numel() * one.element_size() for one in tensors or ())
        if tensors and size <= LARGEST and spent > FLOOR + size / RATE:
            self._write(path, tensors, listed=not isinstance(value, Tensor))
        return value

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _write(self, path: Path, tensors: Sequence[Tensor], *, listed: bool) -> None:
        if self._full:
            return
        arrays = [_array(one) for one in tensors]
        kinds = [(str(one.dtype), one.shape, _channels_last(tensor)) for one, tensor in zip(arrays, tensors, strict=True)]
        head = {"listed": listed, "tensors": kinds}
        line = json.dumps(head | {"sha256": _digest(head, arrays)}).encode()
        line += b" " * (-(len(line) + 1) % ALIGNED) + b"\n"
        try:
            if not self._fits(len(line) + sum(one.nbytes for one in arrays)):
                self._full = True
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            with open(temporary, "wb") as file:  # not synced: what a crash damages is found by its checksum and made again
                file.write(line)
                for one in arrays:
                    file.write(one.data)
            os.replace(temporary, path)
        except OSError:  # a full or read-only disk: nothing is lost but time
            self._full = True

    def _fits(self, more: int) -> bool:
        if self._size is None or self._size + more > self.limit:
            self._size = self._measured(more)
        self._size += more
        return self._size <= self.limit

    def _measured(self, more: int) -> int:
        """Bytes in the folder; files that nobody used for a while are removed if ``more`` would not fit."""
        files = [(path, path.stat()) for path in self.folder.glob("??/*") if path.is_file()]
        total = sum(status.st_size for _, status in files)
        for path, status in sorted(files, key=lambda one: one[1].st_mtime):
            if total + more <= self.limit or time.time() - status.st_mtime < UNUSED:
                break
            path.unlink(missing_ok=True)
            total -= status.st_size
        return total


class OfMetric:
    """The results of one metric (:class:`invbench.api.Originals`); ``recipe`` is the digest of its code, networks, protocol."""

    def __init__(self, kept: Kept, recipe: str) -> None:
        self._kept, self._recipe = kept, recipe

    def of(self, key: str, sample: Sample, image: Tensor, compute: Callable[[Tensor], Value]) -> Value:
        """As :class:`invbench.api.Originals` says. Nothing is kept of a sample that does not state its sha256."""
        if not _HASH.fullmatch(sample.sha256):
            return compute(image)
        return self._kept.take([sample.sha256, self._recipe, key], image, compute)

    def joined(self, values: Sequence[Any]) -> Any:
        """As :class:`invbench.api.Originals` says."""
        if len(values) == 1:
            return values[0]
        parts = [_tensors(value) for value in values]
        if any(part is None or any(len(one) != 1 for one in part) for part in parts):
            return None
        found = [torch.cat(layer) for layer in zip(*(part for part in parts if part is not None), strict=True)]
        return found[0] if isinstance(values[0], Tensor) else found


def kept(device: torch.device) -> Kept:
    """The user's folder of kept features, ``features`` below ``INVBENCH_HOME``.

    Raises InvbenchError if ``INVBENCH_FEATURES`` is not a number of gigabytes.
    """
    asked = os.environ.get(LIMIT, "")
    try:
        gigabytes = float(asked) if asked else GIGABYTES
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise InvbenchError(f"{LIMIT}: expected a number of gigabytes, 0 or more, found {asked!r}")
    return Kept(home() / "features", limit=gigabytes * 1e9, device=device)


def large(sample: Sample) -> bool:
    """Whether results of this picture are computed alone, so that they can be kept; it depends on nothing else."""
    height, width = sample.picture.shape[:2]
    return height * width >= PIXELS


def _tensors(value: Any) -> list[Tensor] | None:
    """The tensors of a result that can be kept: a tensor, or a list of them; None for anything else."""
    listed = [value] if isinstance(value, Tensor) else value
    able = isinstance(listed, list) and listed and all(isinstance(one, Tensor) and one.ndim for one in listed)
    return list(listed) if able else None


def _channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)


def _array(tensor: Tensor) -> np.ndarray:
    plain = tensor.detach().cpu()
    return np.ascontiguousarray((plain.permute(0, 2, 3, 1) if _channels_last(tensor) else plain).numpy())


def _digest(head: Mapping[str, Any], parts: Iterable[Any]) -> str:
    """sha256 of the head of a file and of the bytes of its tensors."""
    found = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _read(path: Path, device: torch.device) -> Any:
    """What is kept at ``path``; None if there is nothing, or nothing that can be read."""
    try:
        os.utime(path)  # the time of the last use
        with open(path, "rb", buffering=0) as file:
            data = torch.empty(os.fstat(file.fileno()).st_size, dtype=torch.uint8)
            whole = data.numpy().data
            if file.readinto(whole) != len(whole):
                return None
        start = bytes(whole[:LINE]).index(b"\n") + 1
        head = json.loads(bytes(whole[:start]))
        if _digest({name: head[name] for name in ("listed", "tensors")}, [whole[start:]]) != head["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = []
    for kind, shape, channels_last in head["tensors"]:
        dtype = np.dtype(kind)
        size = math.prod(shape) * dtype.itemsize
        tensor = torch.from_numpy(data[start : start + size].numpy().view(dtype).reshape(shape)).to(device)
        found.append(tensor.permute(0, 3, 1, 2) if channels_last else tensor)
        start += size
    return found if head["listed"] else found[0]
