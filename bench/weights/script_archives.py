"""Tensors of a TorchScript program, read without running or compiling it.

Such a file is an archive: ``data.pkl`` has the modules as records of their attributes, ``data/N`` the numbers of tensors, and
``code/`` the program, which is not opened.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.weights import network_pickles
from invbench.weights.pickle_records import Name, Record, is_record

CLASS, HELPERS, STORAGE = "__torch__.", "torch.jit._pickle.", "storage"
DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16, "LongStorage": torch.int64,
    "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool, "BFloat16Storage": torch.bfloat16,
}  # fmt: skip
DEEPEST, MOST_MODULES = 64, 20_000


def load(path: Path) -> dict[str, Tensor]:
    """The state dict of the program: parameters and buffers by their names in the modules that were scripted or traced.

    Raises InvbenchError naming the file and the defect: a name or an instruction that programs do not need, a tensor outside
    its numbers, a damaged file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _state_dict(archive)
    except InvbenchError as error:
        raise InvbenchError(f"{path}: {error}") from None
    except Exception as error:  # damaged or hostile bytes may raise anything; the file cannot be read
        reason = f"{type(error).__name__}: {error}"[:200]
        raise InvbenchError(f"{path}: expected a whole TorchScript program, found a damaged one: {reason}") from None


def _state_dict(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(names) != 1:
        raise InvbenchError(f"expected one data.pkl in a TorchScript program, found {len(names)}")
    data, folder = archive.read(names[0]), names[0].removesuffix("data.pkl")
    root = network_pickles.read_records(io.BytesIO(data), len(data), needed=_needed, outside=_outside)
    storages: dict[str, torch.UntypedStorage] = {}
    state: dict[str, Tensor] = {}
    waiting: list[tuple[str, int, Any]] = [("", 0, root)]
    for _ in range(MOST_MODULES):
        if not waiting:
            return state
        prefix, depth, module = waiting.pop()
        if not _is_module(module) or not isinstance(module.state, dict) or depth > DEEPEST:
            raise InvbenchError(f"expected a module under {prefix or 'the program'!r}, found another object")
        children = []
        for key, value in module.state.items():
            if is_record(value, network_pickles.TENSOR):
                state[f"{prefix}{key}"] = _tensor(value, f"{prefix}{key}", archive, folder, storages)
            elif _is_module(value):
                children.append((f"{prefix}{key}.", depth + 1, value))
        waiting += reversed(children)
    raise InvbenchError(f"expected at most {MOST_MODULES} modules, found more")


def _needed(name: str) -> bool:
    return (
        name in (network_pickles.TENSOR, "torch.device", "collections.OrderedDict")
        or name.startswith((CLASS, HELPERS))
        or name.removeprefix("torch.") in DTYPES
    )


def _outside(reference: Any) -> Record:
    """A storage: its kind and the name of its file."""
    match reference:
        case ["storage", Name() as kind, str() as key, *_]:
            return Record(STORAGE, (kind.name.removeprefix("torch."), key))
    raise InvbenchError("expected references to the numbers of tensors only, found another")


def _is_module(value: Any) -> bool:
    return isinstance(value, Record) and value.name.startswith(CLASS)


def _tensor(
    value: Record, key: str, archive: zipfile.ZipFile, folder: str, storages: dict[str, torch.UntypedStorage]
) -> Tensor:
    stored, offset, shape, strides, *_ = value.args
    if not is_record(stored, STORAGE) or stored.args[0] not in DTYPES:
        raise InvbenchError(f"{key}: expected the numbers of a tensor, found another object")
    kind, name = stored.args
    if name not in storages:
        numbers = bytearray(archive.read(f"{folder}data/{name}"))
        storages[name] = torch.frombuffer(numbers, dtype=torch.uint8).untyped_storage() if numbers else torch.UntypedStorage(0)
    return network_pickles.view(key, storages[name], DTYPES[kind], offset, shape, strides)
