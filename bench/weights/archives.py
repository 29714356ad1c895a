"""NumPy archives (``.npz``) of plain arrays, read without running anything that is in them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invbench.api import InvbenchError

MOST = 2**30  # bytes of an archive's arrays


def is_npz(path: Path) -> bool:
    """Whether an archive holds arrays only; False for a damaged one, of which the reader of torch files says what is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.namelist()) and all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def load(path: Path) -> dict[str, Tensor]:
    """The arrays by name, as tensors in float32.

    Raises InvbenchError naming the file for one that is damaged, too large, or holds other things than numbers.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(part.file_size for part in archive.infolist())) > MOST:
                raise InvbenchError(f"expected arrays of at most {MOST} bytes, found {size}")
            for part in archive.infolist():
                data = io.BytesIO(archive.read(part))
                version = np.lib.format.read_magic(data)
                header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = header(data)
                if dtype.kind not in "fiub" or int(np.prod(shape, dtype=object)) * dtype.itemsize > part.file_size:
                    raise InvbenchError(f"{part.filename}: expected a whole array of numbers, found {dtype} {shape}")
                data.seek(0)
                array = np.lib.format.read_array(data, allow_pickle=False)
                found[part.filename.removesuffix(".npy")] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    except InvbenchError as error:
        raise InvbenchError(f"{path}: {error}") from None
    except Exception as error:  # damaged bytes may raise anything
        kind = f"found a damaged one: {type(error).__name__}"
        raise InvbenchError(f"{path}: expected a whole archive of arrays, {kind}") from None
    return found
