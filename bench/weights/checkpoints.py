"""Published weights files (``.pt``, ``.pth`` and NVIDIA's ``.pkl``), read without running code from the file.

What a file is shows in its first bytes, not in its name.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invbench.api import InvbenchError, MissingWeights
from invbench.weights import archives, network_pickles, object_arrays, script_archives

HEAD = 4096  # bytes that tell what a file is
ZIP, PICKLE, ARRAY = b"PK\x03\x04", b"\x80", b"\x93NUMPY"
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of torch before 1.6
OTHERS = {
    b"version https://git-lfs": "a git-lfs pointer instead of the file that it stands for",
    b"\x1f\x8b": "a gzip archive, which must be unpacked first",
    b"\x89HDF": "an HDF5 file",
}


def load_checkpoint(path: Path, *, mmap: bool = False) -> Mapping[str, Any]:
    """The dictionary in a checkpoint, tensors on the CPU.

    A torch file gives its content; a file of one tensor, or a NumPy array, gives ``{"tensor": ...}``, a NumPy file of one
    dictionary that dictionary, a NumPy archive its arrays. With ``mmap`` tensors stay in the file until they are used, if its
    format allows it. An NVIDIA pickle gives the state dict of each of its networks, ``{"G_ema": {...}, ...}``, and their
    arguments under ``"init_kwargs"``. A TorchScript program gives its state dict; the program is not run.

    Raises MissingWeights where there is no file, and InvbenchError (file, expected, found) for a web page saved in its place,
    a truncated or foreign file, one that holds other things than tensors and plain values, and one without a dictionary.
    """
    if not path.is_file():
        raise MissingWeights(f"weights missing: {path}")
    with open(path, "rb") as handle:
        head = handle.read(HEAD)
    read = _reader(path, head)
    content = _load_torch(path, mmap=mmap and head.startswith(ZIP)) if read is _load_torch else read(path)
    if isinstance(content, torch.Tensor):
        return {"tensor": content}
    if not isinstance(content, Mapping):
        raise InvbenchError(f"{path}: expected a dictionary of tensors, found {type(content).__name__}")
    return content


def _reader(path: Path, head: bytes) -> Callable[[Path], Any]:
    expected = f"{path}: expected a PyTorch checkpoint or an NVIDIA network pickle, found"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        title = re.search(rb"<title[^>]*>([^<]{0,80})", head, re.IGNORECASE)
        named = f" ({title[1].decode('utf-8', 'replace').strip()!r})" if title else ""
        raise InvbenchError(
            f"{expected} a web page{named}: the download was answered by a page such as a quota or login notice; "
            "download the file again, later or in a browser"
        )
    for start, what in OTHERS.items():
        if head.startswith(start):
            raise InvbenchError(f"{expected} {what}")
    if head.startswith(ZIP):
        if archives.is_npz(path):
            return archives.load
        return script_archives.load if _is_program(path) else _load_torch
    if head.startswith(LEGACY_TORCH):
        return _load_torch
    if head.startswith(PICKLE):
        return network_pickles.load
    if head.startswith(ARRAY):
        return object_arrays.load if object_arrays.holds_object(path) else _load_array
    raise InvbenchError(f"{expected} a file of {path.stat().st_size} bytes that begins with {head[:8]!r}")


def _is_program(path: Path) -> bool:
    """Whether an archive is a TorchScript program.

    Torch stores its tensors uncompressed: an archive that would unpack to more than itself is none of torch's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InvbenchError(f"{path}: expected a whole PyTorch checkpoint, found a truncated or damaged one: {error}") from None
    program = any(part.filename.endswith("/constants.pkl") for part in parts)
    parts = [part for part in parts if not (program and "/code/" in part.filename)]  # packed, and never opened
    packed = any(part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size for part in parts)
    if packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise InvbenchError(
            f"{path}: expected the uncompressed parts of a PyTorch checkpoint, found compressed or overlapping ones"
        )
    return program


def _load_array(path: Path) -> Any:
    try:
        # Mapped first: a header may promise more than the file has, and memory for that would be taken before it is read.
        return torch.from_numpy(np.array(np.load(path, mmap_mode="r", allow_pickle=False)))
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise InvbenchError(f"{path}: expected a whole array of numbers, found another one: {error}") from None


def _load_torch(path: Path, *, mmap: bool = False) -> Any:
    try:
        # Trainers store their command line beside the weights; a Namespace is a bag of attributes.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises a different one for every way in which a file can be broken
        message = str(error)
        refused = re.search(r"GLOBAL ([\w.]+)|unrecognized function <?([\w. ]+)", message)
        if refused:
            found = f"the name {refused[1] or refused[2]!r}; nothing of it was run"
            raise InvbenchError(f"{path}: expected tensors and plain values only, found {found}") from None
        reason = f"{type(error).__name__}: {message.splitlines()[0] if message else ''}"
        raise InvbenchError(
            f"{path}: expected a whole PyTorch checkpoint, found a truncated or damaged one: {reason}"
        ) from None
