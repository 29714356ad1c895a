"""Read NVIDIA's network pickles without running anything that is in them: those of NVlabs/stylegan2-ada-pytorch and later, and
of the TensorFlow codes before it (:mod:`invbench.weights.tf_pickles`).

Such a file holds whole modules: their source code, and each module's attributes as plain values, dictionaries and tensors.
The reader below turns every class or function that the file names into an inert record of that name and its arguments, and
refuses names that such files do not need. The code is skipped; the state dict is then read off the records.

Python's own unpickler in pure Python is the base: its memo is a dictionary, so that no index in a file makes it allocate,
and each of its instructions can be replaced.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from invbench.api import InvbenchError
from invbench.weights import tf_pickles
from invbench.weights.pickle_records import DICTIONARIES, Name, Record, is_record

NETWORK = "torch_utils.persistence._reconstruct_persistent_obj"
PARAMETER = "torch._utils._rebuild_parameter"
TENSOR = "torch._utils._rebuild_tensor_v2"
STORAGE = "torch.storage._load_from_bytes"
RECORDED = frozenset(
    (NETWORK, PARAMETER, TENSOR, STORAGE, "builtins.set", "__builtin__.set", *tf_pickles.NAMES)
)
# Instances of old kinds, references to things outside the file, sets of sets, and buffers made before they are read.
REFUSED = (pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX, pickle.PERSID, pickle.BINPERSID, pickle.FROZENSET) + (
    pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER
)  # fmt: skip
DEEPEST, MOST_MODULES = 32, 10_000  # of modules in a network; real ones have 4 and about 60


def load(path: Path) -> dict[str, Any]:
    """State dicts of the networks in a file: {"G_ema": {key: tensor}, ..., "init_kwargs": {"G_ema": {...}, ...}}; if the file
    names the training data, the path of the dataset is under "training_set" of the latter. Detectron2's pickles of arrays give
    {"model": {name: tensor}}.

    Raises InvbenchError naming the file and the defect: a name that networks do not need, an unusual instruction, a truncated
    file, no network, a tensor outside its storage.
    """
    with open(path, "rb") as handle:
        try:
            content = read_records(handle, os.fstat(handle.fileno()).st_size)
        except InvbenchError as error:
            raise InvbenchError(f"{path}: {error}") from None
        except Exception as error:  # damaged or hostile bytes may raise anything; the file cannot be read
            raise InvbenchError(
                f"{path}: expected a whole pickle of networks, found a damaged one: {_short(error)}"
            ) from None
    if tf_pickles.is_networks(content):
        try:
            return tf_pickles.states(content)
        except InvbenchError as error:
            raise InvbenchError(f"{path}: {error}") from None
        except Exception as error:  # as below
            raise InvbenchError(f"{path}: expected TensorFlow networks, found others: {_short(error)}") from None
    if not isinstance(content, dict):
        raise InvbenchError(f"{path}: expected a dictionary of networks, found {type(content).__name__}")
    arrays = content.get("model")
    if isinstance(arrays, dict) and arrays and all(is_record(value, *tf_pickles.ARRAY) for value in arrays.values()):
        try:
            return {"model": {str(key): tf_pickles.array(value, f"model/{key}") for key, value in arrays.items()}}
        except InvbenchError as error:
            raise InvbenchError(f"{path}: {error}") from None
        except Exception as error:  # as above
            raise InvbenchError(f"{path}: expected arrays of numbers, found others: {_short(error)}") from None
    networks = {key: value for key, value in content.items() if isinstance(key, str) and is_record(value, NETWORK)}
    if not networks:
        keys = ", ".join(map(repr, list(content)[:5])) or "nothing"
        raise InvbenchError(f"{path}: expected a network such as 'G_ema', found {keys}")
    try:
        states: dict[str, Any] = {key: _state_dict(network) for key, network in networks.items()}
        kwargs = {key: _attributes(network).get("_init_kwargs", {}) for key, network in networks.items()}
    except InvbenchError as error:
        raise InvbenchError(f"{path}: {error}") from None
    except Exception as error:  # as above: the records hold whatever the file put into them
        raise InvbenchError(
            f"{path}: expected modules and tensors as NVIDIA's code writes them, found others: {_short(error)}"
        ) from None
    trained = content.get("training_set_kwargs")
    if isinstance(trained, dict) and isinstance(trained.get("path"), str):
        kwargs["training_set"] = {"path": trained["path"]}
    return states | {"init_kwargs": kwargs}


def known(name: str) -> bool:
    """Whether networks of these files need the class or function ``name``."""
    return name in RECORDED or name in DICTIONARIES


def read_records(
    handle: BinaryIO, size: int, *, needed: Callable[[str], bool] = known, outside: Callable[[Any], Any] | None = None
) -> Any:
    """What is pickled from the handle's position on, in a file of ``size`` bytes: plain values, lists (of tuples, too),
    dictionaries and :class:`Record`.

    needed   whether a name is one that such files need
    outside  what stands for a reference to a thing outside the pickle; None: such references are refused
    Raises InvbenchError for a name that is not needed and for unusual instructions.
    """
    reader = _Unpickler(_Bounded(handle, size))
    reader.needed, reader.outside = needed, outside
    return reader.load()


class _Bounded:
    """The file, which never gives or allocates more than is left of it."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self.handle, self.size = handle, size

    def read(self, count: int) -> bytes:
        left = self.size - self.handle.tell()
        if not 0 <= count <= left:
            raise EOFError(f"{count} bytes asked for where {left} are left")
        return self.handle.read(count)

    def readline(self) -> bytes:
        return self.handle.readline()


class _Unpickler(pickle._Unpickler):
    """Builds plain values, lists, dictionaries and :class:`Record`. Tuples become lists, so that no nested value can be a key,
    whose hash could take unbounded time."""

    stack: list[Any]  # these three are the base class's own
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    needed: Callable[[str], bool]
    outside: Callable[[Any], Any] | None

    def find_class(self, module: str, name: str) -> Name:
        full = f"{module}.{name}"
        if not self.needed(full):
            raise InvbenchError(f"expected tensors and plain values only, found the name {full!r}; nothing of it was run")
        return Name(full)

    def refuse(self) -> None:
        raise InvbenchError("expected tensors and plain values only, found an instruction that networks do not need")

    def load_outside(self) -> None:
        if self.outside is None:
            self.refuse()
        else:
            self.stack[-1] = self.outside(self.stack[-1])

    def load_build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if isinstance(built, Record):
            built.state = state
        elif type(built) is not dict:  # a dictionary's own attributes are of no use here
            self.refuse()

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], args)

    def _called(self, name: Any, args: Any) -> Any:
        if not isinstance(name, Name) or not isinstance(args, list):
            raise InvbenchError(f"expected a call of a known name, found one of {type(name).__name__}")
        return name(*args)

    def load_empty_tuple(self) -> None:
        self.append([])

    def load_tuple(self) -> None:
        items = self.pop_mark()
        self.append(items)

    def load_last(self, count: int) -> None:
        self.stack[-count:] = [self.stack[-count:]]

    dispatch = pickle._Unpickler.dispatch | {
        pickle.BUILD[0]: load_build,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.REDUCE[0]: load_reduce,
        pickle.EMPTY_TUPLE[0]: load_empty_tuple,
        pickle.TUPLE[0]: load_tuple,
        pickle.TUPLE1[0]: lambda self: self.load_last(1),
        pickle.TUPLE2[0]: lambda self: self.load_last(2),
        pickle.TUPLE3[0]: lambda self: self.load_last(3),
    } | dict.fromkeys([code[0] for code in REFUSED], refuse) | {pickle.BINPERSID[0]: load_outside}  # fmt: skip


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _attributes(network: Record) -> dict[str, Any]:
    """The attributes of a module; NVIDIA's record keeps them under ``state``, beside the source code."""
    return network.args[0]["state"]


def _state_dict(network: Record) -> dict[str, Tensor]:
    """What ``state_dict()`` of the module would give."""
    state: dict[str, Tensor] = {}
    storages: dict[int, Any] = {}
    waiting = [("", 0, network)]
    for _ in range(MOST_MODULES):
        if not waiting:
            return state
        prefix, depth, module = waiting.pop()
        if not is_record(module, NETWORK) or depth > DEEPEST:
            raise InvbenchError(f"expected a module of a known kind under {prefix or 'the network'!r}, found another")
        parts = _attributes(module)
        passing = _plain_set(parts.get("_non_persistent_buffers_set"))
        own: Mapping[str, Any] = parts["_parameters"] | {k: v for k, v in parts["_buffers"].items() if k not in passing}
        state |= {prefix + key: _tensor(value, prefix + key, storages) for key, value in own.items() if value is not None}
        children = [(f"{prefix}{key}.", depth + 1, child) for key, child in parts["_modules"].items() if child is not None]
        waiting += reversed(children)
    raise InvbenchError(f"expected at most {MOST_MODULES} modules, found more")


def _plain_set(value: Any) -> set[str]:
    items = value.args[0] if isinstance(value, Record) and value.args else value
    return set(items) if isinstance(items, set | list) else set()


def _tensor(value: Any, key: str, storages: dict[int, Any]) -> Tensor:
    """A tensor from its record: a view of its storage, inside its bounds."""
    if is_record(value, PARAMETER):
        value = value.args[0]
    if not is_record(value, TENSOR) or not is_record(value.args[0], STORAGE):
        raise InvbenchError(f"{key}: expected a tensor, found another object")
    stored, offset, shape, strides, *_ = value.args
    if id(stored) not in storages:
        # A storage is a legacy torch file of its own, inside the pickle; it is loaded by torch's restricted unpickler.
        storages[id(stored)] = torch.load(io.BytesIO(stored.args[0]), map_location="cpu", weights_only=True)
    loaded = storages[id(stored)]
    if not isinstance(loaded, torch.storage.TypedStorage):
        raise InvbenchError(f"{key}: expected the storage of a tensor, found {type(loaded).__name__}")
    return view(key, loaded._untyped_storage, loaded.dtype, offset, shape, strides)


def view(key: str, storage: torch.UntypedStorage, dtype: torch.dtype, offset: Any, shape: Any, strides: Any) -> Tensor:
    """The tensor of that offset, shape and strides. Raises InvbenchError naming ``key`` if it is not inside its storage."""
    numbers = [offset, *shape, *strides]
    if len(shape) != len(strides) or not all(type(number) is int and number >= 0 for number in numbers):
        raise InvbenchError(f"{key}: expected offset, shape and strides of a tensor, found {numbers[:9]}")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides))
    size = storage.nbytes() // dtype.itemsize
    if 0 not in shape and last >= size:
        raise InvbenchError(f"{key}: expected a tensor inside its storage of {size} numbers, found one that ends at {last + 1}")
    return torch.empty(0, dtype=dtype).set_(storage, offset, tuple(shape), tuple(strides))
